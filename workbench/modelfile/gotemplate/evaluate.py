"""Evaluate a template as Go's text/template does, within fixed limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from workbench.core.errors import did_you_mean
from workbench.modelfile.gotemplate.expressions import Bounds, EvaluationSettings, Expressions, Variables
from workbench.modelfile.gotemplate.tree import (
    Action,
    Call,
    Conditional,
    Jump,
    Nodes,
    Pipeline,
    Range,
    TemplateTree,
    Text,
)
from workbench.modelfile.gotemplate.values import (
    FunctionError,
    Nothing,
    Value,
    as_bytes,
    described,
    from_bytes,
    is_true,
    sound_text,
)
from workbench.modelfile.gotemplate.verbs import printed

_Outcome = Literal["break", "continue"] | None


def evaluate(
    source: str,
    tree: TemplateTree,
    data: Value,
    settings: EvaluationSettings | None = None,
    bounds: Bounds | None = None,
) -> str:
    """The text that a template renders from `data`, the value of `.` and `$`.

    `source` is the text of the template, for the positions of errors. The `settings` are by default those of Ollama,
    the `bounds`, a budget shared with other evaluations, by default the limits of the settings.
    """
    settings = settings or EvaluationSettings()
    return _Evaluator(tree, data, settings, bounds or Bounds(source, settings.limits)).run()


class _Evaluator:
    def __init__(self, tree: TemplateTree, data: Value, settings: EvaluationSettings, bounds: Bounds) -> None:
        self._tree = tree
        self._bounds = bounds
        self._expressions = Expressions(self._bounds, settings, data)
        self._data = data
        self._written: list[str] = []

    def run(self) -> str:
        self._walk(self._data, self._tree.root)
        text = "".join(self._written)
        # Ollama sends the prompt as JSON, in which Go replaces each byte that is not UTF-8.
        return text if text.isascii() else sound_text(from_bytes(as_bytes(text)))

    def _walk(self, dot: Value, nodes: Nodes) -> _Outcome:
        """Evaluate nodes in turn; returns a `break` or `continue` that ended them."""
        for node in nodes:
            self._bounds.step(node.position)
            outcome: _Outcome = None
            match node:
                case Text():
                    self._write(node.position, node.text)
                case Action():
                    value = self._expressions.value(dot, node.pipeline)
                    if not node.pipeline.declared:
                        self._print(node.position, value)
                case Conditional():
                    outcome = self._branch(dot, node)
                case Range():
                    self._range(dot, node)
                case Call():
                    self._call_template(dot, node)
                case Jump():
                    return "break" if node.word == "break" else "continue"
            if outcome is not None:
                return outcome
        return None

    def _body(self, dot: Value, nodes: Nodes, position: int) -> _Outcome:
        self._bounds.enter(position)
        outcome = self._walk(dot, nodes)
        self._bounds.leave()
        return outcome

    def _write(self, position: int, text: str) -> None:
        self._bounds.write(position, len(text))
        self._written.append(text)

    def _print(self, position: int, value: Value) -> None:
        if isinstance(value, str):
            self._write(position, value)
        elif isinstance(value, Nothing):
            self._write(position, "<no value>")
        else:
            try:
                self._write(position, printed(value))
            except FunctionError as error:
                self._bounds.fail(position, str(error))

    def _branch(self, dot: Value, node: Conditional) -> _Outcome:
        mark = self._expressions.variables.mark()
        outcome: _Outcome = None
        for pipeline, body in node.branches:
            self._bounds.step(node.position)
            value = self._expressions.value(dot, pipeline)
            if is_true(value):
                outcome = self._body(value if node.word == "with" else dot, body, node.position)
                break
        else:
            outcome = self._body(dot, node.otherwise, node.position)
        self._expressions.variables.forget(mark)
        return outcome

    def _call_template(self, dot: Value, node: Call) -> None:
        if node.name not in self._tree.defined:
            self._bounds.fail(
                node.position, f"there is no template {node.name!r}", did_you_mean(node.name, self._tree.defined)
            )
        value = self._expressions.value(dot, node.pipeline)
        outside, self._expressions.variables = self._expressions.variables, Variables(value)
        self._body(value, self._tree.defined[node.name], node.position)
        self._expressions.variables = outside

    def _range(self, dot: Value, node: Range) -> None:
        mark = self._expressions.variables.mark()
        value = self._expressions.value(dot, node.pipeline)
        ran = False
        for index, element in self._elements(value, node):
            ran = True
            self._bounds.step(node.position)
            inner = self._expressions.variables.mark()
            self._set_loop_variables(node.pipeline, index, element)
            outcome = self._body(element, node.body, node.position)
            self._expressions.variables.forget(inner)
            if outcome == "break":
                break
        if not ran and node.otherwise:
            self._body(dot, node.otherwise, node.position)
        self._expressions.variables.forget(mark)

    def _elements(self, value: Value, node: Range) -> Iterable[tuple[Value, Value]]:
        match value:
            case bool():
                pass
            case int():
                if len(node.pipeline.declared) > 1:
                    self._bounds.fail(node.position, "a range over a number has one variable, not two")
                return ((index, index) for index in range(value))
            case list():
                return enumerate(value)
            case dict():
                self._bounds.step(node.position, len(value))
                return sorted(value.items())
            case Nothing():
                return ()
        self._bounds.fail(
            node.position, f"{described(value)} cannot be ranged over", "A range takes a list, a map or a number."
        )

    def _set_loop_variables(self, pipeline: Pipeline, index: Value, element: Value) -> None:
        names = pipeline.declared
        values = (index, element) if len(names) > 1 else (element,)
        for name, value in zip(names, values, strict=False):
            if pipeline.assigns:
                self._expressions.assign(name, value, pipeline.position)
            else:
                # The pipeline has declared it already, for `else`; each iteration has a value of its own.
                self._expressions.variables.declare(name, value)
