"""What a template is made of, once it is parsed."""

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
    """The value at hand."""

    position: int


@dataclass(frozen=True, slots=True)
class Field:
    """`.A.B`: fields of the value at hand."""

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
    """A function by its name."""

    name: str
    position: int


@dataclass(frozen=True, slots=True)
class Chain:
    """`(…).A.B`: fields of what a function or a pipeline in parentheses gives."""

    operand: Function | Pipeline
    names: tuple[str, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Command:
    """Operands beside one another: a call of the first one, or a single value."""

    operands: tuple[Operand, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands, each of which hands its value to the next one as the last argument."""

    commands: tuple[Command, ...]
    declared: tuple[str, ...]
    """The variables that get the value, with their `$`."""
    assigns: bool
    """Whether the variables are there already (`=`), and are not new (`:=`)."""
    position: int


Operand = Constant | Dot | Field | Variable | Function | Chain | Pipeline


@dataclass(frozen=True, slots=True)
class Text:
    """Text outside all actions."""

    text: str
    position: int


@dataclass(frozen=True, slots=True)
class Action:
    """A pipeline whose value is written, or goes to a variable."""

    pipeline: Pipeline
    position: int


@dataclass(frozen=True, slots=True)
class If:
    """`if`, with each of its `else if`."""

    branches: tuple[tuple[Pipeline, Nodes], ...]
    otherwise: Nodes | None
    position: int


@dataclass(frozen=True, slots=True)
class With:
    """`with`, with each of its `else with`."""

    branches: tuple[tuple[Pipeline, Nodes], ...]
    otherwise: Nodes | None
    position: int


@dataclass(frozen=True, slots=True)
class Range:
    """`range`, with its `else` for nothing to range over."""

    pipeline: Pipeline
    body: Nodes
    otherwise: Nodes | None
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
    pipeline: Pipeline | None
    position: int


Node = Text | Action | If | With | Range | Jump | Call
Nodes = tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed template."""

    root: Nodes
    defined: Mapping[str, Nodes]
    """What `define` and `block` gave names to."""


def identifiers(tree: Tree) -> frozenset[str]:
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
                if node.pipeline is not None:
                    yield node.pipeline
            case If() | With():
                for pipeline, body in node.branches:
                    yield pipeline
                    yield from pipelines(body)
                yield from pipelines(node.otherwise or ())
            case Range():
                yield node.pipeline
                yield from pipelines(node.body)
                yield from pipelines(node.otherwise or ())


def _names(pipeline: Pipeline) -> Iterator[str]:
    for command in pipeline.commands:
        for operand in command.operands:
            match operand:
                case Field():
                    yield from operand.names
                case Variable():
                    yield operand.name
                    yield from operand.names
                case Pipeline():
                    yield from _names(operand)
