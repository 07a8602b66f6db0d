"""Whether speculation is judged by pairs of the user's own prompts, each asked in both ways of one model."""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.lab.bench.fake_bencher import MACHINE, FakeWatch
from tests.ui.fakes import FakeStore
from workbench.core.chat import Message
from workbench.core.errors import TuneError
from workbench.core.events import Finished, Token, Usage
from workbench.core.load_settings import LoadSettings
from workbench.core.models import EngineInfo, ModelEntry
from workbench.core.session import Session
from workbench.core.speculation import SpeculationFigures
from workbench.core.tree import Tree, Turn
from workbench.lab.tune.judgement import JudgementJob, JudgementPlan
from workbench.lab.tune.judgement_record import as_json, as_markdown

MODEL = ModelEntry("m", "m", "Q4_0", path="/models/m.gguf")


def session(*prompts: str) -> Session:
    texts = [Message(role, text) for prompt in prompts for role, text in (("user", prompt), ("assistant", "Yes."))]
    return Session("s", 0.0, 1.0, tree=Tree.of(tuple(Turn(text, 0.0) for text in texts)))


@dataclass
class Judged:
    """An engine whose drafts make an answer `gain` times as fast, with noise; everything that a judgement needs."""

    gain: float
    noise: float = 0.01
    refused: str = ""
    tokens: int = 40
    asked: list = field(default_factory=list)
    stop_at: int = 0
    job: JudgementJob | None = None
    closed: bool = False
    watch: FakeWatch = field(default_factory=FakeWatch)
    sessions: FakeStore = field(default_factory=lambda: FakeStore(stored=[session("Rename it.", "And now a test.")]))

    def __post_init__(self) -> None:
        self.engines = self.tune_bencher = self
        self._rng = random.Random(1)

    async def machine(self):
        return MACHINE

    @contextmanager
    def watching(self, machine):
        yield self.watch

    async def draft_candidates(self, model):
        return [ModelEntry("small", "small")]

    async def open(self, ref, settings, on_progress, cancel):
        warnings = (f"Speculation is off: {self.refused}.",) * bool(self.refused)
        now = LoadSettings() if self.refused else settings
        self.info = EngineInfo(MODEL, now, "CPU", 1.0, warnings=warnings)
        return self

    async def close(self) -> None:
        self.closed = True

    async def generate(self, request, cancel):
        self.asked.append(request)
        if len(self.asked) == self.stop_at:
            self.job.stop()
        step = round(1e7 / (self.gain if request.drafts else 1) * (1 + self._rng.gauss(0, self.noise)))
        yield tuple(Token("a", 1, "answer", 0, index * step) for index in range(self.tokens))
        figures = SpeculationFigures().with_step(3, 2) if request.drafts else None
        reason = "cancelled" if cancel.is_set else "stop"
        yield (Finished(reason, Usage(9, 0, self.tokens), 0, 0, speculation=figures),)


async def judged(tools: Judged, today: str = "off", pairs: int = 12) -> JudgementJob:
    job = tools.job = JudgementJob(JudgementPlan(MODEL, LoadSettings(speculation=today), pairs=pairs), tools)
    await job.run()
    assert job.progress is None
    return job


@pytest.mark.parametrize(
    ("gain", "noise", "today", "verdict", "words", "kept"),
    [
        (1.4, 0.01, "off", "on", "1.4", {"speculation": "ngram"}),
        (1.4, 0.01, "ngram", "on", "keep it on", {}),
        (0.96, 0.01, "off", "off", "pairs: leave it off.", {}),
        (0.96, 0.01, "ngram", "off", "turn it off", {"speculation": "off"}),
        (1.0, 0.2, "off", "noisy", "too noisy to say", {}),
    ],
)
async def test_the_verdict_is_that_of_the_pairs(gain, noise, today, verdict, words, kept) -> None:
    tools = Judged(gain, noise)
    job = await judged(tools, today)
    assert job.error is None
    record = job.record
    assert (record.verdict, record.values) == (verdict, kept)
    assert words in record.sentence
    assert "95 % interval" in record.sentence
    assert tools.closed
    found = as_json(record)
    assert (len(found["pairs"]), found["draft_n"], found["draft_n_accepted"]) == (12, 36, 24)
    assert list(found["by_position"]) == [1, 1, 0]
    assert (found["command"] or "workbench settings").startswith("workbench settings")
    text = as_markdown(record)
    assert "\n| 2. Rename it. " in text
    assert "\n| 12. Rename it. " in text
    assert "67% of 36 drafted tokens were right; a step with a draft wrote 3.0 tokens" in text


async def test_prompts_take_turns_and_so_does_the_order() -> None:
    tools = Judged(1.0)
    await judged(tools, pairs=4)
    measured = [(each.messages[-1].content[:6], each.drafts) for each in tools.asked[2:]]
    one, two = "And no", "Rename"
    assert measured == [
        (one, False), (one, True), (two, True), (two, False), (one, True), (one, False), (two, False), (two, True),
    ]  # fmt: skip
    assert all(each.timed and each.sampling.seed >= 0 for each in tools.asked)
    assert len({id(each.sampling) for each in tools.asked}) == len(tools.asked)


async def test_the_pairs_before_a_stop_are_kept() -> None:
    tools = Judged(1.4, stop_at=11)
    job = await judged(tools)
    assert (len(job.record.pairs), job.stopped, job.error) == (4, True, None)
    assert job.record.verdict == "on"


async def test_what_cannot_be_judged_says_why() -> None:
    refused = await judged(Judged(1.0, refused="recurrent state"))
    assert isinstance(refused.error, TuneError)
    assert "recurrent state" in refused.error.message
    nothing = await judged(Judged(1.0, sessions=FakeStore()))
    assert "no prompts of yours" in nothing.error.message
    short = await judged(Judged(1.0, tokens=3), pairs=3)
    assert short.record.pairs == ()
    assert short.record.notes[0].startswith("Too short an answer to be timed")
    assert short.record.verdict == "unproved"
