"""Evaluate pipelines and their operands, within limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NoReturn

from workbench.core.errors import did_you_mean
from workbench.modelfile.gotemplate import tree
from workbench.modelfile.gotemplate.functions import FUNCTIONS, Signature
from workbench.modelfile.gotemplate.lexer import error_at
from workbench.modelfile.gotemplate.printf import format_steps
from workbench.modelfile.gotemplate.values import (
    NOTHING,
    FunctionError,
    Nothing,
    Struct,
    Value,
    described,
    is_true,
    size_of,
    without_nothing,
)

MAX_DEPTH = 120
"""The deepest nesting of bodies, parentheses and templates during evaluation."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one evaluation."""

    steps: int = 400_000
    """Actions, texts, iterations of a range, calls of functions and their arguments; a function takes more for longer
    text. A step takes one or two microseconds."""
    characters: int = 4_000_000
    """Characters that functions read or produce."""
    written: int = 1_000_000
    """Characters of the result."""


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """The functions, the limits and the date of an evaluation."""

    functions: Mapping[str, Signature] = field(default_factory=lambda: FUNCTIONS)
    missing: Value = None
    """The value of a missing key: nil, or no value."""
    limits: Limits = field(default_factory=Limits)
    today: date | None = None
    """The date of `currentDate`; None for today."""


class Variables:
    """The variables in scope. A new declaration of a name hides the earlier one until its block ends."""

    def __init__(self, root: Value) -> None:
        self._values: dict[str, list[Value]] = {"$": [root]}
        self._declared: list[str] = []

    def mark(self) -> int:
        """The number of declarations."""
        return len(self._declared)

    def forget(self, mark: int) -> None:
        """Drop the declarations after `mark`."""
        while len(self._declared) > mark:
            self._values[self._declared.pop()].pop()

    def declare(self, name: str, value: Value) -> None:
        """Declare a new variable."""
        self._values.setdefault(name, []).append(value)
        self._declared.append(name)

    def find(self, name: str) -> list[Value]:
        """The values of a name, the current one last; empty for none."""
        return self._values.get(name) or []


