"""A position among the tokens of a template, and the variables in scope."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from workbench.modelfile.gotemplate.lexer import Kind, Lexer, Token, error_at

MAX_NESTING = 50
"""The deepest nesting of actions and parentheses."""


class TokenCursor:
    """Iterates over the tokens of the template text `source`, with lookahead."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = list(Lexer(source).tokens())
        self._nesting = 0
        self.index = 0
        """The position; it may be set back."""
        self.variables = ["$"]
        """The variables in scope, latest last."""

    def peek(self) -> Token:
        """The next token."""
        return self._tokens[self.index]

    def next(self) -> Token:
        """Consume the next token; the end of the text remains."""
        token = self._tokens[self.index]
        self.index += token.kind != "end of text"
        return token

    def peek_solid(self) -> Token:
        """The next token that is not white space, which is skipped."""
        while self.peek().kind == "space":
            self.index += 1
        return self.peek()

    def next_solid(self) -> Token:
        """Consume the next token that is not white space."""
        self.peek_solid()
        return self.next()

    def peek_in_action(self) -> Token:
        """The first token inside the action that the next token opens."""
        index = self.index + 1
        while self._tokens[index].kind == "space":
            index += 1
        return self._tokens[index]

    def expect(self, kind: Kind, what: str) -> Token:
        """Consume a token of this kind; `what` names it in errors."""
        token = self.next_solid()
        if token.kind != kind:
            self.fail(token.position, f"{token} is unexpected here", f"Here comes {what}.")
        return token

    def fail(self, position: int, problem: str, hint: str = "") -> NoReturn:
        """Raise a GoTemplateError at a position."""
        raise error_at(self._source, position, problem, hint) from None

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """One level of nesting, inside the `with` block."""
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            self.fail(self.peek().position, f"the template is nested more than {MAX_NESTING} deep")
        yield
        self._nesting -= 1
