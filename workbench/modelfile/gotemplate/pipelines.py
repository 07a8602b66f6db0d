"""Parse pipelines, the content of actions, by the grammar of Go's text/template."""

from __future__ import annotations

from collections.abc import Collection
from typing import NoReturn

from workbench.core.errors import did_you_mean
from workbench.modelfile.gotemplate import tree
from workbench.modelfile.gotemplate.cursor import TokenCursor
from workbench.modelfile.gotemplate.lexer import Kind, Token
from workbench.modelfile.gotemplate.literals import character_value, number_value, unquote

_TERMS = frozenset(
    {"string", "character", "number", "bool", "nil", "dot", "identifier", "variable", "field", "left paren"}
)


class PipelineReader:
    """Parses pipelines at a cursor; `functions` are the names that can be called."""

    def __init__(self, cursor: TokenCursor, functions: Collection[str]) -> None:
        self._cursor = cursor
        self._functions = functions

    def read(self, context: str, closer: Kind, *, loop: bool = False) -> tree.Pipeline:
        """The pipeline up to and including its `closer`, in the action `context`; a `loop` may have two variables."""
        start = self._cursor.peek_solid()
        with self._cursor.deeper():
            declared, assigns = self._declarations(context, loop=loop)
            commands: list[tree.PipelineCommand] = []
            while self._cursor.peek_solid().kind != closer:
                commands.append(self._command(context))
            end = self._cursor.next()
        if not commands:
            self._cursor.fail(end.position, f"a value is missing in {context}")
        for command in commands[1:]:
            if isinstance(command.operands[0], tree.Constant | tree.Dot):
                self._cursor.fail(command.position, "only a function can come after |")
        return tree.Pipeline(tuple(commands), declared, assigns, start.position)

    def _declarations(self, context: str, *, loop: bool) -> tuple[tuple[str, ...], bool]:
        names: list[str] = []
        while self._cursor.peek_solid().kind == "variable":
            before = self._cursor.index
            variable = self._cursor.next()
            sign = self._cursor.peek_solid()
            if sign.kind in ("assign", "declare"):
                self._cursor.next()
                self._cursor.variables += [*names, variable.text]
                return (*names, variable.text), sign.kind == "assign"
            if sign.kind != "symbol" or sign.text != ",":
                self._cursor.index = before
                break
            self._cursor.next()
            names.append(variable.text)
            if not loop or len(names) > 1:
                self._cursor.fail(sign.position, f"too many variables in {context}")
            following = self._cursor.peek_solid()
            if following.kind not in ("variable", "right", "right paren"):
                self._cursor.fail(following.position, "range takes one or two variables", "{{range $i, $x := .List}}")
        self._cursor.variables += names
        return tuple(names), False

    def _command(self, context: str) -> tree.PipelineCommand:
        start = self._cursor.peek_solid()
        operands: list[tree.Operand] = []
        while True:
            self._cursor.peek_solid()
            operand = self._operand()
            if operand is not None:
                operands.append(operand)
            token = self._cursor.peek()
            if token.kind == "space":
                continue
            if token.kind == "pipe":
                # Nothing needs to follow: Go ignores a pipe at the end.
                self._cursor.next()
            elif token.kind not in ("right", "right paren"):
                self._unexpected(token, context, after_operand=operand is not None)
            break
        if not operands:
            self._cursor.fail(start.position, f"a value is missing before {start}")
        return tree.PipelineCommand(tuple(operands), start.position)

    def _unexpected(self, token: Token, context: str, *, after_operand: bool) -> NoReturn:
        if token.kind == "end of text":
            self._cursor.fail(token.position, f"{context} is not closed")
        if token.kind in ("assign", "declare"):
            self._cursor.fail(
                token.position, f"{token} is unexpected here", "Only a variable has a value: {{ $x := .A }}"
            )
        if token.kind == "symbol" and token.text in "=!<>&+*/%":
            self._cursor.fail(
                token.position, f"there is no operator {token}", "Call a function: eq, ne, lt, gt, and, or."
            )
        hint = "Put a blank between operands." if after_operand else ""
        self._cursor.fail(token.position, f"{token} is unexpected in {context}", hint)

    def _operand(self) -> tree.Operand | None:
        operand = self._term()
        if operand is None or self._cursor.peek().kind != "field":
            return operand
        names: list[str] = []
        while self._cursor.peek().kind == "field":
            names.append(self._cursor.next().text)
        match operand:
            case tree.FieldPath():
                return tree.FieldPath((*operand.names, *names), operand.position)
            case tree.Variable():
                return tree.Variable(operand.name, (*operand.names, *names), operand.position)
            case tree.Function() | tree.Pipeline() | tree.Chain():
                base = operand.operand if isinstance(operand, tree.Chain) else operand
                return tree.Chain(base, tuple(names), operand.position)
        self._cursor.fail(operand.position, f".{names[0]} cannot come after a literal or a lone dot")

    def _term(self) -> tree.Operand | None:
        token = self._cursor.peek()
        if token.kind not in _TERMS:
            return None
        self._cursor.next()
        match token.kind:
            case "identifier":
                if token.text not in self._functions:
                    hint = did_you_mean(token.text, self._functions) or f"A field has a dot before it: .{token.text}"
                    self._cursor.fail(token.position, f"there is no function {token.text!r}", hint)
                return tree.Function(token.text, token.position)
            case "variable":
                if token.text not in self._cursor.variables:
                    hint = did_you_mean(token.text, self._cursor.variables) or f"Declare it first: {token.text} := …"
                    self._cursor.fail(token.position, f"there is no variable {token.text} here", hint)
                return tree.Variable(token.text, (), token.position)
            case "field":
                return tree.FieldPath((token.text,), token.position)
            case "left paren":
                return self.read("parentheses", "right paren")
            case _:
                return self._literal(token)

    def _literal(self, token: Token) -> tree.Constant | tree.Dot:
        try:
            match token.kind:
                case "dot":
                    return tree.Dot(token.position)
                case "string":
                    return tree.Constant(unquote(token.text), token.position)
                case "character":
                    return tree.Constant(character_value(token.text), token.position)
                case "number":
                    return tree.Constant(number_value(token.text), token.position)
                case "bool":
                    return tree.Constant(token.text == "true", token.position)
                case _:
                    return tree.Constant(None, token.position)
        except ValueError as error:
            self._cursor.fail(token.position, str(error))

    def name(self, after: Token) -> str:
        """The name of a template in quotes, after the keyword `after`."""
        token = self._cursor.expect("string", f"the name of the template, in quotes, after {after}")
        value = self._literal(token)
        return value.value if isinstance(value, tree.Constant) and isinstance(value.value, str) else ""
