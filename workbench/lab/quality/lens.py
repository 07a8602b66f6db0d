"""The divergence lens: an answer of one model, run through another token by token."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.core.alternatives import unlikeliness
from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, MemoryAdviser, Request
from workbench.core.errors import QualityError, WorkbenchError
from workbench.lab.quality.figures import Figures, figures
from workbench.lab.quality.keeping import QualityTools, measured_model, new_record, token_figures
from workbench.lab.quality.logits import Chunk, LogitHost, LogitModels, ModelSpec
from workbench.lab.quality.passes import Passes, PassProgress
from workbench.lab.quality.positions import TOP, Alternatives, Divergence, joined
from workbench.lab.quality.record import BEFORE, WORST, PackedTokens, QualityCandidate, WorstPlace

LEVELS = (0.01, 0.05, 0.2, 1.0)
"""Divergences, in nats, from which a token has the next level."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that a model could have written at a place."""

    id: int
    text: str
    probability: float
    data: bytes | None
    """Its bytes; None for a control token."""
    written: bool
    """Whether it is the token of the answer."""


@dataclass(frozen=True, slots=True)
class Lens:
    """What two models give for each token of an answer; `tokens` are those of the answer."""

    tokens: tuple[int, ...]
    reference: Alternatives
    candidate: Divergence
    pieces: Mapping[int, bytes]
    """The bytes of all tokens that occur; none for a control token."""
    names: Sequence[bytes]
    """The names of all tokens of the vocabulary."""
    in_turn: bool
    """Whether the models did not fit in memory together: the divergences are lower bounds."""
    alone: bool = False
    """Whether there is no candidate: the levels are those of unlikely tokens."""
    kept: str = ""
    """Under which id it is kept, or why not, as a sentence; empty where nobody keeps it."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def texts(self) -> list[str]:
        """The text of each token; a character of several tokens is in the last of them."""
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        return [decode(self.pieces[token]) or ("" if self.pieces[token] else self.name(token)) for token in self.tokens]

    def name(self, token: int) -> str:
        """The text of one token by itself."""
        return (self.pieces.get(token) or self.names[token]).decode("utf-8", "replace")

    def level(self, place: int) -> int:
        """How much the models differ there, or how unlikely the token of one model was: 0 to 4."""
        if self.alone:
            return unlikeliness(-float(self.reference.nll[place]))
        return sum(float(self.candidate.kld[place]) >= limit for limit in LEVELS)

    def flips(self, place: int) -> bool:
        """Whether their most likely tokens differ there."""
        return bool(self.reference.best[place] != self.candidate.own.best[place])

    @property
    def first_flip(self) -> int | None:
        """The first place with another most likely token; None for none."""
        found = np.flatnonzero(self.reference.best != self.candidate.own.best)
        return int(found[0]) if len(found) else None

    def alternatives(self, place: int, *, of_candidate: bool) -> list[Alternative]:
        """The likeliest tokens of one of the models at a place."""
        found = self.candidate.own if of_candidate else self.reference
        pairs = zip(found.ids[place].tolist(), np.exp(found.logprobs[place]).tolist(), strict=True)
        return [
            Alternative(token, self.name(token), p, self.pieces.get(token) or None, token == self.tokens[place])
            for token, p in list(pairs)[:TOP]
            if token >= 0
        ]

    def next_place(self, place: int, step: int, level: int) -> int | None:
        """The nearest place before (`step` -1) or after `place` (1) that has the level or more; None for none."""
        places = range(place + step, len(self) if step > 0 else -1, step)
        return next((each for each in places if self.level(each) >= level), None)

    def begin_with(self, place: int, alternative: bytes) -> bytes:
        """The answer up to a place, and another token there."""
        return b"".join(self.pieces[token] for token in self.tokens[:place]) + alternative

    def worst_places(self) -> list[int]:
        """The places with the largest divergence, or with the least likely tokens of one model, the worst first."""
        found: list[int] = np.argsort(-(self.reference.nll if self.alone else self.candidate.kld))[:WORST].tolist()
        return found

    def worst(self) -> tuple[WorstPlace, ...]:
        """The same with their words."""
        texts, kld = self.texts, self.candidate.kld
        return tuple(
            WorstPlace(
                place,
                float(kld[place]),
                "".join(texts[max(0, place - BEFORE) : place]),
                self.name(self.tokens[place]),
                self.name(int(self.reference.best[place])),
                self.name(int(self.candidate.own.best[place])),
            )
            for place in self.worst_places()
        )

    def summary(self) -> Figures:
        """The figures of the whole answer."""
        mine, other = map(token_figures, (self.reference, self.candidate.own))
        return figures([mine], [other], [self.candidate.kld.astype(np.float64)])


class LensJob:
    """Runs an answer through a reference and a candidate, or through one model where there is no candidate.

    Args:
        tokens: The whole conversation, rendered and tokenized.
        first: The place of the first token of the answer.
    """

    def __init__(
        self,
        host: LogitHost,
        adviser: MemoryAdviser,
        reference: ModelSpec,
        candidate: ModelSpec | None,
        tokens: Sequence[int],
        first: int,
    ) -> None:
        if not 0 < first < len(tokens):
            raise QualityError("The answer has no tokens to look at.", "Choose an answer that has a text.")
        self._chunk = Chunk(tuple(tokens), first - 1, part=False)
        self._specs = [reference] if candidate is None else [reference, candidate]
        self._passes = Passes(host, adviser, self._specs, len(tokens))
        self._pieces: dict[int, bytes] = {}

    async def run(self, cancel: CancelToken, on_progress: Callable[[PassProgress], None] = lambda _: None) -> Lens:
        """Compute the answer with both models; errors as `Passes.run`. `on_progress` is called in any thread."""

        async def split(_: LogitModels) -> Sequence[Chunk]:
            return [self._chunk]

        passes = self._passes
        await passes.run(split, cancel, on_progress, self._find_pieces)
        mine = joined(passes.reference)
        other = [joined(each) for each in passes.candidates]
        return Lens(
            self._chunk.tokens[self._chunk.first + 1 :],
            mine,
            other[0] if other else Divergence(mine, np.zeros_like(mine.nll)),
            self._pieces,
            passes.vocabulary,
            passes.in_turn,
            alone=not other,
        )

    async def keep(self, tools: QualityTools, lens: Lens, name: str) -> Lens:
        """Keep the figures of every token, as those of a text; the lens then says where."""
        if lens.alone:
            return lens
        whole = self._chunk.tokens
        text = b"".join(lens.pieces[token] for token in lens.tokens).decode("utf-8", "replace")
        base = await new_record(tools, name, text, self._specs[0], len(whole))
        pairs = zip(self._specs, self._passes.models, strict=True)
        mine, other = [await measured_model(tools, *pair) for pair in pairs]
        kld = [lens.candidate.kld.astype(np.float64)]
        packed = PackedTokens.of([token_figures(lens.candidate.own)], kld)
        record = replace(
            base,
            tokens=len(whole),
            scores=len(lens),
            planned_chunks=1,
            reference=mine,
            reference_tokens=PackedTokens.of([token_figures(lens.reference)]),
            candidates=(QualityCandidate(other, packed, lens.worst()),),
            in_turn=lens.in_turn,
        )
        try:
            await tools.quality_runs.keep(record)
        except WorkbenchError as error:
            return replace(lens, kept=str(error))
        return replace(lens, kept=f"Kept as {record.id}.")

    async def _find_pieces(self, models: LogitModels) -> None:
        found = [*self._passes.reference, *(each.own for chunks in self._passes.candidates for each in chunks)]
        ids = {int(token) for each in found for token in np.unique(each.ids[:, :TOP])}
        wanted = sorted((ids | set(self._chunk.tokens[self._chunk.first + 1 :])) - self._pieces.keys())
        self._pieces.update(zip(wanted, await models.texts(wanted), strict=True))


async def answer_tokens(engine: Engine, request: Request) -> tuple[tuple[int, ...], int]:
    """The tokens of a conversation that ends with an answer, and the place of the first one of that answer.

    `request` continues the answer. Raises WorkbenchError where the engine does not report the tokens.
    """
    whole = await engine.tokens(request)
    prompt = await engine.tokens(replace(request, messages=request.messages[:-1], continues=False))
    shared = min(len(whole), len(prompt))
    return whole, next((place for place in range(shared) if whole[place] != prompt[place]), shared)
