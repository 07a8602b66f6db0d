"""Evaluates a template as Go's text/template does, within bounds that no template can leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Literal

from workbench.core.errors import did_you_mean
from workbench.modelfile.template_functions import FUNCTIONS, Signature, Surroundings
from workbench.modelfile.template_lexer import GoTemplateError, error_at
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
    Nodes,
    Operand,
    Pipeline,
    Range,
    Text,
    Tree,
    Variable,
    With,
)
from workbench.modelfile.template_values import (
    NOTHING,
    FunctionError,
    Nothing,
    Struct,
    Value,
    as_bytes,
    described,
    is_true,
    size_of,
    without_nothing,
)
from workbench.modelfile.template_verbs import printed

MAX_DEPTH = 120
"""How deep bodies, parentheses and templates may lie in one another while they are evaluated."""

_Outcome = Literal["break", "continue"] | None


class _Absent:
    """No value came through a pipe."""


_ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one evaluation may take."""

    steps: int = 1_000_000
    """Actions, texts and turns of a range."""
    characters: int = 64_000_000
    """Text that is written, and text that functions look at or make."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to evaluate."""

    functions: Mapping[str, Signature] = field(default_factory=lambda: FUNCTIONS)
    missing: Value = None
    """What a map has for a key that is not there: nil, or no value at all."""
    limits: Limits = field(default_factory=Limits)
    today: date | None = None
    """The date that `currentDate` gives; None is that of now."""


def evaluate(source: str, tree: Tree, data: Value, settings: Settings | None = None) -> str:
    """The text that a template makes of `data`.

    Args:
        source: The template's text, for the places of errors.
        tree: The same, parsed.
        data: What `.` and `$` are.
        settings: How; None is as Ollama does it.

    Raises:
        GoTemplateError: Go would fail, or a limit is reached.
    """
    return _Evaluator(source, tree, settings or Settings()).run(data)


class _Variables:
    """The variables in force. A name that is declared again hides the earlier one until its block ends."""

    def __init__(self, root: Value) -> None:
        self._values: dict[str, list[Value]] = {"$": [root]}
        self._declared: list[str] = []

    def mark(self) -> int:
        return len(self._declared)

    def forget(self, mark: int) -> None:
        while len(self._declared) > mark:
            self._values[self._declared.pop()].pop()

    def declare(self, name: str, value: Value) -> None:
        self._values.setdefault(name, []).append(value)
        self._declared.append(name)

    def find(self, name: str) -> list[Value]:
        """The values of that name, the one in force last; empty where there is none."""
        return self._values.get(name) or []


