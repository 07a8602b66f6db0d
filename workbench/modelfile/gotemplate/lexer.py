"""The tokens of a template in Go's text/template syntax, and errors with their positions.

White space inside an action is a token, because it separates operands. Trim markers and comments are applied here and
yield no tokens. Lexing takes time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from workbench.core.errors import TemplateError

Kind = Literal[
    "text",
    "left",
    "right",
    "space",
    "assign",
    "declare",
    "pipe",
    "string",
    "character",
    "number",
    "bool",
    "nil",
    "dot",
    "field",
    "variable",
    "identifier",
    "keyword",
    "left paren",
    "right paren",
    "symbol",
    "end of text",
]

_KEYWORDS = ("block", "break", "continue", "define", "else", "end", "if", "range", "template", "with")
_WORDS: dict[str, Kind] = {**dict.fromkeys(_KEYWORDS, "keyword"), "true": "bool", "false": "bool", "nil": "nil"}

_LEFT, _RIGHT = "{{", "}}"
_BLANKS = " \t\r\n"
_TRIM_LEFT = re.compile(r"-[ \t\r\n]")
_RIGHT_DELIMITER = re.compile(r"(?:[ \t\r\n]-)?\}\}")
_SPACES = re.compile(r"[ \t\r\n]+")
_STRING = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"')
_RAW_STRING = re.compile(r"`[^`]*`")
_CHARACTER = re.compile(r"'(?:[^'\\\n]|\\[^\n])*'")
_DECIMAL = r"[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?"
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?"
    rf"|0[oO][0-7_]*(?:\.[0-7_]*)?|0[bB][01_]*(?:\.[01_]*)?|{_DECIMAL})i?"
)
_SINGLE: dict[str, Kind] = {"=": "assign", "|": "pipe", "(": "left paren", ")": "right paren"}


LONGEST = 200
"""The longest error message, in characters."""


class GoTemplateError(TemplateError):
    """A TEMPLATE that is not Go's syntax, or that fails while it is evaluated.

    `line` and `column`, in characters, are counted from 1; 0 for no position.
    """

    def __init__(self, problem: str, hint: str = "", line: int = 0, column: int = 0) -> None:
        # A name in it can be as long as the template.
        problem, hint = (f"{text[:LONGEST]}…" if len(text) > LONGEST else text for text in (problem, hint))
        place = f"The template, line {line}, column {column}: " if line else "The template: "
        super().__init__(f"{place}{problem}.", hint)
        self.problem = problem
        self.line = line
        self.column = column

    def __reduce__(self) -> tuple[type[GoTemplateError], tuple[str, str, int, int]]:
        return type(self), (self.problem, self.hint, self.line, self.column)


def error_at(source: str, position: int, problem: str, hint: str = "") -> GoTemplateError:
    """An error at a position in the template's text."""
    line = source.count("\n", 0, position) + 1
    column = position - (source.rfind("\n", 0, position) + 1) + 1
    return GoTemplateError(problem, hint, line, column)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a template."""

    kind: Kind
    text: str
    """The source text; for a field without its dot."""
    position: int

    def __str__(self) -> str:
        match self.kind:
            case "end of text":
                return "the end of the template"
            case "right":
                return "}}"
            case "space":
                return "a blank"
            case "keyword":
                return f"{{{{{self.text}}}}}"
            case "field":
                return f".{self.text}"
            case _:
                return self.text if len(self.text) <= 40 else f"{self.text[:37]}..."


def is_word(character: str) -> bool:
    """Whether a name may contain this character: a letter, a decimal digit or an underscore, of any script."""
    return character == "_" or character.isalpha() or character.isdecimal()


class Lexer:
    """Splits the text of one template into tokens."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._position = 0
        self._parens = 0
        self._action = 0
        """The start of the current action."""

    def tokens(self) -> Iterator[Token]:
        """The tokens; the last one is of kind `end of text`."""
        source = self._source
        while True:
            start = self._position
            left = source.find(_LEFT, start)
            end = len(source) if left < 0 else left
            trims = left >= 0 and _TRIM_LEFT.match(source, left + 2) is not None
            text = source[start:end].rstrip(_BLANKS) if trims else source[start:end]
            if text:
                yield Token("text", text, start)
            if left < 0:
                yield Token("end of text", "", len(source))
                return
            self._action = left
            self._position = left + (4 if trims else 2)
            if source.startswith("/*", self._position):
                self._comment()
                continue
            yield Token("left", _LEFT, left)
            yield from self._inside()

    def _error(self, position: int, problem: str, hint: str = "") -> GoTemplateError:
        return error_at(self._source, position, problem, hint)

    def _comment(self) -> None:
        end = self._source.find("*/", self._position + 2)
        if end < 0:
            raise self._error(self._action, "this comment is not closed", "Close it with */}}")
        match = _RIGHT_DELIMITER.match(self._source, end + 2)
        if match is None:
            raise self._error(end + 2, "a comment ends with */}} or with */ -}}, and nothing between", "")
        self._leave(match)

    def _leave(self, delimiter: re.Match[str]) -> None:
        self._position = delimiter.end()
        if len(delimiter.group()) > 2 and (blanks := _SPACES.match(self._source, self._position)):
            self._position = blanks.end()

    def _inside(self) -> Iterator[Token]:
        """The tokens of an action, with its right delimiter."""
        source = self._source
        self._parens = 0
        while True:
            start = self._position
            if delimiter := _RIGHT_DELIMITER.match(source, start):
                if self._parens:
                    raise self._error(start, "a parenthesis is still open here", "Close it with ) before }}")
                self._leave(delimiter)
                yield Token("right", _RIGHT, start)
                return
            if start == len(source):
                raise self._error(self._action, "this action is not closed", "Close it with }}")
            if spaces := _SPACES.match(source, start):
                # The last blank may belong to a trimming right delimiter.
                ends_in_trim = _RIGHT_DELIMITER.match(source, spaces.end() - 1)
                self._position = spaces.end() - 1 if ends_in_trim else spaces.end()
                if self._position > start:
                    yield Token("space", source[start : self._position], start)
                continue
            yield self._token(start)

    def _token(self, start: int) -> Token:
        source = self._source
        character = source[start]
        if character in ".$":
            return self._field_or_variable(start)
        if character in _SINGLE:
            return self._single(start)
        if character in "\"`'":
            return self._quoted(start)
        if character == ":":
            if not source.startswith(":=", start):
                raise self._error(start, "a lone colon means nothing here", "Declare a variable with :=")
            return self._take("declare", start, start + 2)
        if character in "+-" or (character.isascii() and character.isdigit()):
            return self._number(start)
        if is_word(character):
            return self._word(start)
        if character.isascii() and character.isprintable():
            return self._take("symbol", start, start + 1)
        raise self._error(start, f"an action cannot contain the character U+{ord(character):04X}")

    def _take(self, kind: Kind, start: int, end: int, skip: int = 0) -> Token:
        self._position = end
        return Token(kind, self._source[start + skip : end], start)

    def _single(self, start: int) -> Token:
        kind = _SINGLE[self._source[start]]
        if kind == "left paren":
            self._parens += 1
        elif kind == "right paren":
            self._parens -= 1
            if self._parens < 0:
                raise self._error(start, "this parenthesis was never opened")
        return self._take(kind, start, start + 1)

    def _quoted(self, start: int) -> Token:
        source, quote = self._source, self._source[start]
        pattern = {'"': _STRING, "`": _RAW_STRING, "'": _CHARACTER}[quote]
        match = pattern.match(source, start)
        if match is None:
            where = "" if quote == "`" else " on the same line"
            raise self._error(start, f"this {quote} is not closed", f"Close it with another {quote}{where}.")
        return self._take("character" if quote == "'" else "string", start, match.end())

    def _number(self, start: int) -> Token:
        match = _NUMBER.match(self._source, start)
        end = match.end() if match else start
        if end < len(self._source) and is_word(self._source[end]):
            raise self._error(start, f"{self._source[start : end + 1]!r} is not a number")
        if self._source[end : end + 1] in ("+", "-") or self._source[end - 1] == "i":
            raise self._error(start, "complex numbers have no use here", "Write a whole or a decimal number.")
        return self._take("number", start, end)

    def _word_end(self, start: int) -> int:
        source, end = self._source, start
        while end < len(source) and is_word(source[end]):
            end += 1
        after = source[end : end + 1]
        if after and after not in " \t\r\n.,|:()" and not source.startswith(_RIGHT, end):
            raise self._error(end, f"{after!r} cannot come right after {source[start:end]!r}", "Put a blank between.")
        return end

    def _word(self, start: int) -> Token:
        end = self._word_end(start)
        return self._take(_WORDS.get(self._source[start:end], "identifier"), start, end)

    def _field_or_variable(self, start: int) -> Token:
        source = self._source
        following = source[start + 1 : start + 2]
        if source[start] == "." and following.isascii() and following.isdigit():
            return self._number(start)
        end = self._word_end(start + 1)
        if source[start] == "$":
            return self._take("variable", start, end)
        return self._take("dot", start, end) if end == start + 1 else self._take("field", start, end, skip=1)
