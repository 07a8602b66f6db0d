"""Grammars in GBNF, llama.cpp's notation: reading and checking them.

The notation is that of llama.cpp's `grammars/README.md`, as `src/llama-grammar.cpp` reads it: rules `name ::= ...` with
alternatives, literals, character sets, `.`, groups and repetitions. Its references to tokens (`<[1000]>`, `<name>`) are
refused, since a grammar here is of text.

llama.cpp's own sampler is not used: some grammars end the process, hang it, or take time that doubles with every
token. llguidance reports these as errors.
"""

from __future__ import annotations

import re

from workbench.core.errors import FormatError
from workbench.engine.formats.rules import (
    Alternative,
    Characters,
    Grammar,
    Item,
    Reference,
    Repeat,
    Rule,
    check,
    mistake,
)

MOST_RULES = 1000
"""The most rules and groups that a grammar may have: llguidance recurses once for each of a chain."""
DEEPEST = 50
"""The deepest nesting of groups."""
MOST_REPEATS = 10_000
LAST_CHARACTER = 0x10FFFF

_NAME = re.compile(r"[A-Za-z0-9-]+")
_BLANK = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_BLANK_LINES = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_CHARACTER = re.compile(
    r'\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([trn])|(["\\\[\]-]))|([^\\])', re.DOTALL
)
_CONTROL = {"t": 9, "r": 13, "n": 10}
_BOUNDS = re.compile(r"\{[ \t]*([0-9]+)[ \t]*(?:(,)[ \t]*([0-9]*)[ \t]*)?\}")
_SIGNS = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_STARTS_GBNF = re.compile(rf"{_BLANK_LINES.pattern}{_NAME.pattern}[ \t]*::=")


