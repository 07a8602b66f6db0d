"""The record of a measurement, as it is kept: models with digests, settings, build, and the figures of every token."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from workbench.core.bench import BenchMachine
from workbench.core.parameters import LoadSettings
from workbench.lab.quality.figures import Figures, TokenFigures, Values, figures, perplexity

WORST = 10
"""Places that are kept with their words."""
BEFORE = 12
"""Tokens that are shown before a place."""


@dataclass(frozen=True, slots=True)
class QualityModel:
    """A model that was measured."""

    label: str
    """Name, quantization, and the settings that set it apart."""
    ref: str
    path: str
    file_bytes: int
    digest: str
    """As in `store.sessions.digests`; empty where it is unknown."""
    settings: LoadSettings
    """With automatic values chosen."""
    backend: str
    quant: str | None = None
    adapter: str = ""
    """The file of its LoRA adapter; empty for none."""
    adapter_digest: str = ""


@dataclass(frozen=True, slots=True)
class WorstPlace:
    """A position at which a candidate differs much from the reference."""

    index: int
    """The number of the scored token, from 0."""
    kld: float
    before: str
    """The end of the text before it."""
    written: str
    """The token of the text."""
    reference: str
    """The most likely token of the reference."""
    candidate: str


@dataclass(frozen=True)
class PackedTokens:
    """The figures of one model for every scored token: base64 of zlib of little-endian arrays."""

    nll: str
    """float32, natural logarithm."""
    best: str
    """int32: the most likely token."""
    kld: str = ""
    """float32, nats; empty for the reference."""

    @classmethod
    def of(cls, chunks: Sequence[TokenFigures], kld: Sequence[Values] = ()) -> PackedTokens:
        """Pack the figures of chunks."""
        nll, best = (np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("nll", "best"))
        return cls(_packed(nll, "<f4"), _packed(best, "<i4"), _packed(np.concatenate(kld), "<f4") if kld else "")

    def chunks(self, length: int) -> list[TokenFigures]:
        """The figures, in chunks of so many tokens. Raises ValueError where they are damaged."""
        nll, best = _unpacked(self.nll, "<f4").astype(np.float64), _unpacked(self.best, "<i4").astype(np.int32)
        return [TokenFigures(nll[at : at + length], best[at : at + length]) for at in range(0, len(nll), length)]

    def divergences(self, length: int) -> list[Values]:
        """The divergences, likewise."""
        kld = _unpacked(self.kld, "<f4").astype(np.float64)
        return [kld[at : at + length] for at in range(0, len(kld), length)]


def _packed(values: NDArray[np.generic], kind: str) -> str:
    return base64.b64encode(zlib.compress(values.astype(kind).tobytes())).decode()


def _unpacked(text: str, kind: str) -> NDArray[np.generic]:
    try:
        return np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), kind)
    except zlib.error as error:
        raise ValueError(f"the figures of the tokens are damaged ({error})") from error


@dataclass(frozen=True, slots=True)
class QualityCandidate:
    """A candidate with its figures."""

    model: QualityModel
    tokens: PackedTokens
    worst: tuple[WorstPlace, ...] = ()
    """The places with the largest divergence, the largest first."""


@dataclass(frozen=True)
class QualityRecord:
    """A measurement."""

    id: str
    """Sorts by time; names the record."""
    at: str
    """When it began: UTC, ISO 8601."""
    command: tuple[str, ...]
    """The arguments of `workbench` that reproduce it."""
    machine: BenchMachine
    text: str
    """The name of the text."""
    text_sha256: str
    """Of its UTF-8 bytes."""
    tokens: int
    """Tokens of the whole text."""
    n_ctx: int
    """The length of a chunk; its second half is scored, or of an answer its last `scores` tokens."""
    depth: int
    """Tokens of the text before each chunk that are in the context too."""
    planned_chunks: int
    reference: QualityModel
    reference_tokens: PackedTokens
    candidates: tuple[QualityCandidate, ...] = ()
    in_turn: bool = False
    """Whether the models did not fit in memory together: the divergences are lower bounds."""
    interrupted: bool = False
    scores: int = 0
    """The tokens of an answer that was looked at through the lens; 0 for a text."""

    @property
    def scored_of_chunk(self) -> int:
        """Scored tokens of one chunk."""
        return self.scores or self.n_ctx - 1 - self.n_ctx // 2

    @cached_property
    def reference_perplexity(self) -> tuple[float, float]:
        """The perplexity of the reference, and its ± as llama-perplexity has it."""
        chunks = self.reference_tokens.chunks(self.scored_of_chunk)
        return perplexity(np.concatenate([chunk.nll for chunk in chunks]))

    @cached_property
    def scored(self) -> int:
        """Scored tokens of the reference."""
        return sum(len(chunk.nll) for chunk in self.reference_tokens.chunks(self.scored_of_chunk))

    @cached_property
    def figures(self) -> tuple[Figures, ...]:
        """The figures of each candidate."""
        length = self.scored_of_chunk
        mine = self.reference_tokens.chunks(length)
        return tuple(
            figures(mine, each.tokens.chunks(length), each.tokens.divergences(length)) for each in self.candidates
        )
