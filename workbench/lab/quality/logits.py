"""The port of models that give the logits of every position of a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings

Floats: TypeAlias = NDArray[np.float32]
"""Logits have the shape (positions, vocabulary)."""
Ids: TypeAlias = NDArray[np.int32]

Reduce = Callable[[int, Sequence[Floats]], None]
"""Called in the engine's thread with the first of some neighbouring positions, and the logits of each model there.

The logits are views of memory that the next step overwrites.
"""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model and how it is loaded, apart from the length of its context."""

    ref: str
    settings: LoadSettings = field(default_factory=LoadSettings)
    note: str = ""
    """What sets it apart from the same model with other settings; empty for nothing."""


@dataclass(frozen=True, slots=True)
class LogitModel:
    """An open model."""

    entry: ModelEntry
    settings: LoadSettings
    """With automatic values chosen."""
    backend: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens that are computed in an empty context; every one after position `first` is scored."""

    tokens: tuple[int, ...]
    first: int
    part: bool = True
    """Whether it is a part of a text, which begins with any word: the BOS that the model adds to every text takes the
    place of the first token, as in llama-perplexity."""

    @property
    def targets(self) -> Ids:
        """The scored tokens."""
        return np.asarray(self.tokens[self.first + 1 :], dtype=np.int32)


class LogitModels(Protocol):
    """Models that are open together and computed in lock-step; the first one tokenizes."""

    models: tuple[LogitModel, ...]

    async def tokenize(self, text: str) -> tuple[int, ...]:
        """The tokens of a text, in which the texts of control tokens are words, with the BOS that the model adds."""

    async def texts(self, tokens: Sequence[int]) -> tuple[bytes, ...]:
        """The bytes of each token; empty for a control token."""

    async def vocabulary(self, model: int) -> tuple[bytes, ...]:
        """The names of all tokens of one of the models."""

    async def compute(
        self, chunk: Chunk, reduce: Reduce, cancel: CancelToken, on_position: Callable[[int], None]
    ) -> None:
        """Compute a chunk in empty contexts; `reduce` gets the logits from its first position to the last but one,
        and `on_position` the number of positions that are done; both are called in the engine's thread.

        Raises:
            CancelledError: `cancel` was set.
            QualityError: A model has no logits for every position.
            EngineError: llama.cpp failed.
        """

    async def close(self) -> None:
        """Release the memory."""


class LogitHost(Protocol):
    """Opens models for their logits."""

    async def open(
        self, specs: Sequence[ModelSpec], n_ctx: int, on_progress: ProgressCallback, cancel: CancelToken
    ) -> LogitModels:
        """Open models with contexts of `n_ctx` tokens; two that are the same file share their weights.

        Raises:
            WorkbenchError: A model cannot be opened; CancelledError when `cancel` was set.
        """