def is_gbnf(text: str) -> bool:
    """Whether a text is a grammar rather than JSON, right or wrong."""
    return _STARTS_GBNF.match(text) is not None or not text.lstrip().startswith(("{", "[", '"', "true", "false"))


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._at = 0
        self.rules: dict[str, Rule] = {}
        self._groups = 0

    def read(self) -> Grammar:
        self._skip(_BLANK_LINES)
        while self._at < len(self._text):
            self._rule()
        return self.rules

    def _wrong(self, what: str, hint: str = "", at: int | None = None) -> FormatError:
        return mistake(self._name, self._line(self._at if at is None else at), what, hint)

    def _line(self, at: int) -> int:
        return self._text.count("\n", 0, at) + 1

    def _skip(self, what: re.Pattern[str]) -> None:
        match = what.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _take(self, what: re.Pattern[str]) -> re.Match[str] | None:
        match = what.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return match

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _near(self) -> str:
        rest = self._text[self._at :].splitlines()[:1]
        return repr(rest[0][:20]) if rest and rest[0] else "the end of the line" if self._next() else "the end"

    def _rule(self) -> None:
        start = self._at
        name = self._take(_NAME)
        if name is None:
            raise self._wrong(f"a rule begins with its name, not with {self._near()}", "A rule is NAME ::= TEXT.")
        self._skip(_BLANK)
        if not self._text.startswith("::=", self._at):
            raise self._wrong(f"::= is missing after {name[0]!r}", "A rule is NAME ::= TEXT.")
        self._at += 3
        self._skip(_BLANK_LINES)
        self._alternatives(name[0], self._line(start), 0)
        if self._at < len(self._text) and self._next() not in "\r\n":
            raise self._wrong(
                f"{self._near()} cannot stand here", "Only in parentheses does a rule go on in a new line."
            )
        self._skip(_BLANK_LINES)

    def _alternatives(self, rule: str, line: int, depth: int) -> None:
        found = [self._sequence(depth)]
        while self._next() == "|":
            self._at += 1
            self._skip(_BLANK_LINES)
            found.append(self._sequence(depth))
        self.rules[rule] = Rule(rule, line, tuple(found))
        if len(self.rules) > MOST_RULES:
            raise FormatError(
                f"The grammar {self._name} has more than {MOST_RULES:,} rules and groups.", "Write a smaller grammar."
            )

    def _sequence(self, depth: int) -> Alternative:
        items: list[Item] = []
        last = 0
        """Where the last thing begins in `items`, to which a repetition applies."""
        blank = _BLANK_LINES if depth else _BLANK
        while True:
            sign = self._next()
            start = len(items)
            if sign == '"':
                items += self._literal()
            elif sign == "[":
                items.append(self._set())
            elif sign == ".":
                self._at += 1
                items.append(_between(0, LAST_CHARACTER))
            elif sign == "(":
                items.append(self._group(depth + 1))
            elif name := self._take(_NAME):
                items.append(Reference(name[0]))
            elif sign and sign in "*+?{":
                if start == 0:
                    raise self._wrong(f"there is nothing to repeat before {sign}")
                least, most = self._bounds(sign)
                self._repeat(items, last, least, most)
                start = last
            elif sign and sign in "<!":
                raise self._wrong(
                    f"{self._near()} is a reference to a token, which a format cannot have", "Write its text in quotes."
                )
            else:
                return tuple(items)
            last = start
            self._skip(blank)

    def _repeat(self, items: list[Item], last: int, least: int, most: int | None) -> None:
        """Repeat the items from `last` on; an empty literal stays one."""
        if len(items) == last:
            return
        item = items[last]
        if len(items) > last + 1:
            item = self._named(tuple(items[last:]))
        items[last:] = [Repeat(item, least, most)]

    def _named(self, items: Alternative) -> Reference:
        """A rule of its own for a sequence."""
        name = self._new_group()
        self.rules[name] = Rule(name, self._line(self._at), (items,))
        return Reference(name)

    def _new_group(self) -> str:
        self._groups += 1
        # No rule of the text has this name.
        return f"({self._groups})"

    def _group(self, depth: int) -> Reference:
        if depth > DEEPEST:
            raise self._wrong(f"groups are nested more than {DEEPEST} deep", "Give the inner ones names.")
        start, name = self._at, self._new_group()
        self._at += 1
        self._skip(_BLANK_LINES)
        self._alternatives(name, self._line(start), depth)
        if self._next() != ")":
            raise self._wrong(f"the group is not closed: {self._near()} stands where ) should", at=start)
        self._at += 1
        return Reference(name)

    def _bounds(self, sign: str) -> tuple[int, int | None]:
        if sign in _SIGNS:
            self._at += 1
            return _SIGNS[sign]
        bounds = self._take(_BOUNDS)
        if bounds is None:
            raise self._wrong(f"{self._near()} is no repetition", "It is {N}, {N,} or {N,M}.")
        least = _number(bounds[1])
        most = least if bounds[2] is None else _number(bounds[3]) if bounds[3] else None
        if max(least, most or 0) > MOST_REPEATS:
            raise self._wrong(f"{bounds[0]} repeats more than {MOST_REPEATS:,} times", "Use * for no limit.")
        if most is not None and most < least:
            raise self._wrong(f"{bounds[0]} can never match: the second number is the smaller one")
        return least, most

    def _literal(self) -> list[Item]:
        start = self._at
        self._at += 1
        found: list[Item] = []
        while self._next() != '"':
            code = self._character(start, "the text in quotes")
            found.append(_between(code, code))
        self._at += 1
        return found

    def _set(self) -> Item:
        start = self._at
        self._at += 1
        negated = self._next() == "^"
        self._at += negated
        ranges = ""
        while self._next() != "]":
            first = last = self._character(start, "the set of characters")
            if self._next() == "-" and self._text[self._at + 1 : self._at + 2] != "]":
                self._at += 1
                last = self._character(start, "the set of characters")
            if last < first:
                raise self._wrong("the range is empty: its end comes before its beginning", at=start)
            ranges += _range(first, last)
        self._at += 1
        if not ranges:
            raise self._wrong("a set without characters matches nothing", "Write . for any character.", start)
        return Characters(f"[{'^' * negated}{ranges}]")

    def _character(self, start: int, what: str) -> int:
        match = self._take(_CHARACTER)
        if match is None:
            if self._at >= len(self._text):
                raise self._wrong(f"{what} is not closed", at=start)
            raise self._wrong(
                f"{self._text[self._at : self._at + 2]!r} is no escape",
                r"There are \n \r \t \\ \" \[ \] \- \xHH \uHHHH.",
            )
        *codes, control, escaped, plain = match.groups()
        code = next((int(each, 16) for each in codes if each), None)
        if code is None:
            code = _CONTROL[control] if control else ord(escaped or plain)
        if code > LAST_CHARACTER or 0xD800 <= code < 0xE000:
            raise self._wrong(f"{match[0]} is no character")
        return code


def _number(digits: str) -> int:
    return int(digits[:9])


def _range(first: int, last: int) -> str:
    return rf"\x{{{first:x}}}" + (rf"-\x{{{last:x}}}" if last > first else "")


def _between(first: int, last: int) -> Characters:
    return Characters(f"[{_range(first, last)}]")


def read(text: str, name: str) -> Grammar:
    """The rules of a grammar; those of groups have names in parentheses. `name` is for messages.

    Raises:
        FormatError: It has a mistake, it has no `root`, it names an unknown rule, or a rule begins with itself.
    """
    rules = _Reader(text, name).read()
    check(rules, name)
    return rules
