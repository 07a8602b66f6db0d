"""Several models over the chunks of a text: in lock-step, or one after the other where they do not fit together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.core.cancel import CancelToken
from workbench.core.engine import MemoryAdviser
from workbench.core.errors import QualityError
from workbench.lab.quality.logits import Chunk, Floats, LogitHost, LogitModel, LogitModels, ModelSpec
from workbench.lab.quality.positions import Alternatives, Divergence, compare, compare_kept, joined, keep

Split = Callable[[LogitModels], Awaitable[Sequence[Chunk]]]
"""Makes the chunks, with the opened reference: only a model can tokenize."""


@dataclass(frozen=True, slots=True)
class PassProgress:
    """How far the passes are."""

    phase: str
    """`loading` or `computing`, and which models."""
    fraction: float
    """Of the load, or of all positions."""


class Passes:
    """Computes every chunk with every model, the first of which is the reference.

    A candidate has fewer chunks than the reference where the models are computed in turn and were stopped.
    """

    def __init__(self, host: LogitHost, adviser: MemoryAdviser, specs: Sequence[ModelSpec], n_ctx: int) -> None:
        self._host = host
        self._adviser = adviser
        self._specs = tuple(specs)
        self._n_ctx = n_ctx
        self._on_progress: Callable[[PassProgress], None] = lambda _: None
        self._computed = 0
        self.vocabulary: tuple[bytes, ...] = ()
        """The names of the tokens; empty before a model is open."""
        self.chunks: Sequence[Chunk] = ()
        self.models: list[LogitModel] = []
        """Those that have been opened, the reference first."""
        self.reference: list[Alternatives] = []
        """One for each chunk that is done."""
        self.candidates: list[list[Divergence]] = [[] for _ in specs[1:]]
        self.in_turn = False
        """Whether each model was loaded alone: the divergences are lower bounds, and all other figures exact."""

    async def run(
        self,
        split: Split,
        cancel: CancelToken,
        on_progress: Callable[[PassProgress], None] = lambda _: None,
        on_chunk: Callable[[LogitModels], Awaitable[None]] | None = None,
    ) -> None:
        """Compute everything.

        `on_progress` is called in any thread, `on_chunk` after each chunk of the models that are open.

        Raises:
            CancelledError: `cancel` was set; the chunks until then are kept.
            QualityError: Two vocabularies differ, or a model gave no number.
            WorkbenchError: A model cannot be opened.
        """
        self._on_progress = on_progress
        wanted = [(spec.ref, replace(spec.settings, num_ctx=self._n_ctx)) for spec in self._specs]
        self.in_turn = not await self._adviser.fit_together(wanted)
        groups = [[spec] for spec in self._specs] if self.in_turn else [list(self._specs)]
        for number, group in enumerate(groups):
            name = "the models" if len(group) > 1 else group[0].ref
            models = await self._host.open(group, self._n_ctx, self._loading(name), cancel)
            try:
                await self._check_vocabularies(models)
                self.models += models.models
                if not number:
                    self.chunks = await split(models)
                for index in range(len(self.chunks)):
                    await self._compute(models, number, index, cancel)
                    if on_chunk is not None:
                        await on_chunk(models)
            finally:
                await models.close()

    def _loading(self, name: str) -> Callable[[float], None]:
        return lambda fraction: self._on_progress(PassProgress(f"loading {name}", fraction))

    async def _check_vocabularies(self, models: LogitModels) -> None:
        for index, model in enumerate(models.models):
            if not self.vocabulary:
                self.vocabulary = await models.vocabulary(0)
            elif model.entry.path != (self.models or models.models)[0].entry.path:
                name = (self.models or models.models)[0].entry.label
                _check_same(self.vocabulary, await models.vocabulary(index), name, model.entry.label)

    async def _compute(self, models: LogitModels, group: int, index: int, cancel: CancelToken) -> None:
        """Compute a chunk with the models that are open."""
        chunk = self.chunks[index]
        references: list[Alternatives] = []
        compared: list[tuple[Divergence, ...]] = []
        targets = chunk.targets
        total = sum(len(each.tokens) for each in self.chunks) * len(self._specs)

        def reduce(position: int, rows: Sequence[Floats]) -> None:
            part = slice(position - chunk.first, position - chunk.first + len(rows[0]))
            if not self.in_turn:
                reference, others = compare(rows, targets[part])
                references.append(reference)
                compared.append(others)
            elif not group:
                references.append(keep(rows[0], targets[part]))
            else:
                compared.append((compare_kept(self.reference[index].cut(part), rows[0], targets[part]),))

        def show(position: int) -> None:
            done = self._computed + position * len(models.models)
            self._on_progress(PassProgress("computing", min(1.0, done / total)))

        await models.compute(chunk, reduce, cancel, show)
        self._computed += len(chunk.tokens) * len(models.models)
        found = [joined(each) for each in zip(*compared, strict=True)]
        names = [model.entry.label for model in models.models]
        if references:
            reference = joined(references)
            await self._check_numbers(models, chunk, reference.nll, names.pop(0))
        for each, name in zip(found, names, strict=True):
            await self._check_numbers(models, chunk, each.own.nll + each.kld, name)
        if references:
            self.reference.append(reference)
        for candidate, each in enumerate(found, max(0, group - 1)):
            self.candidates[candidate].append(each)

    async def _check_numbers(self, models: LogitModels, chunk: Chunk, figures: Floats, name: str) -> None:
        wrong = np.flatnonzero(~np.isfinite(figures))
        if not len(wrong):
            return
        place = chunk.first + 1 + int(wrong[0])
        texts = await models.texts(chunk.tokens[max(0, place - 8) : place + 1])
        before, word = (part.decode("utf-8", "replace") for part in (b"".join(texts[:-1]), texts[-1]))
        raise QualityError(
            f"{name} gives no number for token {place} of a chunk, {word!r} after {before!r}: its logits are NaN or "
            "infinite.",
            "The file may be damaged, or a cache type may not work with this model: try another one.",
        )


def _check_same(mine: Sequence[bytes], others: Sequence[bytes], name: str, other: str) -> None:
    """Raise a QualityError where the tokens of two vocabularies differ."""
    if mine == others:
        return
    if len(mine) != len(others):
        reason = f"{len(mine):,} and {len(others):,} tokens"
    else:
        token = next(index for index, pair in enumerate(zip(mine, others, strict=True)) if pair[0] != pair[1])
        words = [texts[token].decode("utf-8", "replace") for texts in (mine, others)]
        reason = f"token {token:,} is {words[0]!r} in the first and {words[1]!r} in the second"
    raise QualityError(
        f"{name} and {other} have different vocabularies: {reason}.",
        "Divergence is defined for models with the same tokens: compare quantizations of one base model.",
    )
