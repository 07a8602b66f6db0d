"""The syntax tree of a template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal: a string, a number, a bool, or None for nil."""

    value: str | int | float | bool | None
    position: int


@dataclass(frozen=True, slots=True)
class Dot:
    """`.`: the current value."""

    position: int


@dataclass(frozen=True, slots=True)
class FieldPath:
    """`.A.B`: fields of the current value."""

    names: tuple[str, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Variable:
    """`$x`, or `$x.A.B`."""

    name: str
    """With its `$`."""
    names: tuple[str, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Function:
    """The name of a function."""

    name: str
    position: int


@dataclass(frozen=True, slots=True)
class Chain:
    """`(…).A.B`: fields of the result of a function or of a pipeline in parentheses."""

    operand: Function | Pipeline
    names: tuple[str, ...]
    position: int


@dataclass(frozen=True, slots=True)
class PipelineCommand:
    """Operands in a row: a call of the first one, or a single value."""

    operands: tuple[Operand, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands; the value of each is the last argument of the next one."""

    commands: tuple[PipelineCommand, ...]
    declared: tuple[str, ...]
    """The variables that get the value, with their `$`."""
    assigns: bool
    """Whether the variables exist already (`=`) instead of being new (`:=`)."""
    position: int


Operand = Constant | Dot | FieldPath | Variable | Function | Chain | Pipeline


@dataclass(frozen=True, slots=True)
class Text:
    """Text outside all actions."""

    text: str
    position: int


@dataclass(frozen=True, slots=True)
class Action:
    """A pipeline whose value is written, or assigned to a variable."""

    pipeline: Pipeline
    position: int


@dataclass(frozen=True, slots=True)
class Conditional:
    """`if` or `with`, and each of its `else if` or `else with`."""

    word: str
    branches: tuple[tuple[Pipeline, Nodes], ...]
    otherwise: Nodes
    position: int


@dataclass(frozen=True, slots=True)
class Range:
    """`range`, with its `else` for nothing to range over."""

    pipeline: Pipeline
    body: Nodes
    otherwise: Nodes
    position: int


@dataclass(frozen=True, slots=True)
class Jump:
    """`break` or `continue`."""

    word: str
    position: int


@dataclass(frozen=True, slots=True)
class Call:
    """`template`, or the place of a `block`."""

    name: str
    pipeline: Pipeline
    position: int


Node = Text | Action | Conditional | Range | Jump | Call
Nodes = tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class TemplateTree:
    """A parsed template."""

    root: Nodes
    defined: Mapping[str, Nodes]
    """The bodies of `define` and `block` by name."""


def identifiers(tree: TemplateTree) -> frozenset[str]:
    """The names of fields and variables that the template mentions, in lower case, as Ollama collects them.

    Names after a parenthesis, and variables where they are declared, do not count.
    """
    found: set[str] = set()
    for nodes in (tree.root, *tree.defined.values()):
        for pipeline in pipelines(nodes):
            found.update(name.lower() for name in _names(pipeline))
    return frozenset(found)


def pipelines(nodes: Nodes) -> Iterator[Pipeline]:
    """Every pipeline in `nodes`, except those inside other pipelines."""
    for node in nodes:
        match node:
            case Action() | Call():
                yield node.pipeline
            case Conditional():
                for pipeline, body in node.branches:
                    yield pipeline
                    yield from pipelines(body)
                yield from pipelines(node.otherwise)
            case Range():
                yield node.pipeline
                yield from pipelines(node.body)
                yield from pipelines(node.otherwise)


def _names(pipeline: Pipeline) -> Iterator[str]:
    for command in pipeline.commands:
        for operand in command.operands:
            match operand:
                case FieldPath():
                    yield from operand.names
                case Variable():
                    yield operand.name
                    yield from operand.names
                case Pipeline():
                    yield from _names(operand)