class _Evaluator:
    def __init__(self, source: str, tree: Tree, settings: Settings) -> None:
        self._source = source
        self._tree = tree
        self._settings = settings
        self._today = settings.today or date.today()
        self._steps = settings.limits.steps
        self._room = settings.limits.characters
        self._depth = 0
        self._written: list[str] = []
        self._variables = _Variables(None)

    def run(self, data: Value) -> str:
        self._variables = _Variables(data)
        self._walk(data, self._tree.root)
        text = "".join(self._written)
        return text if text.isascii() else as_bytes(text).decode("utf-8", "replace")

    # Bounds.

    def _error(self, position: int, problem: str, hint: str = "") -> GoTemplateError:
        return error_at(self._source, position, problem, hint)

    def _step(self, position: int) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise self._error(
                position,
                f"it takes more than {self._settings.limits.steps:,} steps",
                "A range over too much, or templates that call one another without an end.",
            )

    def _take_room(self, position: int, characters: int) -> None:
        self._room -= characters
        if self._room < 0:
            raise self._error(position, f"it makes more than {self._settings.limits.characters:,} characters of text")

    def _enter(self, position: int) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(position, f"it goes more than {MAX_DEPTH} deep", "A template that calls itself?")

    # Nodes.

    def _walk(self, dot: Value, nodes: Nodes) -> _Outcome:
        """Evaluate nodes in turn; tells of a `break` or `continue` that ended them."""
        for node in nodes:
            self._step(node.position)
            outcome: _Outcome = None
            match node:
                case Text():
                    self._write(node.position, node.text)
                case Action():
                    value = self._pipeline(dot, node.pipeline)
                    if not node.pipeline.declared:
                        self._print(node.position, value)
                case If() | With():
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
        self._enter(position)
        outcome = self._walk(dot, nodes)
        self._depth -= 1
        return outcome

    def _write(self, position: int, text: str) -> None:
        self._take_room(position, len(text))
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
                raise self._error(position, str(error)) from None

    def _branch(self, dot: Value, node: If | With) -> _Outcome:
        mark = self._variables.mark()
        outcome: _Outcome = None
        for pipeline, body in node.branches:
            value = self._pipeline(dot, pipeline)
            if is_true(value):
                outcome = self._body(value if isinstance(node, With) else dot, body, node.position)
                break
        else:
            outcome = self._body(dot, node.otherwise or (), node.position)
        self._variables.forget(mark)
        return outcome

    def _call_template(self, dot: Value, node: Call) -> None:
        if node.name not in self._tree.defined:
            raise self._error(
                node.position, f"there is no template {node.name!r}", did_you_mean(node.name, self._tree.defined)
            )
        value = self._pipeline(dot, node.pipeline) if node.pipeline is not None else NOTHING
        outside, self._variables = self._variables, _Variables(value)
        self._body(value, self._tree.defined[node.name], node.position)
        self._variables = outside

    def _range(self, dot: Value, node: Range) -> None:
        mark = self._variables.mark()
        value = self._pipeline(dot, node.pipeline)
        ran = False
        for index, element in self._elements(value, node):
            ran = True
            self._step(node.position)
            inner = self._variables.mark()
            self._set_loop_variables(node.pipeline, index, element)
            outcome = self._body(element, node.body, node.position)
            self._variables.forget(inner)
            if outcome == "break":
                break
        if not ran and node.otherwise is not None:
            self._body(dot, node.otherwise, node.position)
        self._variables.forget(mark)

    def _elements(self, value: Value, node: Range) -> Iterable[tuple[Value, Value]]:
        match value:
            case bool():
                pass
            case int():
                if len(node.pipeline.declared) > 1:
                    raise self._error(node.position, "a range over a number has one variable, not two")
                return ((index, index) for index in range(value))
            case list():
                return enumerate(value)
            case dict():
                self._take_room(node.position, len(value))
                return sorted(value.items(), key=_by_key)
            case Nothing():
                return ()
        raise self._error(
            node.position, f"{described(value)} cannot be ranged over", "A range takes a list, a map or a number."
        )

    def _set_loop_variables(self, pipeline: Pipeline, index: Value, element: Value) -> None:
        names = pipeline.declared
        values = (index, element) if len(names) > 1 else (element,)
        for name, value in zip(names, values, strict=False):
            if pipeline.assigns:
                self._assign(name, value, pipeline.position)
            else:
                # The pipeline has declared it already, for `else`; each turn has a value of its own.
                self._variables.declare(name, value)

    def _assign(self, name: str, value: Value, position: int) -> None:
        values = self._variables.find(name)
        if not values:
            raise self._error(position, f"there is no variable {name} here", f"Declare it first: {name} := …")
        values[-1] = value

    # Pipelines and operands.

    def _pipeline(self, dot: Value, pipeline: Pipeline) -> Value:
        self._enter(pipeline.position)
        final: Value | _Absent = _ABSENT
        for command in pipeline.commands:
            result = self._command(dot, command, final)
            final = NOTHING if result is None else result
        value: Value = NOTHING if isinstance(final, _Absent) else final
        for name in pipeline.declared:
            if pipeline.assigns:
                self._assign(name, value, pipeline.position)
            else:
                self._variables.declare(name, value)
        self._depth -= 1
        return value

    def _command(self, dot: Value, command: Command, final: Value | _Absent) -> Value:
        first, *arguments = command.operands
        if isinstance(first, Function):
            return self._call(dot, first, arguments, final)
        if arguments or not isinstance(final, _Absent):
            raise self._error(first.position, "this is no function, and takes no arguments")
        if isinstance(first, Constant) and first.value is None:
            raise self._error(first.position, "nil is no command")
        return self._operand(dot, first)

    def _operand(self, dot: Value, operand: Operand) -> Value:
        match operand:
            case Constant():
                return operand.value
            case Dot():
                return dot
            case Field():
                return self._fields(dot, operand.names, operand.position)
            case Variable():
                values = self._variables.find(operand.name)
                if not values:
                    raise self._error(operand.position, f"there is no variable {operand.name} here")
                return self._fields(values[-1], operand.names, operand.position)
            case Chain():
                return self._fields(self._operand(dot, operand.operand), operand.names, operand.position)
            case Function():
                return self._call(dot, operand, (), _ABSENT)
            case Pipeline():
                return self._pipeline(dot, operand)

    def _fields(self, value: Value, names: Sequence[str], position: int) -> Value:
        for name in names:
            match value:
                case Nothing():
                    return NOTHING
                case dict():
                    value = value.get(name, self._settings.missing)
                case Struct() if name in value.fields:
                    value = value.fields[name]
                case Struct():
                    hint = did_you_mean(name, value.fields)
                    raise self._error(position, f"{described(value)} has no field .{name}", hint)
                case None:
                    raise self._error(position, f".{name} of nil", "Test it first: {{ if … }}")
                case _:
                    raise self._error(position, f"{described(value)} has no fields, and so no .{name}")
        return value

    # Functions.

    def _call(self, dot: Value, function: Function, operands: Sequence[Operand], final: Value | _Absent) -> Value:
        name = function.name
        signature = self._settings.functions.get(name)
        if signature is None:
            raise self._error(function.position, f"there is no function {name!r} here")
        piped = not isinstance(final, _Absent)
        count = len(operands) + piped
        if count < signature.least or (signature.most is not None and count > signature.most):
            raise self._error(function.position, f"{name} takes {_amount(signature)}, and not {count}")
        if name in ("and", "or"):
            for operand in operands:
                value = self._argument(dot, operand, signature, 0)
                if is_true(value) == (name == "or"):
                    return value
            return without_nothing(final) if not isinstance(final, _Absent) else value
        values = [self._argument(dot, operand, signature, index) for index, operand in enumerate(operands)]
        if not isinstance(final, _Absent):
            values.append(self._checked(final, signature, len(values), function.position))
        self._take_room(function.position, sum(size_of(value) for value in values))
        try:
            result = signature.call(values, Surroundings(self._room, self._today))
        except FunctionError as error:
            raise self._error(function.position, f"{name}: {error}") from None
        self._take_room(function.position, size_of(result))
        return result

    def _argument(self, dot: Value, operand: Operand, signature: Signature, index: int) -> Value:
        return self._checked(self._operand(dot, operand), signature, index, operand.position)

    def _checked(self, value: Value, signature: Signature, index: int, position: int) -> Value:
        if signature.takes_text(index) and not isinstance(value, str):
            raise self._error(position, f"a text is expected here, and this is {described(value)}")
        return without_nothing(value)


def _by_key(pair: tuple[str, Value]) -> str:
    return pair[0]


def _amount(signature: Signature) -> str:
    least, most = signature.least, signature.most
    noun = "argument" if least == 1 else "arguments"
    return f"{least} {noun}" if most == least else f"at least {least} {noun}"
