"""What goes through the pipe between the program and a child that hosts an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from workbench.core.bench import BenchModel
from workbench.core.engine import Capabilities
from workbench.core.errors import WorkbenchError
from workbench.core.events import Batch
from workbench.core.models import EngineInfo
from workbench.engine.llama.checkpoints import CheckpointLimits
from workbench.lab.quality.logits import LogitModel

Passed: TypeAlias = Any
"""An argument or a result of a call: a value that can be pickled."""

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
class OpenEngine:
    """An engine that was opened in the child."""

    number: int
    info: EngineInfo
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class OpenTarget:
    """A model that was opened in the child for a benchmark."""

    number: int
    model: BenchModel


@dataclass(frozen=True, slots=True)
class OpenLogits:
    """Models that were opened in the child for their logits."""

    number: int
    models: tuple[LogitModel, ...]
