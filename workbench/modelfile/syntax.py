"""Parse a Modelfile exactly as Ollama does, quirks included, with the position of every error.

The grammar is a small state machine over characters. There are no escapes, single quotes are ordinary characters, and
a value that begins with a double quote continues over line ends until a line ends with that quote. Non-printing
characters except tabs and line ends are dropped from values. Parsing takes time linear in the text.
"""

from __future__ import annotations

import codecs
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from workbench.core.chat import Role
from workbench.core.errors import ModelfileError, did_you_mean

COMMANDS = (
    "from",
    "license",
    "template",
    "system",
    "adapter",
    "draft",
    "renderer",
    "parser",
    "parameter",
    "message",
    "requires",
)
"""Every instruction, in lower case."""

ROLES: tuple[Role, ...] = ("system", "user", "assistant")
"""The roles of a MESSAGE, in lower case only."""

_BAD_COMMAND = "command must be one of " + "".join(f'"{name}", ' for name in COMMANDS[:-1]) + f'or "{COMMANDS[-1]}"'
_BAD_ROLE = 'message role must be one of "system", "user", or "assistant"'
_ENDED = "unexpected EOF"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Modelfile."""

    name: str
    """In lower case: one of `COMMANDS`."""
    args: str
    """The value, without quotes."""
    parameter: str = ""
    """The name after PARAMETER, with its case."""
    role: str = ""
    """The role after MESSAGE."""
    line: int = field(default=0, compare=False)
    """Its start, counted from 1; 0 if it was not parsed."""
    column: int = field(default=0, compare=False)


class ModelfileSyntaxError(ModelfileError):
    """Text that Ollama would refuse; `problem` is in its words.

    `line` and `column`, in characters, are counted from 1; a CR LF pair is one line end.
    """

    def __init__(self, problem: str, hint: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(f"line {line}, column {column}: {problem}" if line else problem, hint)
        self.problem = problem
        self.line = line
        self.column = column

    def __reduce__(self) -> tuple[type[ModelfileSyntaxError], tuple[str, str, int, int]]:
        return type(self), (self.problem, self.hint, self.line, self.column)


def decode(data: bytes) -> str:
    """The text in `data`: UTF-8, or UTF-16 after a byte order mark. Invalid bytes become U+FFFD, one for the
    beginning of a character that is not finished, as in Go's decoder.
    """
    if data.startswith(codecs.BOM_UTF16_LE):
        return data[2:].decode("utf-16-le", "replace")
    if data.startswith(codecs.BOM_UTF16_BE):
        return data[2:].decode("utf-16-be", "replace")
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")


def is_kept(text: str) -> bool:
    """Whether a value keeps every character."""
    return text.isprintable() or text.translate(_CONTROLS_KEPT).isprintable()


_TRIMMED = " \t\r\n"
"""The white space that remains in a value without non-printing characters."""
_CONTROLS_KEPT = {ord(character): None for character in "\t\r\n"}
_BLANKS = re.compile(r"[ \t\r\n]*")
_LINE_END = re.compile(r"\r\n|\r|\n")
_LINE_REST = re.compile(r"[^\r\n]*")
# An instruction may begin with any character.
_COMMAND_WORD = re.compile(r"[\s\S][A-Za-z]*")
_PARAMETER_WORD = re.compile(r"[A-Za-z0-9_]*")
_ROLE_WORD = re.compile(r"[A-Za-z]*")
# A whole line that has a quote in it: where a quoted value may end.
_LINE_WITH_QUOTE = re.compile(r'(?<=[\r\n])[^\r\n"]*"[^\r\n]*')


def visible(text: str) -> str:
    """`text` without the characters that a value does not keep."""
    if is_kept(text):
        return text
    return "".join(character for character in text if character.isprintable() or character in "\t\r\n")


class _ModelfileReader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._line_starts = [0, *(match.end() for match in _LINE_END.finditer(text))]

    def commands(self) -> Iterator[Instruction]:
        """The instructions.

        Raises:
            ModelfileSyntaxError: At the first error.
        """
        while self._skip_to_command():
            yield self._command()

    def _skip_to_command(self) -> bool:
        text = self._text
        while True:
            self._position = _end(_BLANKS, text, self._position)
            if not text.startswith("#", self._position):
                return self._position < len(text)
            self._position = _end(_LINE_REST, text, self._position)

    def _place(self, position: int) -> tuple[int, int]:
        """The line and column of a position."""
        line = bisect_right(self._line_starts, position)
        return line, position - self._line_starts[line - 1] + 1

    def _error(self, position: int, problem: str, hint: str) -> ModelfileSyntaxError:
        return ModelfileSyntaxError(problem, hint, *self._place(position))

    def _command(self) -> Instruction:
        text, start = self._text, self._position
        line, column = self._place(start)
        end = _end(_COMMAND_WORD, text, start)
        word = visible(text[start:end])
        name = word.lower()
        known = name in COMMANDS
        if end == len(text):
            hint = f"{word.upper()} needs a value." if known else did_you_mean(word, COMMANDS)
            raise self._error(end if known else start, _ENDED, hint)
        if text[end] not in " \t" or not known:
            raise self._error(start, _BAD_COMMAND, self._command_hint(word, end, known=known))
        self._position = end + 1
        parameter = role = ""
        if name == "parameter":
            parameter = self._second_word(
                _PARAMETER_WORD, "PARAMETER needs a name and a value: PARAMETER temperature 0.7"
            )
        elif name == "message":
            role_start = self._position
            role = self._second_word(_ROLE_WORD, "MESSAGE needs a role and a text: MESSAGE user Hello")
            if role not in ROLES:
                hint = did_you_mean(role, ROLES) or "Write the role after exactly one blank: MESSAGE user Hello"
                raise self._error(role_start, _BAD_ROLE, hint)
        return Instruction(name, self._value(), parameter, role, line, column)

    def _command_hint(self, word: str, end: int, *, known: bool) -> str:
        if not known:
            return did_you_mean(word, COMMANDS)
        if self._text[end] in "\r\n":
            return f"{word.upper()} needs a value on the same line."
        return f"A blank must follow {word.upper()}."

    def _second_word(self, pattern: re.Pattern[str], hint: str) -> str:
        """The word after the instruction, which exactly one blank must follow."""
        text, start = self._text, self._position
        end = _end(pattern, text, start)
        word = text[start:end]
        if end == len(text):
            raise self._error(end, _ENDED, hint)
        if text[end] not in " \t":
            raise self._error(end, f"{_ENDED}: {word}", hint)
        self._position = end + 1
        return word

    def _value(self) -> str:
        text, start = self._text, self._position
        end = _end(_LINE_REST, text, start)
        first = visible(text[start:end]).strip(_TRIMMED)
        self._position = end
        if not first.startswith('"'):
            return first
        quote = '"""' if first.startswith('"""') else '"'
        if len(first) >= 2 * len(quote) and first.endswith(quote):
            return first[len(quote) : -len(quote)]
        for line in _LINE_WITH_QUOTE.finditer(text, end):
            if visible(line.group()).rstrip(_TRIMMED).endswith(quote):
                self._position = line.end()
                value = visible(text[start : line.end()]).strip(_TRIMMED)
                return value[len(quote) : -len(quote)]
        opening = text.index('"', start)
        raise self._error(opening, _ENDED, f"The {quote} that opens here is closed only by a line that ends in {quote}")


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def check(source: bytes | str) -> tuple[tuple[Instruction, ...], ModelfileSyntaxError | None]:
    """The instructions of a Modelfile up to its first error, and that error."""
    text = decode(source) if isinstance(source, bytes) else source.removeprefix("\ufeff")
    commands: list[Instruction] = []
    try:
        commands.extend(_ModelfileReader(text).commands())
    except ModelfileSyntaxError as error:
        return tuple(commands), error
    # Ollama stores FROM under the name `model` and does not distinguish it from a parameter of that name.
    if not any(command.name == "from" or command.parameter == "model" for command in commands):
        return tuple(commands), ModelfileSyntaxError(
            "no FROM line", "A Modelfile names its model: FROM ./model.gguf", 1, 1
        )
    return tuple(commands), None
