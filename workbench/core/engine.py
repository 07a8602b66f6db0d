"""The port of an engine: one open model that answers requests with batches of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.config import Overflow
from workbench.core.errors import WorkbenchError
from workbench.core.events import Batch
from workbench.core.models import EngineInfo, ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.tools import Tool

ProgressCallback = Callable[[float], None]
"""Called with a fraction from 0 to 1, in any thread."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request to an engine: a conversation, or raw input."""

    messages: tuple[Message, ...] = ()
    """The conversation, rendered by the model's chat template."""
    prompt: str | None = None
    """Raw text, without a template."""
    tokens: tuple[int, ...] | None = None
    """Raw token ids."""
    sampling: Sampling = field(default_factory=Sampling)
    given: frozenset[str] = frozenset()
    """The sampling parameters that somebody has set, also to their defaults. A server gets no others."""
    when_context_full: Overflow = "stop"
    continues: bool = False
    """Whether the last message is the beginning of the answer, to be continued."""
    tools: tuple[Tool, ...] = ()
    """The tools that the answer may call. Its text then keeps the markup of calls (`core/tools.py`)."""
    background: bool = False
    """Whether another program waits for it: requests of the person at the screen go before it, and have a slot."""
    alternatives: int = 0
    """The likeliest tokens that are wanted at each place of the answer; 0 for none."""
    timed: bool = False
    """Whether its speed is measured for comparison: the number of threads stays as it is set."""
    drafts: bool = True
    """Whether tokens may be drafted, where the model was loaded for that."""
    answer_now: CancelToken | None = field(default=None, compare=False)
    """Ends the thoughts of the answer when it is set, where the engine can do that."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The optional abilities of an engine."""

    score: bool = False
    answer_now: bool = False
    """Whether it can end the thoughts of an answer before the model does."""
    reload: bool = True
    """Whether load settings have an effect."""


class Engine(Protocol):
    """One open model."""

    info: EngineInfo
    capabilities: Capabilities

    def generate(self, request: Request, cancel: CancelToken) -> AsyncIterator[Batch]:
        """Answer `request`. The last event is a `Finished` or a `Failed`; a failed answer raises nothing.

        `cancel` stops it within one decode step, and during prefill within 100 ms on a CPU or one chunk on a GPU.
        """

    async def score(self, tokens: Sequence[int]) -> tuple[float, ...]:
        """The natural log of the probability of each token after the first, given those before it."""

    async def rank(self, request: Request, choices: Sequence[str], cancel: CancelToken) -> tuple[float, ...]:
        """The natural log of the probability of each of `choices` as the beginning of the answer to `request`.

        Raises:
            WorkbenchError: The engine has no `score` among its capabilities, or a choice does not fit; CancelledError.
        """

    async def check_tools(self) -> None:
        """Look whether the model can call tools; the first time it may take a second.

        Raises:
            WorkbenchError: It cannot; the message says why.
        """

    async def tokens(self, request: Request) -> tuple[int, ...]:
        """The tokens of a request: the rendered conversation, as `generate` would compute it.

        Raises:
            WorkbenchError: The engine does not report them, or the conversation cannot be rendered.
        """

    async def close(self) -> None:
        """Stop running answers and release the memory."""


class EngineHost(Protocol):
    """Opens models."""

    async def open(
        self, ref: str, settings: LoadSettings, on_progress: ProgressCallback, cancel: CancelToken
    ) -> Engine:
        """Open the model of the reference `ref`.

        Raises:
            WorkbenchError: It cannot be opened; CancelledError when `cancel` was set.
        """

    async def shutdown(self) -> None:
        """Close all open models."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """An estimate of the memory of a model with some settings."""

    total_bytes: int
    largest_ctx: int
    """The longest context that fits in the memory that is free, at most the trained one; 0 where none fits."""


@dataclass(frozen=True, slots=True)
class DeviceNeed:
    """An estimate of the memory that a model takes on one device."""

    device: str
    """llama.cpp's name of it; `CPU` is the memory of the host."""
    total_bytes: int
    usable_bytes: int
    """The memory that is free there, without what has to stay free."""


@dataclass(frozen=True, slots=True)
class Needs:
    """The memory of a model with some settings by device, and the choices that its placement has."""

    devices: tuple[DeviceNeed, ...]
    """The host first."""
    n_ctx: int
    """The context length that the estimate is for, of each sequence."""
    gpus: tuple[str, ...] = ()
    """The GPUs that may be used, by llama.cpp's names."""
    gpu_layers: int = 0
    most_gpu_layers: int = 0
    """Layers on the GPUs, the output counted as one: with these settings, and at most."""
    layers: int = 0
    """All layers and the output."""
    expert_layers: int = 0
    """Layers with experts."""
    fewest_cpu_experts: int | None = None
    """The fewest layers with their experts on the host with which all layers fit; None where that is not enough."""
    refusal: WorkbenchError | None = None
    """Why llama.cpp does not load the model with these settings, whatever the memory."""


class MemoryAdviser(Protocol):
    """Estimates the memory of models before they are loaded."""

    async def fit_together(self, models: Sequence[tuple[str, LoadSettings]]) -> bool:
        """Whether these models, by reference and settings, fit together in the memory that is free now.

        A model without an estimate counts as fitting: loading it will show.
        """

    async def footprint(self, model: ModelEntry, load: LoadSettings) -> Footprint | None:
        """The memory that a model needs; None where it cannot be estimated, or llama.cpp refuses the settings."""

    async def needs(self, model: ModelEntry, load: LoadSettings) -> Needs | None:
        """The memory that a model needs on each device; None where it cannot be estimated."""
