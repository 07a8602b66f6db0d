"""What goes through the pipe between the program and a child that hosts an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from workbench.core.errors import WorkbenchError
from workbench.core.events import Batch
from workbench.engine.llama.checkpoints import CheckpointLimits

Passed: TypeAlias = Any
"""An argument or a result of a call: a value that can be pickled."""

FactsT = TypeVar("FactsT")
ROOT = 0
"""The number of the object that is there from the beginning."""


@dataclass(frozen=True, slots=True)
class MethodCall:
    """To the child: call a method of one of its objects."""

    number: int
    target: int
    method: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CancelSet:
    """To the child: a cancel token of a call was set."""

    token: int


@dataclass(frozen=True, slots=True)
class Called:
    """From the child: it called back a function that a call passed to it."""

    callback: int
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Events:
    """From the child: a batch of the events that a call asked for."""

    number: int
    batch: Batch


@dataclass(frozen=True, slots=True)
class Returned:
    """From the child: the result of a call, or its error."""

    number: int
    value: Passed = None
    error: WorkbenchError | None = None


@dataclass(frozen=True, slots=True)
class Logged:
    """From the child: a line of its log, with the level as Python numbers it."""

    logger: str
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Aborting:
    """From the child: a native assertion failed, and the process ends."""

    message: str


@dataclass(frozen=True, slots=True)
class HostOptions:
    """What the engine of a child is made with; see `LlamaHost`."""

    state_budget_bytes: int
    checkpoints: CheckpointLimits
    memory_guard: bool
    typed_control_tokens: bool
    niceness: int
    """Of the thread that computes; 0 leaves it as it is."""
    log_level: int


@dataclass(frozen=True, slots=True)
class OpenObject(Generic[FactsT]):
    """An object that was opened in the child, and what is known of it."""

    number: int
    facts: FactsT
