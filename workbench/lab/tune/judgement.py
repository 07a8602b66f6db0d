"""Whether speculation is faster here: the user's own prompts, each answered with drafts and without, in pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from typing_extensions import override

from workbench.core.answer import Answer, Outcome
from workbench.core.bench import Bencher, BenchMachine, ConditionWatch, RunTime, Sample
from workbench.core.engine import Engine, EngineHost, Request
from workbench.core.errors import CancelledError, TuneError
from workbench.core.metrics import Meter
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.session import SessionStore, first_words, last_sessions
from workbench.core.speculation import NGRAM, OFF, SpeculationFigures
from workbench.lab.bench.bench import BenchProgress, time_left
from workbench.lab.bench.measure import Clock
from workbench.lab.evals.from_session import cases_of
from workbench.lab.evals.pack import EvalCase
from workbench.lab.tune.job import TuningJob
from workbench.lab.tune.judgement_record import JudgedPair, JudgementRecord

MOST_PROMPTS = 8
PAIRS = 12
ANSWER = 128
"""Tokens of an answer at most."""
LEAST_ANSWER = 8
"""Tokens below which an answer has no speed worth comparing."""


class JudgementTools(Protocol):
    """What a judgement needs from other rooms."""

    @property
    def engines(self) -> EngineHost:
        """Opens models."""

    @property
    def sessions(self) -> SessionStore:
        """The stored conversations."""

    @property
    def tune_bencher(self) -> Bencher:
        """Knows the machine and the build."""

    def watching(self, machine: BenchMachine) -> AbstractContextManager[ConditionWatch]:
        """Watches the machine during a measurement, inside the `with` block."""

    async def draft_candidates(self, model: ModelEntry) -> Sequence[ModelEntry]:
        """Smaller models of the library that have the vocabulary of `model`, the smallest first."""


@dataclass(frozen=True, slots=True)
class JudgementPlan:
    """A whole judgement."""

    model: ModelEntry
    today: LoadSettings
    speculation: str = NGRAM
    """What drafts: a value of the load parameter."""
    sampling: Sampling = Sampling()  # noqa: RUF009 - immutable
    session: str = ""
    """The session whose prompts are asked; empty for the last ones."""
    pairs: int = PAIRS
    answer: int = ANSWER


async def own_prompts(store: SessionStore, session: str) -> tuple[EvalCase, ...]:
    """The latest questions of a session, or of the last ones, each with the conversation before it.

    Raises:
        TuneError: There are none; SessionError.
    """
    sessions = [await store.open_session(session)] if session else await last_sessions(store, MOST_PROMPTS)
    found = tuple(case for each in sessions for case in reversed(cases_of(each)))[:MOST_PROMPTS]
    if not found:
        raise TuneError(
            "There are no prompts of yours to judge by.", "Ask something in the chat first, or name a session."
        )
    return found


class JudgementJob(TuningJob):
    """One judgement.

    The model is loaded once, with what drafts: answers without drafts are asked of the same model.
    """

    def __init__(
        self,
        plan: JudgementPlan,
        tools: JudgementTools,
        on_change: Callable[[], None] = lambda: None,
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(on_change)
        self.plan = plan
        self._tools = tools
        self._clock = clock
        self._began = 0.0
        self.record = JudgementRecord(plan.model.label, plan.model.ref, plan.speculation, plan.today.speculation)
        """The results so far."""

    @override
    async def _work(self) -> None:
        plan = self.plan
        self._began = self._clock()
        prompts = await own_prompts(self._tools.sessions, plan.session)
        machine = await self._tools.tune_bencher.machine()
        self.record = replace(self.record, machine=machine)
        load = replace(plan.today, speculation=plan.speculation)
        engine = await self._tools.engines.open(plan.model.ref, load, self._loading, self._cancel)
        try:
            if engine.info.settings.speculation == OFF:
                said = [each for each in engine.info.warnings if each.startswith("Speculation is off")]
                raise TuneError(" ".join(said) or "Speculation is off with these settings.")
            with self._tools.watching(machine) as watch:
                await self._measure(engine, prompts, watch)
        finally:
            await engine.close()

    async def _measure(self, engine: Engine, prompts: Sequence[EvalCase], watch: ConditionWatch) -> None:
        pairs, short = self.plan.pairs, dict[str, None]()
        for drafts in (False, True):
            self._show("warming up", "", 0)
            await self._answer(engine, prompts[0], 0, drafts=drafts)
        for number in range(pairs):
            case, turn = prompts[number % len(prompts)], number // len(prompts)
            self._show("measuring", first_words(case.question), number)
            taken: dict[bool, tuple[Outcome, Sample]] = {}
            # The order changes from prompt to prompt, and for each prompt from turn to turn.
            for drafts in (False, True) if (number + turn) % 2 == 0 else (True, False):
                await watch.begin()
                try:
                    outcome = await self._answer(engine, case, number, drafts=drafts)
                finally:
                    conditions = await watch.end()
                tokens, speed = outcome.metrics.completion_tokens or 0, outcome.metrics.decode_tps
                if tokens < LEAST_ANSWER or not speed:
                    short[first_words(case.question)] = None
                    break
                taken_ns = round((tokens - 1) * 1e9 / speed)
                taken[drafts] = outcome, Sample(RunTime(0, taken_ns, taken_ns), number, conditions)
            if len(taken) == 2:
                self._add(case, *taken[False], *taken[True])
            notes = [f"Too short an answer to be timed: {text}." for text in short]
            self.record = replace(self.record, notes=tuple(notes))

    def _add(self, case: EvalCase, off: Outcome, off_sample: Sample, on: Outcome, on_sample: Sample) -> None:
        assert off.metrics.decode_tps
        assert on.metrics.decode_tps
        pair = JudgedPair(
            first_words(case.question), off.metrics.decode_tps, on.metrics.decode_tps,
            on.metrics.speculation or SpeculationFigures(), on.message == off.message, (off_sample, on_sample),
        )  # fmt: skip
        self.record = replace(self.record, pairs=(*self.record.pairs, pair))

    async def _answer(self, engine: Engine, case: EvalCase, seed: int, *, drafts: bool) -> Outcome:
        sampling = self.plan.sampling
        most = min(sampling.num_predict, self.plan.answer) if sampling.num_predict > 0 else self.plan.answer
        sampling = replace(sampling, num_predict=most, seed=sampling.seed if sampling.seed >= 0 else seed)
        request = Request(messages=case.messages, sampling=sampling, timed=True, drafts=drafts)
        answer = Answer(Meter(time.perf_counter_ns()))
        async for batch in engine.generate(request, self._cancel):
            for event in batch:
                answer.feed(event)
        outcome = answer.outcome()
        if outcome.error is not None:
            raise outcome.error
        if outcome.reason == "cancelled":
            raise CancelledError("The judgement was stopped.")
        return outcome

    def _loading(self, fraction: float) -> None:
        self.progress = BenchProgress(
            "loading", f"{self.plan.model.label} {fraction:.0%}", 0, self.plan.pairs, 0.0, None
        )

    def _show(self, phase: Literal["warming up", "measuring"], label: str, number: int) -> None:
        fraction = number / self.plan.pairs
        left = time_left(fraction, self._clock() - self._began)
        label = f"pair {number + 1} of {self.plan.pairs}: {label}" if label else "the first answers"
        self.progress = BenchProgress(phase, label, number + 1, self.plan.pairs, fraction, left)
        self._on_change()
