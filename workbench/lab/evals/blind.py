"""Blind tests of two models: can a person tell their answers apart, or which does a person prefer?

In an ABX test the two answers to a prompt are shown without names and in random order, and X is a further answer of one
of the two models, with another seed: the question is which one wrote it. At temperature 0, X would be a copy of an
answer, so the test asks for a higher one. All answers are generated before the first is shown, so that speed gives
nothing away.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from workbench.core.engine import EngineHost, MemoryAdviser
from workbench.core.errors import CancelledError, EvalError
from workbench.core.proportions import LEVEL, fewest_successes
from workbench.core.servers import is_server_ref
from workbench.lab.evals.ask import AskedModel
from workbench.lab.evals.blind_record import BlindKind, BlindRecord, BlindTrial, Choice
from workbench.lab.evals.pack import EvalCase
from workbench.lab.evals.tools import EvalTools
from workbench.lab.race.lane import LaneSpec
from workbench.lab.stoppable import Stoppable

USUAL_TRIALS = 12
MOST_TRIALS = 200
SEEDS = 2**31
PACE = 120.0
"""Characters a second at which the longest answer is shown; the others end with it."""
SAME = "Both answers are the same word for word."
COPY = "X is a copy of one of the answers."


def beginnings(texts: tuple[str, ...], seconds: float) -> tuple[str, ...]:
    """What is shown of answers after some time: all end together, so that the end does not name the shorter one."""
    share = min(1.0, seconds * PACE / max(1, *map(len, texts)))
    return tuple(text[: math.ceil(share * len(text))] for text in texts)


@dataclass(frozen=True, slots=True)
class BlindPlan:
    """What is asked, fixed beforehand."""

    kind: BlindKind
    models: tuple[LaneSpec, LaneSpec]
    prompts: tuple[EvalCase, ...]
    trials: int = USUAL_TRIALS

    def check(self) -> None:
        """Raise EvalError where it makes no sense."""
        if not self.prompts:
            raise EvalError("A blind test needs a prompt.", "Type one, or choose a session.")
        level = LEVEL if self.kind == "abx" else LEVEL / 2
        fewest = next(count for count in range(1, MOST_TRIALS) if fewest_successes(count, level) is not None)
        if not fewest <= self.trials <= MOST_TRIALS:
            raise EvalError(
                f"{self.trials} trials can show nothing: it takes {fewest} at least, and {MOST_TRIALS} at most."
            )
        if any(spec.sampling.temperature == 0 for spec in self.models):
            if self.kind == "abx":
                hint = "Set a temperature, or vote by preference."
                raise EvalError("At temperature 0, X is a copy of one of the answers.", hint)
            if self.trials > len(self.prompts):
                raise EvalError(
                    f"At temperature 0, {len(self.prompts)} prompts make no more than as many different trials.",
                    "Set a temperature, or add prompts.",
                )


class BlindTest(Stoppable):
    """One blind test: `prepare` generates all answers, then `vote` takes the votes in order."""

    def __init__(
        self,
        plan: BlindPlan,
        tools: EvalTools,
        host: EngineHost,
        adviser: MemoryAdviser,
        on_change: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
    ) -> None:
        super().__init__()
        plan.check()
        self._plan = plan
        self._tools = tools
        self._adviser = adviser
        self._on_change = on_change
        self._rng = rng or random.Random()
        self._models = [AskedModel(spec, host, tools.digest, self._cancel) for spec in plan.models]
        self.record: BlindRecord | None = None
        """None until the answers are there."""
        self.done = 0
        """Answers that were generated."""

    @property
    def total(self) -> int:
        """Answers to generate."""
        return self._plan.trials * (3 if self._plan.kind == "abx" else 2)

    @property
    def next(self) -> BlindTrial | None:
        """The trial to vote on; None where there is none."""
        trials = self.record.trials if self.record is not None else ()
        return next((trial for trial in trials if trial.vote is None), None)

    async def prepare(self) -> None:
        """Generate all answers.

        Raises:
            EvalError: A is the same as B, or every trial was left out.
            WorkbenchError: A model cannot be opened, or fails; CancelledError.
        """
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        plan, rng = self._plan, self._rng
        asked = [plan.prompts[number % len(plan.prompts)] for number in range(plan.trials)]
        x = [rng.randrange(2) if plan.kind == "abx" else None for _ in asked]
        # A further seed for X; the two answers have the same one.
        seeds = [(rng.randrange(SEEDS), rng.randrange(SEEDS)) for _ in asked]
        jobs = [
            [(trial, seed) for trial, pair in enumerate(seeds) for seed in pair[: 1 + (x[trial] == model)]]
            for model in range(2)
        ]
        try:
            local = any(not is_server_ref(spec.ref) for spec in plan.models)
            build = await asyncio.to_thread(self._tools.build_text, local=local)
            together = await self._adviser.fit_together([(spec.ref, spec.load) for spec in plan.models])
            if together:
                for model in self._models:
                    await self._open(model)
                self._refuse_the_same()
                pairs = zip(self._models, jobs, strict=True)
                texts = list(await asyncio.gather(*(self._write(model, asked, todo) for model, todo in pairs)))
            else:
                texts = []
                for model, todo in zip(self._models, jobs, strict=True):
                    await self._open(model)
                    texts.append(await self._write(model, asked, todo))
                    await model.close()
                self._refuse_the_same()
        finally:
            await asyncio.gather(*(model.close() for model in self._models))
        trials, left_out = [], []
        for number, case in enumerate(asked):
            pair = texts[0][number][0], texts[1][number][0]
            wrote = x[number]
            x_text = "" if wrote is None else texts[wrote][number][1]
            if pair[0].strip() == pair[1].strip() or (wrote is not None and x_text.strip() in map(str.strip, pair)):
                left_out.append(SAME if pair[0].strip() == pair[1].strip() else COPY)
                continue
            trials.append(BlindTrial(case.question, pair, rng.randrange(2), wrote, x_text))
        if not trials:
            raise EvalError("The two models gave the same answers to everything.", "Choose other prompts.")
        lanes = (self._models[0].lane, self._models[1].lane)
        self.record = BlindRecord(
            self._tools.blind_runs.new_id(), at, plan.kind, lanes, tuple(trials), tuple(left_out), build
        )

    async def _open(self, model: AskedModel) -> None:
        await model.open()
        if model.error is not None:
            raise model.error
        if not model.is_open:
            raise CancelledError("The blind test was stopped.")

    def _refuse_the_same(self) -> None:
        """Raise EvalError where A and B are the same file with the same settings."""
        if self._models[0].identity == self._models[1].identity:
            raise EvalError(
                "A and B are the same model with the same settings: there is nothing to tell apart.",
                "Choose another model, or another setting for one of them.",
            )

    async def _write(
        self, model: AskedModel, asked: Sequence[EvalCase], todo: Sequence[tuple[int, int]]
    ) -> list[list[str]]:
        """The answers of a model: one for each trial, and the X of those where it wrote that."""
        texts: list[list[str]] = [[] for _ in asked]
        for trial, seed in todo:
            request = model.request(asked[trial], 0)
            outcome = await model.answer(replace(request, sampling=replace(request.sampling, seed=seed)))
            if outcome.error is not None:
                raise outcome.error
            if outcome.reason == "cancelled":
                raise CancelledError("The blind test was stopped.")
            texts[trial].append(outcome.message.content)
            self.done += 1
            self._on_change()
        return texts

    async def vote(self, choice: Choice) -> None:
        """Vote on the next trial, and keep the test.

        Raises:
            EvalError: There is none, or `neither` in an ABX test.
            WorkbenchError: It cannot be kept; the vote counts.
        """
        trial, record = self.next, self.record
        if trial is None or record is None:
            raise EvalError("There is no trial to vote on.")
        if choice == "neither" and record.kind == "abx":
            raise EvalError("X is from one of the two: choose one.")
        place = record.trials.index(trial)
        trials = (*record.trials[:place], replace(trial, vote=choice), *record.trials[place + 1 :])
        self.record = replace(record, trials=trials)
        self._on_change()
        await self._tools.blind_runs.keep(self.record)
