"""An evaluation: the cases of a pack to several candidates, and the verdict on each answer.

Candidates that fit in memory together are asked case by case, so that whoever stops early has pairs to compare; the
others are loaded, asked and unloaded one after the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.core.engine import EngineHost, MemoryAdviser
from workbench.core.errors import CancelledError, ContextFullError, EvalError, WorkbenchError
from workbench.core.servers import is_server_ref
from workbench.lab.evals.ask import AskedModel
from workbench.lab.evals.checks import check_answer, check_choice
from workbench.lab.evals.pack import EvalCase, EvalPack
from workbench.lab.evals.record import EvalRecord, EvalResult, EvalSample
from workbench.lab.evals.tools import EvalTools
from workbench.lab.race.lane import LaneSpec
from workbench.lab.stoppable import Stoppable

MOST_CANDIDATES = 8
MOST_SAMPLES = 100
ERRORS_IN_A_ROW = 3
"""Failed answers after which a candidate is not asked any more."""


@dataclass(frozen=True, slots=True)
class EvalPlan:
    """What is asked."""

    pack: EvalPack
    candidates: tuple[LaneSpec, ...]
    samples: int = 1
    command: tuple[str, ...] = ()
    """The arguments of `workbench` that repeat it."""

    def check(self) -> None:
        """Raise EvalError where it makes no sense."""
        if not 1 <= len(self.candidates) <= MOST_CANDIDATES:
            raise EvalError(f"An evaluation has one to {MOST_CANDIDATES} models, not {len(self.candidates)}.")
        if not 1 <= self.samples <= MOST_SAMPLES:
            raise EvalError(f"The number of samples is from 1 to {MOST_SAMPLES}, not {self.samples}.")
        if not self.pack.checked:
            hint = "Add checks to its cases." if self.pack.cases else "Choose other tags."
            raise EvalError(f"The pack {self.pack.name} has no case with a check.", hint)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out, and what else its reader has to know."""
        unchecked, broken = len(self.pack.cases) - len(self.pack.checked), len(self.pack.problems)
        found = []
        if unchecked:
            found.append(f"{unchecked} case{'s' * (unchecked > 1)} without checks left out.")
        if broken:
            found.append(f"{broken} broken case{'s' * (broken > 1)} left out.")
        if self.samples > 1 and any(spec.sampling.temperature == 0 for spec in self.candidates):
            found.append("At temperature 0 all samples of a case are the same.")
        return tuple(found)


