"""What every engine is: one open model that answers requests with batches of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.config import Overflow
from workbench.core.events import Batch
from workbench.core.models import EngineInfo
from workbench.core.parameters import LoadSettings, Sampling

ProgressCallback = Callable[[float], None]
"""Called with a fraction from 0 to 1, in any thread."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of an engine: a conversation, or one of the raw forms."""

    messages: tuple[Message, ...] = ()
    """The conversation, rendered by the model's chat template."""
    prompt: str | None = None
    """A text given to the model as it is, with no template."""
    tokens: tuple[int, ...] | None = None
    """Token ids given to the model as they are."""
    sampling: Sampling = field(default_factory=Sampling)
    when_context_full: Overflow = "stop"
    continues: bool = False
    """Whether the last message is the beginning of the answer, which goes on where it ends."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do beyond generating."""

    score: bool = False
    """Whether `score` works."""
    reload: bool = True
    """Whether load settings mean anything to it."""


class Engine(Protocol):
    """One open model."""

    @property
    def info(self) -> EngineInfo:
        """What was opened."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    def generate(self, request: Request, cancel: CancelToken) -> AsyncIterator[Batch]:
        """Answer `request`. The last event is a `Finished` or a `Failed`; nothing is raised for a failed answer.

        Cancelling ends it within one decode step, and within 100 ms during prefill on a CPU or one chunk on a GPU.
        """

    async def score(self, tokens: Sequence[int]) -> tuple[float, ...]:
        """The natural-log probability of each token after the first, given those before it."""

    async def close(self) -> None:
        """Give the memory back. What streams is stopped first."""


class EngineHost(Protocol):
    """Opens models."""

    async def open(
        self, ref: str, settings: LoadSettings, on_progress: ProgressCallback, cancel: CancelToken
    ) -> Engine:
        """Open the model that `ref` names.

        Raises:
            WorkbenchError: It cannot be opened; CancelledError when `cancel` was set.
        """

    async def shutdown(self) -> None:
        """Close whatever is open."""


class MemoryAdviser(Protocol):
    """Knows what models take before they are loaded."""

    async def fit_together(self, models: Sequence[tuple[str, LoadSettings]]) -> bool:
        """Whether these models, by reference and settings, fit together in what is free now.

        One whose need cannot be told counts as fitting: loading it will tell.
        """
