"""Go's `printf`, `print` and `println`. All raise FunctionError for a text of more than `limit` characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from workbench.modelfile.gotemplate.values import FunctionError, Value, type_name
from workbench.modelfile.gotemplate.verbs import NIL, Flags, printed

MAX_WIDTH = 1_000_000
"""The largest width or precision that Go accepts."""

_FLAGS = re.compile(r"[#0+\- ]*")
_DIGITS = re.compile(r"[0-9]+")
_INDEX = re.compile(r"\[([0-9]+)\]")

_SLOW = re.compile(r"%[^A-Za-z%]*[qxX#]")
"""A verb that processes each character of a text."""


def format_steps(form: str, longest: int) -> int:
    """The cost of `sprintf` in steps, where `longest` is the size of the largest value: a verb may read all of it."""
    pace = 8 if _SLOW.search(form) else 512
    return form.count("%") * (2 + longest // pace)


def sprint(values: Sequence[Value], limit: int) -> str:
    """The values in a row, with a blank between two values that are not text."""
    pieces: list[str] = []
    for index, (value, text) in enumerate(zip(values, _all_printed(values, limit), strict=True)):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            pieces.append(" ")
        pieces.append(text)
    return "".join(pieces)


def sprintln(values: Sequence[Value], limit: int) -> str:
    """The values separated by blanks, and a line end."""
    return " ".join(_all_printed(values, limit)) + "\n"


def _all_printed(values: Iterable[Value], limit: int) -> Iterator[str]:
    """Each value, printed one at a time: the same large value may occur many times."""
    for value in values:
        text = printed(value)
        limit -= len(text)
        if limit < 0:
            raise FunctionError("the text gets too long")
        yield text


def sprintf(form: str, values: Sequence[Value], limit: int) -> str:
    """`form`, a text with verbs such as `%s` and `%5.1f`, with the values in their place."""
    return _Formatter(form, values, limit).text()


class _Formatter:
    def __init__(self, form: str, values: Sequence[Value], limit: int) -> None:
        self._form = form
        self._values = values
        self._room = limit
        self._pieces: list[str] = []
        self._position = 0
        self._argument = 0
        self._reordered = False
        self._index_is_good = True
        self._after_index = False

    def text(self) -> str:
        form = self._form
        while self._position < len(form):
            start = self._position
            percent = form.find("%", start)
            self._position = len(form) if percent < 0 else percent
            self._put(form[start : self._position])
            if percent >= 0:
                self._position += 1
                self._directive()
        if not self._reordered and self._argument < len(self._values):
            rest = self._values[self._argument :]
            extra = (
                NIL if value is None else f"{type_name(value)}={text}"
                for value, text in zip(rest, _all_printed(rest, self._room), strict=True)
            )
            self._put(f"%!(EXTRA {', '.join(extra)})")
        return "".join(self._pieces)

    def _put(self, text: str) -> None:
        self._room -= len(text)
        if self._room < 0:
            raise FunctionError("the text gets too long")
        self._pieces.append(text)

    def _directive(self) -> None:
        self._index_is_good, self._after_index = True, False
        flags = self._flags()
        self._index()
        self._width(flags)
        self._precision(flags)
        if not self._after_index:
            self._index()
        if self._position >= len(self._form):
            self._put("%!(NOVERB)")
            return
        verb = self._form[self._position]
        self._position += 1
        if verb == "%":
            self._put("%")
        elif not self._index_is_good:
            self._put(f"%!{verb}(BADINDEX)")
        elif self._argument >= len(self._values):
            self._put(f"%!{verb}(MISSING)")
        else:
            if (flags.precision or 0) > self._room:
                raise FunctionError("the text gets too long")
            flags.room = self._room
            self._put(printed(self._values[self._argument], verb, flags))
            self._argument += 1

    def _flags(self) -> Flags:
        match = _FLAGS.match(self._form, self._position)
        signs = match.group() if match else ""
        self._position += len(signs)
        return Flags(sharp="#" in signs, zero="0" in signs, plus="+" in signs, minus="-" in signs, space=" " in signs)

    def _next_is(self, character: str) -> bool:
        if not self._form.startswith(character, self._position):
            return False
        self._position += 1
        return True

    def _index(self) -> None:
        """Read an explicit argument index, as in `%[2]s`."""
        self._after_index = False
        form, start = self._form, self._position
        if not form.startswith("[", start):
            return
        self._reordered = True
        match = _INDEX.match(form, start)
        if match is None:
            closing = form.find("]", start)
            self._position = start + 1 if closing < 0 or len(form) - start < 3 else closing + 1
            self._index_is_good = False
            return
        self._position = match.end()
        self._after_index = True
        index = int(match.group(1)) - 1 if len(match.group(1)) < 8 else -1
        if 0 <= index < len(self._values):
            self._argument = index
        else:
            self._index_is_good = False

    def _number(self) -> int | None:
        match = _DIGITS.match(self._form, self._position)
        if match is None:
            return None
        self._position = match.end()
        digits = match.group().lstrip("0")
        if len(digits) > 9 or int(digits[:-1] or 0) > MAX_WIDTH:
            # Go ignores the rest of the format then; it checks before it adds the last digit.
            self._position = len(self._form)
            return None
        return int(digits or 0)

    def _number_argument(self) -> int | None:
        """The argument for a `*`; None if it is not a valid number."""
        if self._argument >= len(self._values):
            return None
        value = self._values[self._argument]
        self._argument += 1
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_WIDTH:
            return None
        return value

    def _width(self, flags: Flags) -> None:
        if self._next_is("*"):
            width = self._number_argument()
            if width is None:
                self._put("%!(BADWIDTH)")
            flags.width = abs(width or 0)
            if width is not None and width < 0:
                flags.minus, flags.zero = True, False
            self._after_index = False
            return
        number = self._number()
        flags.width = number or 0
        if number is not None and self._after_index:
            self._index_is_good = False

    def _precision(self, flags: Flags) -> None:
        if not self._next_is("."):
            return
        if self._after_index:
            self._index_is_good = False
        self._index()
        if self._next_is("*"):
            precision = self._number_argument()
            if precision is None or precision < 0:
                self._put("%!(BADPREC)")
            else:
                flags.precision = precision
            self._after_index = False
            return
        flags.precision = self._number() or 0