class Bounds:
    """The remaining budget of an evaluation; `source` is the template text, for the positions of errors."""

    def __init__(self, source: str, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._steps = limits.steps
        self._paper = limits.written
        self._depth = 0
        self.room = limits.characters
        """Characters that functions may still read or produce."""

    def fail(self, position: int, problem: str, hint: str = "") -> NoReturn:
        """Raise a GoTemplateError at a position."""
        raise error_at(self._source, position, problem, hint) from None

    def step(self, position: int, count: int = 1) -> None:
        """Count steps."""
        self._steps -= count
        if self._steps < 0:
            self.fail(
                position,
                f"it takes more than {self._limits.steps:,} steps",
                "It ranges over too much, or its templates call one another endlessly.",
            )

    def take(self, position: int, characters: int, pace: int) -> None:
        """Count characters that are read or produced, at `pace` per step."""
        self.room -= characters
        if self.room < 0:
            self.fail(position, f"its functions process more than {self._limits.characters:,} characters of text")
        self.step(position, characters // pace)

    def write(self, position: int, characters: int) -> None:
        """Count written characters."""
        self._paper -= characters
        if self._paper < 0:
            self.fail(
                position,
                f"it writes more than {self._limits.written:,} characters of text",
                "It may write the same text repeatedly.",
            )

    def enter(self, position: int) -> None:
        """Enter a level of nesting."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self.fail(position, f"it nests more than {MAX_DEPTH} deep", "A template may call itself.")

    def leave(self) -> None:
        """Leave a level of nesting."""
        self._depth -= 1


class Expressions:
    """Evaluates pipelines; `data` is the value of `$`."""

    def __init__(self, bounds: Bounds, settings: EvaluationSettings, data: Value) -> None:
        self._bounds = bounds
        self._settings = settings
        self._today = settings.today or date.today()
        self.variables = Variables(data)
        """The variables of the current template; a template that it calls has its own."""

    def assign(self, name: str, value: Value, position: int) -> None:
        """Assign to an existing variable."""
        values = self.variables.find(name)
        if not values:
            self._bounds.fail(position, f"there is no variable {name} here", f"Declare it first: {name} := …")
        values[-1] = value

    def value(self, dot: Value, pipeline: tree.Pipeline) -> Value:
        """The value of a pipeline, which is also assigned to its variables."""
        self._bounds.enter(pipeline.position)
        value: Value = NOTHING
        piped: tuple[Value, ...] = ()
        for command in pipeline.commands:
            result = self._command(dot, command, piped)
            value = NOTHING if result is None else result
            piped = (value,)
        for name in pipeline.declared:
            if pipeline.assigns:
                self.assign(name, value, pipeline.position)
            else:
                self.variables.declare(name, value)
        self._bounds.leave()
        return value

    def _command(self, dot: Value, command: tree.PipelineCommand, piped: tuple[Value, ...]) -> Value:
        """The value of a command, which gets the value of the one before it, if there is one."""
        first, *arguments = command.operands
        if isinstance(first, tree.Function):
            return self._call(dot, first, arguments, piped)
        if arguments or piped:
            self._bounds.fail(first.position, "this is not a function, and takes no arguments")
        if isinstance(first, tree.Constant) and first.value is None:
            self._bounds.fail(first.position, "nil is not a command")
        return self._operand(dot, first)

    def _operand(self, dot: Value, operand: tree.Operand) -> Value:
        match operand:
            case tree.Constant():
                return operand.value
            case tree.Dot():
                return dot
            case tree.FieldPath():
                return self._fields(dot, operand.names, operand.position)
            case tree.Variable():
                values = self.variables.find(operand.name)
                if not values:
                    self._bounds.fail(operand.position, f"there is no variable {operand.name} here")
                return self._fields(values[-1], operand.names, operand.position)
            case tree.Chain():
                return self._fields(self._operand(dot, operand.operand), operand.names, operand.position)
            case tree.Function():
                return self._call(dot, operand, (), ())
            case tree.Pipeline():
                return self.value(dot, operand)

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
                    self._bounds.fail(position, f"{described(value)} has no field .{name}", hint)
                case None:
                    self._bounds.fail(position, f".{name} of nil", "Test it first: {{ if … }}")
                case _:
                    self._bounds.fail(position, f"{described(value)} has no fields, and so no .{name}")
        return value

    # Functions.

    def _call(
        self, dot: Value, function: tree.Function, operands: Sequence[tree.Operand], piped: tuple[Value, ...]
    ) -> Value:
        name = function.name
        signature = self._settings.functions.get(name)
        if signature is None:
            self._bounds.fail(function.position, f"there is not a function {name!r} here")
        count = len(operands) + len(piped)
        self._bounds.step(function.position)
        if count < signature.least or (signature.most is not None and count > signature.most):
            self._bounds.fail(function.position, f"{name} takes {_amount(signature)}, and not {count}")
        if name in ("and", "or"):
            for operand in operands:
                value = self._argument(dot, operand, signature, 0)
                if is_true(value) == (name == "or"):
                    return value
            return without_nothing(piped[0]) if piped else value
        values = [self._argument(dot, operand, signature, index) for index, operand in enumerate(operands)]
        values += [self._checked(value, signature, len(values), function.position) for value in piped]
        sizes = [size_of(value) for value in values]
        self._bounds.take(function.position, sum(sizes), signature.pace)
        if signature.is_formatted:
            self._bounds.step(function.position, format_steps(str(values[0]), max(sizes)))
        try:
            result = signature.call(values, self._bounds.room, self._today)
        except FunctionError as error:
            self._bounds.fail(function.position, f"{name}: {error}")
        self._bounds.take(function.position, size_of(result), signature.pace)
        return result

    def _argument(self, dot: Value, operand: tree.Operand, signature: Signature, index: int) -> Value:
        self._bounds.step(operand.position)
        return self._checked(self._operand(dot, operand), signature, index, operand.position)

    def _checked(self, value: Value, signature: Signature, index: int, position: int) -> Value:
        if index < signature.texts and not isinstance(value, str):
            self._bounds.fail(position, f"a text is expected here, and this is {described(value)}")
        return without_nothing(value)


def _amount(signature: Signature) -> str:
    least, most = signature.least, signature.most
    noun = "argument" if least == 1 else "arguments"
    return f"{least} {noun}" if most == least else f"at least {least} {noun}"