class EvalRun(Stoppable):
    """One evaluation. `on_change` is called in the event loop whenever something is known.

    Raises:
        EvalError: The plan makes no sense.
    """

    def __init__(
        self,
        plan: EvalPlan,
        tools: EvalTools,
        host: EngineHost,
        adviser: MemoryAdviser,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        plan.check()
        self.plan = plan
        self._tools = tools
        self._adviser = adviser
        self._on_change = on_change
        self._candidates = [
            AskedModel(spec, host, tools.digest, self._cancel, plan.samples) for spec in plan.candidates
        ]
        self._answers: list[list[tuple[EvalSample, ...]]] = [
            [()] * len(plan.candidates) for _ in range(len(plan.pack.checked))
        ]
        self._errors = [0] * len(plan.candidates)
        self._record: EvalRecord | None = None
        self._id, self._at = tools.eval_runs.new_id(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._build = ""
        self.running = False
        self.in_turn = False
        """Whether the models do not fit in memory together."""
        self.unkept: WorkbenchError | None = None
        """Why it could not be kept."""

    @property
    def failures(self) -> list[WorkbenchError]:
        """Why candidates were not asked to the end."""
        return [error for error in self.errors if error is not None]

    @property
    def errors(self) -> list[WorkbenchError | None]:
        """For each candidate, why it was not asked to the end; None where it was."""
        return [candidate.error for candidate in self._candidates]

    @property
    def done(self) -> int:
        """Cases that were asked, counted for each candidate."""
        return sum(bool(samples) for row in self._answers for samples in row)

    @property
    def total(self) -> int:
        """Cases to ask, counted for each candidate."""
        return len(self._answers) * len(self._candidates)

    @property
    def phase(self) -> str:
        """What it does now, in a few words."""
        loading = [each for each in self._candidates if each.load_fraction is not None]
        if loading:
            return f"loading {loading[0].label} {loading[0].load_fraction or 0:.0%}"
        return "asking" if self.running else "stopped" if self.stopped else "done"

    async def run(self) -> None:
        """Ask everything, and keep the record."""
        self.running = True
        try:
            specs = self.plan.candidates
            local = any(not is_server_ref(spec.ref) for spec in specs)
            self._build = await asyncio.to_thread(self._tools.build_text, local=local)
            self.in_turn = not await self._adviser.fit_together(
                [(each.spec.ref, each.load) for each in self._candidates]
            )
            await (self._run_in_turn() if self.in_turn else self._run_together())
        finally:
            try:
                await asyncio.gather(*(candidate.close() for candidate in self._candidates))
            finally:
                self.running = False
                self._changed()
        if not self.record.is_empty:
            try:
                await self._tools.eval_runs.keep(self.record)
            except WorkbenchError as error:
                self.unkept = error

    async def _run_in_turn(self) -> None:
        for number, candidate in enumerate(self._candidates):
            await self._open(candidate)
            for index, case in enumerate(self.plan.pack.checked):
                await self._ask(number, candidate, index, case)
            await candidate.close()

    async def _run_together(self) -> None:
        await asyncio.gather(*map(self._open, self._candidates))
        for index, case in enumerate(self.plan.pack.checked):
            numbered = enumerate(self._candidates)
            await asyncio.gather(*(self._ask(number, candidate, index, case) for number, candidate in numbered))

    async def _open(self, candidate: AskedModel) -> None:
        if not self._cancel.is_set:
            self._changed()
            await candidate.open()
            self._changed()

    async def _ask(self, number: int, candidate: AskedModel, index: int, case: EvalCase) -> None:
        """Ask one candidate one case; samples that were stopped are dropped with the case."""
        samples: list[EvalSample] = []
        count, at_once = 1 if case.choice else self.plan.samples, candidate.at_once
        for start in range(0, count, at_once):
            if self._cancel.is_set or not candidate.is_open or candidate.error is not None:
                return
            part = range(start, min(start + at_once, count))
            found = await asyncio.gather(*(self._sample(number, candidate, case, sample) for sample in part))
            samples += [sample for sample in found if sample is not None]
            if len(samples) < part.stop:
                return
        self._answers[index][number] = tuple(samples)
        self._changed()

    async def _sample(self, number: int, candidate: AskedModel, case: EvalCase, sample: int) -> EvalSample | None:
        try:
            judged = await (self._choose if case.choice else self._answer)(candidate, case, sample)
        except CancelledError:
            return None
        except WorkbenchError as error:
            # A prompt that does not fit says nothing about the next one.
            self._errors[number] += not isinstance(error, ContextFullError | EvalError)
            if self._errors[number] >= ERRORS_IN_A_ROW:
                candidate.error = error
            return EvalSample(error=str(error))
        self._errors[number] = 0
        return judged

    async def _choose(self, candidate: AskedModel, case: EvalCase, sample: int) -> EvalSample:
        check = case.checks[0]
        scores = await candidate.rank(candidate.request(case, sample), check.choices)
        problem = check_choice(check, scores)
        best = check.choices[max(range(len(scores)), key=scores.__getitem__)]
        problems = (f"{check.label}: {problem}",) if problem else ()
        return EvalSample(best.strip(), passed=not problem, problems=problems, scores=scores)

    async def _answer(self, candidate: AskedModel, case: EvalCase, sample: int) -> EvalSample:
        outcome = await candidate.answer(candidate.request(case, sample))
        if outcome.error is not None:
            raise outcome.error
        if outcome.reason == "cancelled":
            raise CancelledError("The answer was stopped.")
        text = outcome.message.content
        # A schema that is nested deep takes its time.
        found = await asyncio.to_thread(lambda: [(check, check_answer(check, text)) for check in case.checks])
        problems = [f"{check.label}: {problem}" for check, problem in found if problem]
        if problems and (outcome.notice or outcome.reason in ("length", "context")):
            problems.append(outcome.notice or "The answer was cut: raise max_tokens.")
        return EvalSample(
            text,
            outcome.message.reasoning,
            not problems,
            tuple(problems),
            finish_reason=outcome.reason,
            seed=outcome.seed,
            prompt_tokens=outcome.metrics.prompt_tokens,
            completion_tokens=outcome.metrics.completion_tokens,
        )

    def _changed(self) -> None:
        self._record = None
        self._on_change()

    @property
    def record(self) -> EvalRecord:
        """The record so far."""
        if self._record is None:
            pack = self.plan.pack
            results = tuple(
                _result(case, answers)
                for case, answers in zip(pack.checked, self._answers, strict=True)
                if any(answers)
            )
            self._record = EvalRecord(
                self._id,
                self._at,
                self.plan.command,
                pack.name,
                pack.path,
                pack.digest,
                len(pack.checked),
                self.plan.samples,
                tuple(candidate.lane for candidate in self._candidates),
                results,
                self._build,
                self.stopped,
                self.plan.notes,
            )
        return self._record


def _result(case: EvalCase, answers: Sequence[tuple[EvalSample, ...]]) -> EvalResult:
    return EvalResult(
        case.id,
        case.question,
        tuple(answers),
        case.tags,
        tuple(check.label for check in case.checks),
        case.choice.choices if case.choice else (),
        case.answer,
    )
