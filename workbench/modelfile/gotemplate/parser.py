"""Parse a template into its tree, by the grammar of Go's text/template."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from workbench.modelfile.gotemplate.cursor import TokenCursor
from workbench.modelfile.gotemplate.lexer import GoTemplateError, Token
from workbench.modelfile.gotemplate.pipelines import PipelineReader
from workbench.modelfile.gotemplate.tree import (
    Action,
    Call,
    Conditional,
    Jump,
    Node,
    Nodes,
    Pipeline,
    Range,
    TemplateTree,
    Text,
)

MAX_LENGTH = 100_000
"""The longest template, in characters."""


def parse_tree(source: str, functions: Collection[str]) -> TemplateTree:
    """The tree of the template text `source`, which may call `functions`.

    Raises:
        GoTemplateError: Go would refuse it, or it is longer than `MAX_LENGTH` or nested too deep.
    """
    if len(source) > MAX_LENGTH:
        raise GoTemplateError(f"it has {len(source):,} characters; at most {MAX_LENGTH:,} are allowed")
    return _TemplateParser(source, functions).tree()


def _is_blank(nodes: Nodes) -> bool:
    return all(isinstance(node, Text) and not node.text.strip() for node in nodes)


def _is_keyword(token: Token, *words: str) -> bool:
    return token.kind == "keyword" and token.text in words


class _TemplateParser:
    def __init__(self, source: str, functions: Collection[str]) -> None:
        self._cursor = TokenCursor(source)
        self._pipelines = PipelineReader(self._cursor, functions)
        self._ranges = 0
        self._defined: dict[str, Nodes] = {}

    def tree(self) -> TemplateTree:
        root: list[Node] = []
        while self._cursor.peek().kind != "end of text":
            if self._cursor.peek().kind == "left" and _is_keyword(self._cursor.peek_in_action(), "define"):
                self._definition()
                continue
            node = self._node()
            if isinstance(node, Token):
                self._cursor.fail(node.position, f"{node} closes nothing here")
            root.append(node)
        return TemplateTree(self._root(tuple(root)), self._defined)

    def _root(self, nodes: Nodes) -> Nodes:
        """The nodes of the template itself, whose name is empty: those defined by that name where it has none."""
        defined = self._defined.get("", ())
        if not _is_blank(defined):
            if not _is_blank(nodes):
                self._cursor.fail(nodes[0].position, "the template '' is defined twice")
            nodes = defined
        self._defined[""] = nodes
        return nodes

    # Actions.

    def _node(self) -> Node | Token:
        """The next text or action; for `end` and `else`, which close an earlier action, the keyword."""
        token = self._cursor.next()
        if token.kind == "text":
            return Text(token.text, token.position)
        if token.kind != "left":
            self._cursor.fail(token.position, f"{token} is unexpected here")
        word = self._cursor.peek_solid()
        if word.kind != "keyword" or word.text == "define":
            start = self._cursor.peek()
            return Action(self._pipelines.read("an action", "right"), start.position)
        self._cursor.next()
        if word.text in ("end", "else"):
            # An `if` or a `with` may follow `else` in the same action.
            if word.text == "end" or not _is_keyword(self._cursor.peek_solid(), "if", "with"):
                self._cursor.expect("right", "}}" if word.text == "end" else "}}, or if")
            return word
        read: Mapping[str, Callable[[Token], Node]] = {
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
        self._cursor.expect("right", "}}")
        if not self._ranges:
            self._cursor.fail(word.position, f"{word} outside of a range")
        return Jump(word.text, word.position)

    def _body(self, opener: Token) -> tuple[Nodes, Token]:
        """The nodes up to the `end` or `else` that belongs to `opener`, and that keyword."""
        nodes: list[Node] = []
        with self._cursor.deeper():
            while True:
                if self._cursor.peek().kind == "end of text":
                    self._cursor.fail(opener.position, f"{opener} has no {{{{end}}}}", "Close it with {{end}}.")
                node = self._node()
                if isinstance(node, Token):
                    return tuple(nodes), node
                nodes.append(node)

    def _otherwise(self, opener: Token) -> Nodes:
        other = self._cursor.peek()
        if other.kind == "keyword":
            self._cursor.fail(other.position, f"else {other.text} belongs to {other}, and this is {opener}")
        nodes, closer = self._body(opener)
        if closer.text != "end":
            self._cursor.fail(closer.position, "a second {{else}}", "Only {{end}} can follow {{else}}.")
        return nodes

    def _branches(self, word: Token) -> Conditional:
        known = len(self._cursor.variables)
        branches: list[tuple[Pipeline, Nodes]] = []
        otherwise: Nodes = ()
        while True:
            pipeline = self._pipelines.read(str(word), "right")
            body, closer = self._body(word)
            branches.append((pipeline, body))
            if closer.text == "end":
                break
            if not _is_keyword(self._cursor.peek(), word.text):
                otherwise = self._otherwise(word)
                break
            self._cursor.next()
        del self._cursor.variables[known:]
        return Conditional(word.text, tuple(branches), otherwise, word.position)

    def _range(self, word: Token) -> Range:
        known = len(self._cursor.variables)
        pipeline = self._pipelines.read(str(word), "right", loop=True)
        self._ranges += 1
        body, closer = self._body(word)
        self._ranges -= 1
        otherwise = self._otherwise(word) if closer.text == "else" else ()
        del self._cursor.variables[known:]
        return Range(pipeline, body, otherwise, word.position)

    # Templates in the template.

    def _call(self, word: Token) -> Call:
        name = self._pipelines.name(word)
        if self._cursor.peek_solid().kind == "right":
            hint = f"Give it one: {{{{template {name!r} .}}}}".replace("'", '"')
            self._cursor.fail(word.position, "Ollama refuses a template without a value", hint)
        return Call(name, self._pipelines.read(str(word), "right"), word.position)

    def _block(self, word: Token) -> Call:
        name = self._pipelines.name(word)
        pipeline = self._pipelines.read(str(word), "right")
        self._define(word, name)
        return Call(name, pipeline, word.position)

    def _definition(self) -> None:
        self._cursor.next()
        word = self._cursor.next_solid()
        name = self._pipelines.name(word)
        self._cursor.expect("right", "}}")
        self._define(word, name)

    def _define(self, word: Token, name: str) -> None:
        """Parse the body of a nested template, which sees neither the variables nor the range around it."""
        outside = self._cursor.variables, self._ranges
        self._cursor.variables, self._ranges = ["$"], 0
        body, closer = self._body(word)
        if closer.text != "end":
            self._cursor.fail(closer.position, f"{{{{else}}}} is unexpected in {word}")
        self._cursor.variables, self._ranges = outside
        if name in self._defined and not _is_blank(self._defined[name]):
            if not _is_blank(body):
                self._cursor.fail(word.position, f"the template {name!r} is defined twice")
            return
        self._defined[name] = body
