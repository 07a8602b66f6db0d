"""A place among the tokens of a template, and what is known there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from workbench.modelfile.gotemplate.lexer import Kind, Lexer, Token, error_at

MAX_NESTING = 50
"""How deep actions and parentheses may lie in one another."""


class TokenCursor:
    """Goes through the tokens of a template.

    Args:
        source: The template's text.

    Raises:
        GoTemplateError: A text that is no token.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = list(Lexer(source).tokens())
        self._nesting = 0
        self.index = 0
        """Where it stands; setting it goes back to an earlier place."""
        self.variables = ["$"]
        """The variables that are declared at this place, the latest last."""

    def peek(self) -> Token:
        """The next token."""
        return self._tokens[self.index]

    def next(self) -> Token:
        """The next token, which is passed over. There is always an end of text to come."""
        token = self._tokens[self.index]
        self.index += token.kind != "end of text"
        return token

    def peek_solid(self) -> Token:
        """The next token that is not white space; the white space is passed over."""
        while self.peek().kind == "space":
            self.index += 1
        return self.peek()

    def next_solid(self) -> Token:
        """The next token that is not white space, which is passed over."""
        self.peek_solid()
        return self.next()

    def peek_in_action(self) -> Token:
        """The first token inside the action that begins with the next token."""
        index = self.index + 1
        while self._tokens[index].kind == "space":
            index += 1
        return self._tokens[index]

    def expect(self, kind: Kind, what: str) -> Token:
        """Pass over a token of that kind.

        Args:
            kind: What must come.
            what: The same, in words.
        """
        token = self.next_solid()
        if token.kind != kind:
            self.fail(token.position, f"{token} is unexpected here", f"Here comes {what}.")
        return token

    def fail(self, position: int, problem: str, hint: str = "") -> NoReturn:
        """Refuse the template.

        Raises:
            GoTemplateError: Always.
        """
        raise error_at(self._source, position, problem, hint) from None

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """What is read meanwhile lies one level deeper."""
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            self.fail(self.peek().position, f"the template is nested more than {MAX_NESTING} deep")
        yield
        self._nesting -= 1
