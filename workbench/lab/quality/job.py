"""The one orchestrator of a measurement over a text, for the screen and the command line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.core.errors import CancelledError, QualityError, WorkbenchError
from workbench.lab.bench.bench import time_left
from workbench.lab.quality.figures import Figures, figures
from workbench.lab.quality.keeping import QualityTools, measured_model, new_record, token_figures
from workbench.lab.quality.logits import Chunk, LogitModels
from workbench.lab.quality.passes import Passes, PassProgress
from workbench.lab.quality.plan import QualityPlan
from workbench.lab.quality.record import (
    BEFORE,
    WORST,
    PackedTokens,
    QualityCandidate,
    QualityRecord,
    WorstPlace,
)
from workbench.lab.stoppable import Stoppable

FEWEST_CTX = 8
"""The shortest chunk, in tokens."""


@dataclass(frozen=True, slots=True)
class QualityProgress:
    """How far a measurement is."""

    phase: str
    fraction: float
    left_s: float | None
    """An estimate of the time left, in seconds; None where nothing is known yet."""
    figures: tuple[Figures | None, ...]
    """Those of each candidate so far."""


class QualityJob(Stoppable):
    """One measurement. It can be observed while it runs, and stopped; what is done by then is kept.

    `on_progress` is called in the event loop.
    """

    def __init__(
        self,
        plan: QualityPlan,
        tools: QualityTools,
        on_progress: Callable[[QualityProgress], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self.plan = plan
        self._tools = tools
        self._on_progress = on_progress
        self._specs = (plan.reference, *plan.candidates)
        self._passes = Passes(tools.logits, tools.adviser, self._specs, plan.depth + plan.n_ctx)
        self._worst: list[list[WorstPlace]] = [[] for _ in plan.candidates]
        self._figures: list[Figures | None] = [None] * len(plan.candidates)
        self._tokens = 0
        self._began: float | None = None
        self.record: QualityRecord | None = None
        """What is known so far; None before the first chunk of the reference."""
        self.unkept: WorkbenchError | None = None
        """Why the record could not be kept."""
        self.warnings: tuple[str, ...] = ()
        """Notes on how the models were opened, each once."""

    async def run(self) -> None:
        """Measure and keep the record.

        Raises:
            QualityError: The text is shorter than a chunk, vocabularies differ, or a model gave no number.
            WorkbenchError: A model cannot be opened, or CancelledError before the first chunk.
        """
        plan = self.plan
        if plan.n_ctx < FEWEST_CTX:
            raise QualityError(f"A chunk of {plan.n_ctx} tokens is too short.", f"It has at least {FEWEST_CTX}.")
        base = await new_record(self._tools, plan.name, plan.text, plan.reference, plan.n_ctx)
        base = replace(base, command=plan.command, depth=plan.depth)
        loop = asyncio.get_running_loop()

        def show(progress: PassProgress) -> None:
            loop.call_soon_threadsafe(self._show, progress)

        try:
            await self._passes.run(self._split, self._cancel, show, self._after_chunk)
        except CancelledError:
            if not self._passes.reference:
                raise
        self.record = await self._recorded(base)
        try:
            await self._tools.quality_runs.keep(self.record)
        except WorkbenchError as error:
            self.unkept = error

    async def _split(self, models: LogitModels) -> Sequence[Chunk]:
        plan = self.plan
        tokens = await models.tokenize(plan.text)
        self._tokens = len(tokens)
        before = plan.skip + plan.depth
        count = (len(tokens) - before) // plan.n_ctx
        if count < 1:
            length = before + plan.n_ctx
            raise QualityError(
                f"The text has {len(tokens):,} tokens, and one chunk needs {length:,}.",
                "Use a longer text, or a smaller --ctx." if not before else "Use a longer text, or less --depth.",
            )
        count = min(count, plan.most_chunks or count)
        length, first = plan.depth + plan.n_ctx, plan.depth + plan.n_ctx // 2
        starts = range(plan.skip, plan.skip + count * plan.n_ctx, plan.n_ctx)
        return [Chunk(tokens[start : start + length], first) for start in starts]

    def _show(self, progress: PassProgress) -> None:
        left = None
        if progress.phase == "computing":
            self._began = self._began or time.monotonic()
            left = time_left(progress.fraction, time.monotonic() - self._began)
        self._on_progress(QualityProgress(progress.phase, progress.fraction, left, tuple(self._figures)))

    async def _after_chunk(self, models: LogitModels) -> None:
        passes = self._passes
        reference = [token_figures(each) for each in passes.reference]
        for index, found in enumerate(passes.candidates):
            before = self._figures[index]
            if not found or (before is not None and before.scored == sum(len(each.kld) for each in found)):
                continue
            own, kld = [token_figures(each.own) for each in found], [each.kld.astype(np.float64) for each in found]
            self._figures[index] = await asyncio.to_thread(figures, reference, own, kld)
            await self._note_worst(models, index, len(found) - 1)

    async def _note_worst(self, models: LogitModels, candidate: int, number: int) -> None:
        """Find the worst places of a chunk, which may be the worst of all."""
        chunk, mine = self._passes.chunks[number], self._passes.reference[number]
        found = self._passes.candidates[candidate][number]
        worst = self._worst[candidate]
        least = worst[-1].kld if len(worst) == WORST else 0.0
        for position in np.argsort(-found.kld)[:WORST].tolist():
            kld = float(found.kld[position])
            if kld <= least:
                break
            place = chunk.first + 1 + position
            before = chunk.tokens[max(0, place - BEFORE) : place]
            shown = (chunk.tokens[place], int(mine.best[position]), int(found.own.best[position]))
            texts = await models.texts([*before, *shown])
            words = [text.decode("utf-8", "replace") for text in (b"".join(texts[: len(before)]), *texts[-3:])]
            worst.append(WorstPlace(number * len(found.kld) + position, kld, *words))
        worst.sort(key=lambda each: -each.kld)
        del worst[WORST:]

    async def _recorded(self, base: QualityRecord) -> QualityRecord:
        passes = self._passes
        pairs = zip(self._specs, passes.models, strict=False)
        models = [await measured_model(self._tools, *pair) for pair in pairs]
        self.warnings = tuple(dict.fromkeys(text for model in passes.models for text in model.warnings))
        candidates = []
        for index, (model, found) in enumerate(zip(models[1:], passes.candidates, strict=False)):
            if found:
                kld = [each.kld.astype(np.float64) for each in found]
                packed = PackedTokens.of([token_figures(each.own) for each in found], kld)
                candidates.append(QualityCandidate(model, packed, tuple(self._worst[index])))
        counts = [len(passes.reference), *map(len, passes.candidates)]
        return replace(
            base,
            tokens=self._tokens,
            planned_chunks=len(passes.chunks),
            reference=models[0],
            reference_tokens=PackedTokens.of([token_figures(each) for each in passes.reference]),
            candidates=tuple(candidates),
            in_turn=passes.in_turn,
            interrupted=any(count < len(passes.chunks) for count in counts),
        )


class QualitySeries(Stoppable):
    """Measurements one after the other, such as one at each depth. `on_progress` is called in the event loop."""

    def __init__(
        self, plans: Sequence[QualityPlan], tools: QualityTools, on_progress: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__()
        self.plans = tuple(plans)
        self._tools = tools
        self._on_progress = on_progress
        self.running = True
        """Until `run` ends."""
        self.progress: QualityProgress | None = None
        """Of the measurement that runs."""
        self.records: list[QualityRecord] = []
        """The measurements that are done, and the one that was stopped, if it has results."""
        self.warnings: tuple[str, ...] = ()
        """Notes on how the models were opened, and why a record could not be kept, each once."""

    @property
    def plan(self) -> QualityPlan:
        """What is measured now, or was measured last."""
        return self.plans[min(len(self.records), len(self.plans) - 1)]

    async def run(self) -> None:
        """Measure; errors as `QualityJob.run`, where CancelledError means that nothing is done."""
        try:
            await self._run()
        finally:
            self.running = False

    async def _run(self) -> None:
        for plan in self.plans:
            if self.stopped:
                break
            job = QualityJob(plan, self._tools, self._show)
            self._cancel.on_set(job.stop)
            try:
                await job.run()
            except CancelledError:
                break
            finally:
                unkept = () if job.unkept is None else (str(job.unkept),)
                self.warnings = tuple(dict.fromkeys((*self.warnings, *job.warnings, *unkept)))
                if job.record is not None:
                    self.records.append(job.record)
                self.progress = None
        if not self.records:
            raise CancelledError("The measurement was stopped before its first result.")

    def _show(self, progress: QualityProgress) -> None:
        self.progress = progress
        self._on_progress()
