"""From a template's text to its tree, by the grammar of Go's text/template."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import NoReturn

from workbench.core.errors import did_you_mean
from workbench.modelfile.template_lexer import GoTemplateError, Kind, Lexer, Token, error_at
from workbench.modelfile.template_literals import character_value, number_value, unquote
from workbench.modelfile.template_tree import (
    Action,
    Call,
    Chain,
    Command,
    Constant,
    Dot,
    Field,
    Function,
    If,
    Jump,
    Node,
    Nodes,
    Operand,
    Pipeline,
    Range,
    Text,
    Tree,
    Variable,
    With,
)

MAX_NESTING = 50
"""How deep actions and parentheses may lie in one another."""

MAX_LENGTH = 1_000_000
"""The longest template, in characters."""

_LITERALS = frozenset({"string", "character", "number", "bool", "nil", "dot"})


def parse_tree(source: str, functions: Collection[str]) -> Tree:
    """The tree of a template.

    Args:
        source: Its text.
        functions: The names that can be called.

    Raises:
        GoTemplateError: Go would refuse it, or it is longer than `MAX_LENGTH` or nested deeper than `MAX_NESTING`.
    """
    if len(source) > MAX_LENGTH:
        raise GoTemplateError(f"it has {len(source):,} characters, and {MAX_LENGTH:,} are the most that it may have")
    return _Parser(source, functions).tree()


def _is_blank(nodes: Nodes) -> bool:
    return all(isinstance(node, Text) and not node.text.strip() for node in nodes)


class _Parser:
    def __init__(self, source: str, functions: Collection[str]) -> None:
        self._source = source
        self._functions = functions
        self._tokens = list(Lexer(source).tokens())
        self._index = 0
        self._variables = ["$"]
        self._ranges = 0
        self._nesting = 0
        self._defined: dict[str, Nodes] = {}

    def tree(self) -> Tree:
        root: list[Node] = []
        while self._peek().kind != "end of text":
            if self._peek().kind == "left" and self._is_keyword(self._after_left(), "define"):
                self._definition()
                continue
            node = self._node()
            if isinstance(node, Token):
                self._fail(node, f"{node} closes nothing here")
            root.append(node)
        return Tree(tuple(root), self._defined)

    # Tokens.

    def _peek(self) -> Token:
        return self._tokens[self._index]

    def _next(self) -> Token:
        token = self._tokens[self._index]
        self._index += token.kind != "end of text"
        return token

    def _peek_solid(self) -> Token:
        """The next token that is not white space, which is passed over."""
        while self._peek().kind == "space":
            self._index += 1
        return self._peek()

    def _next_solid(self) -> Token:
        self._peek_solid()
        return self._next()

    def _after_left(self) -> Token:
        index = self._index + 1
        while self._tokens[index].kind == "space":
            index += 1
        return self._tokens[index]

    def _is_keyword(self, token: Token, *words: str) -> bool:
        return token.kind == "keyword" and token.text in words

    def _expect(self, kind: Kind, what: str) -> Token:
        token = self._next_solid()
        if token.kind != kind:
            self._fail(token, f"{token} is unexpected here", f"Here comes {what}.")
        return token

    def _fail(self, token: Token, problem: str, hint: str = "") -> NoReturn:
        raise error_at(self._source, token.position, problem, hint)

    @contextmanager
    def _deeper(self, token: Token) -> Iterator[None]:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            self._fail(token, f"the template is nested more than {MAX_NESTING} deep")
        yield
        self._nesting -= 1

    # Actions.

    def _node(self) -> Node | Token:
        """The next text or action; the keyword itself of an `end` or an `else`, which belongs to an earlier action."""
        token = self._next()
        if token.kind == "text":
            return Text(token.text, token.position)
        if token.kind != "left":
            self._fail(token, f"{token} is unexpected here")
        word = self._peek_solid()
        if word.kind != "keyword" or word.text == "define":
            start = self._peek()
            return Action(self._pipeline("an action", "right"), start.position)
        self._next()
        if word.text in ("end", "else"):
            # After `else`, an `if` or a `with` may come in the same action.
            if word.text == "end" or not self._is_keyword(self._peek_solid(), "if", "with"):
                self._expect("right", "}}" if word.text == "end" else "}}, or if")
            return word
        read = {
            "if": self._branches,
            "with": self._branches,
            "range": self._range,
            "break": self._jump,
            "continue": self._jump,
            "template": self._call,
            "block": self._block,
        }
        return read[word.text](word)

    def _jump(self, word: Token) -> Jump:
        self._expect("right", "}}")
        if not self._ranges:
            self._fail(word, f"{word} outside of a range")
        return Jump(word.text, word.position)

    def _body(self, opener: Token) -> tuple[Nodes, Token]:
        """What lies up to the `end` or `else` that belongs to `opener`, and that keyword."""
        nodes: list[Node] = []
        with self._deeper(opener):
            while True:
                if self._peek().kind == "end of text":
                    self._fail(opener, f"{opener} has no {{{{end}}}}", "Close it with {{end}}.")
                node = self._node()
                if isinstance(node, Token):
                    return tuple(nodes), node
                nodes.append(node)

    def _otherwise(self, opener: Token) -> Nodes:
        other = self._peek()
        if other.kind == "keyword":
            self._fail(other, f"else {other.text} belongs to {other}, and this is {opener}")
        nodes, closer = self._body(opener)
        if closer.text != "end":
            self._fail(closer, "a second {{else}}", "Only {{end}} can follow an {{else}} without a condition.")
        return nodes

    def _branches(self, word: Token) -> If | With:
        known = len(self._variables)
        branches: list[tuple[Pipeline, Nodes]] = []
        otherwise: Nodes | None = None
        while True:
            pipeline = self._pipeline(str(word), "right")
            body, closer = self._body(word)
            branches.append((pipeline, body))
            if closer.text == "end":
                break
            if not self._is_keyword(self._peek(), word.text):
                otherwise = self._otherwise(word)
                break
            self._next()
        del self._variables[known:]
        kind = If if word.text == "if" else With
        return kind(tuple(branches), otherwise, word.position)

    def _range(self, word: Token) -> Range:
        known = len(self._variables)
        pipeline = self._pipeline(str(word), "right", loop=True)
        self._ranges += 1
        body, closer = self._body(word)
        self._ranges -= 1
        otherwise: Nodes | None = None
        if closer.text == "else":
            otherwise = self._otherwise(word)
        del self._variables[known:]
        return Range(pipeline, body, otherwise, word.position)

    # Templates in the template.

    def _name(self, word: Token) -> str:
        return self._unquote(self._expect("string", f"the name of the template, in quotes, after {word}"))

    def _call(self, word: Token) -> Call:
        name = self._name(word)
        if self._peek_solid().kind == "right":
            self._next()
            return Call(name, None, word.position)
        return Call(name, self._pipeline(str(word), "right"), word.position)

    def _block(self, word: Token) -> Call:
        name = self._name(word)
        pipeline = self._pipeline(str(word), "right")
        self._define(word, name)
        return Call(name, pipeline, word.position)

    def _definition(self) -> None:
        self._next()
        word = self._next_solid()
        name = self._name(word)
        self._expect("right", "}}")
        self._define(word, name)

    def _define(self, word: Token, name: str) -> None:
        """Read the body of a template within the template; it sees no variables, and no range, from outside."""
        outside = self._variables, self._ranges
        self._variables, self._ranges = ["$"], 0
        body, closer = self._body(word)
        if closer.text != "end":
            self._fail(closer, f"{{{{else}}}} is unexpected in {word}")
        self._variables, self._ranges = outside
        if name in self._defined and not _is_blank(self._defined[name]):
            if not _is_blank(body):
                self._fail(word, f"the template {name!r} is defined twice")
            return
        self._defined[name] = body

    # Pipelines.

    def _pipeline(self, context: str, closer: Kind, *, loop: bool = False) -> Pipeline:
        start = self._peek_solid()
        with self._deeper(start):
            declared, assigns = self._declarations(context, loop=loop)
            commands: list[Command] = []
            while self._peek_solid().kind != closer:
                commands.append(self._command(context))
            end = self._next()
        if not commands:
            self._fail(end, f"a value is missing in {context}")
        for command in commands[1:]:
            if isinstance(command.operands[0], Constant | Dot):
                raise error_at(self._source, command.position, "only a function can come after |")
        return Pipeline(tuple(commands), declared, assigns, start.position)

    def _declarations(self, context: str, *, loop: bool) -> tuple[tuple[str, ...], bool]:
        names: list[str] = []
        while self._peek_solid().kind == "variable":
            before = self._index
            variable = self._next()
            sign = self._peek_solid()
            if sign.kind in ("assign", "declare"):
                self._next()
                self._variables += [*names, variable.text]
                return (*names, variable.text), sign.kind == "assign"
            if sign.kind != "symbol" or sign.text != ",":
                self._index = before
                break
            self._next()
            names.append(variable.text)
            if not loop or len(names) > 1:
                self._fail(sign, f"too many variables in {context}")
            following = self._peek_solid()
            if following.kind not in ("variable", "right", "right paren"):
                self._fail(following, "range takes one or two variables", "{{range $index, $element := .List}}")
        self._variables += names
        return tuple(names), False

    def _command(self, context: str) -> Command:
        start = self._peek_solid()
        operands: list[Operand] = []
        while True:
            self._peek_solid()
            operand = self._operand()
            if operand is not None:
                operands.append(operand)
            token = self._peek()
            if token.kind == "space":
                continue
            if token.kind == "pipe":
                # Nothing need come after it: Go passes over a pipe at the end.
                self._next()
            elif token.kind not in ("right", "right paren"):
                self._unexpected(token, context, after_operand=operand is not None)
            break
        if not operands:
            self._fail(start, f"a value is missing before {start}")
        return Command(tuple(operands), start.position)

    def _unexpected(self, token: Token, context: str, *, after_operand: bool) -> NoReturn:
        if token.kind == "end of text":
            self._fail(token, f"{context} is not closed")
        if token.kind in ("assign", "declare"):
            self._fail(token, f"{token} is unexpected here", "Only a variable can be assigned: {{ $x := .Field }}")
        if token.kind == "symbol" and token.text in "=!<>&+*/%":
            self._fail(token, f"there is no operator {token}", "Call a function: eq, ne, lt, le, gt, ge, and, or, not.")
        hint = "Put a blank between operands." if after_operand else ""
        self._fail(token, f"{token} is unexpected in {context}", hint)

    def _operand(self) -> Operand | None:
        operand = self._term()
        if operand is None or self._peek().kind != "field":
            return operand
        names: list[str] = []
        while self._peek().kind == "field":
            names.append(self._next().text)
        match operand:
            case Field():
                return Field((*operand.names, *names), operand.position)
            case Variable():
                return Variable(operand.name, (*operand.names, *names), operand.position)
            case Function() | Pipeline() | Chain():
                base = operand.operand if isinstance(operand, Chain) else operand
                return Chain(base, tuple(names), operand.position)
        raise error_at(self._source, operand.position, f".{names[0]} cannot come after a literal or a lone dot")

    def _term(self) -> Operand | None:
        token = self._peek()
        if token.kind in _LITERALS:
            self._next()
            return self._literal(token)
        match token.kind:
            case "identifier":
                if token.text not in self._functions:
                    hint = did_you_mean(token.text, self._functions) or f"A field has a dot before it: .{token.text}"
                    self._fail(token, f"there is no function {token.text!r}", hint)
                self._next()
                return Function(token.text, token.position)
            case "variable":
                if token.text not in self._variables:
                    hint = did_you_mean(token.text, self._variables) or f"Declare it first: {token.text} := …"
                    self._fail(token, f"there is no variable {token.text} here", hint)
                self._next()
                return Variable(token.text, (), token.position)
            case "field":
                self._next()
                return Field((token.text,), token.position)
            case "left paren":
                self._next()
                return self._pipeline("parentheses", "right paren")
            case _:
                return None

    def _literal(self, token: Token) -> Constant | Dot:
        try:
            match token.kind:
                case "dot":
                    return Dot(token.position)
                case "string":
                    return Constant(unquote(token.text), token.position)
                case "character":
                    return Constant(character_value(token.text), token.position)
                case "number":
                    return Constant(number_value(token.text), token.position)
                case "bool":
                    return Constant(token.text == "true", token.position)
                case _:
                    return Constant(None, token.position)
        except ValueError as error:
            raise error_at(self._source, token.position, str(error)) from None

    def _unquote(self, token: Token) -> str:
        try:
            return unquote(token.text)
        except ValueError as error:
            raise error_at(self._source, token.position, str(error)) from None
