"""A bencher whose speed is a function of the settings, with noise, drift and neighbours; nobody waits."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache

from tests.lab.bench.fake_bencher import MACHINE, FakeWatch, model_of
from workbench.core.bench import BenchCase, BenchMachine, BenchSettings, BenchTest, RunTime
from workbench.core.cancel import CancelToken
from workbench.core.engine import DeviceNeed, Needs
from workbench.core.errors import EngineError, WorkbenchError
from workbench.core.load_settings import LoadSettings
from workbench.core.models import ModelEntry
from workbench.lab.tune.goal import TunePlan, work_of
from workbench.lab.tune.tune import TuneJob

MODEL = ModelEntry("m", "m", "Q4_0", path="/models/m.gguf")
CORES = 8

Seconds = Callable[[BenchSettings, BenchTest], tuple[float, float]]
"""The time of the prompt and that of the answer."""


@dataclass
class ScriptedBencher:
    """Each run takes what `seconds` says, times what the machine does meanwhile."""

    seconds: Seconds
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    noise: float = 0.02
    drift: float = 0.1
    outliers: float = 0.03
    failures: dict[str, WorkbenchError] = field(default_factory=dict)
    """By the value of a field: `flash_attn=off`."""
    killed_at: int = 0
    """The run in which its process is killed; 0 for none."""
    loads: list[BenchSettings] = field(default_factory=list)
    contexts: list[BenchSettings] = field(default_factory=list)
    open_contexts: int = 0
    runs: int = 0
    now_s: float = 0.0
    walk: float = 0.0

    async def machine(self) -> BenchMachine:
        return replace(MACHINE, cores=CORES)

    async def open(self, case, on_progress, cancel):
        self.loads.append(case.settings)
        return ScriptedTarget(self)

    def time_of(self, settings: BenchSettings, test: BenchTest) -> RunTime:
        prompt, gen = self.seconds(settings, test)
        self.runs += 1
        self.walk += self.rng.gauss(0, 0.003)
        self.walk *= 0.99
        factor = math.exp(
            self.rng.gauss(0, self.noise) + self.walk + self.drift * math.sin(2 * math.pi * self.runs / 150)
        )
        if self.rng.random() < self.outliers:
            factor *= 1.3
        self.now_s += factor * (prompt + gen)
        first, second = round(factor * prompt * 1e9), round(factor * gen * 1e9)
        return RunTime(first, second, first + second)


@dataclass
class ScriptedTarget:
    bencher: ScriptedBencher
    model = model_of("m")

    async def prepare(self, settings: BenchSettings, test: BenchTest):
        for text, error in self.bencher.failures.items():
            name, _, value = text.partition("=")
            if str(getattr(settings, name)) == value:
                raise error
        self.bencher.contexts.append(settings)
        self.bencher.open_contexts += 1
        return ScriptedRun(self.bencher, BenchCase("m", settings, test))

    async def close(self) -> None:
        pass


@cache
def with_threads(settings: BenchSettings, decode: int, prompt: int) -> BenchSettings:
    return replace(settings, n_threads=decode, n_threads_batch=prompt)


@dataclass
class ScriptedRun:
    bencher: ScriptedBencher
    case: BenchCase
    threads: tuple[int, int] | None = None

    async def warm_up(self, cancel: CancelToken) -> float:
        return 1.0

    async def use_threads(self, decode: int, prompt: int) -> None:
        self.threads = decode, prompt

    async def repeat(self, seed: int, cancel: CancelToken) -> RunTime:
        if self.bencher.runs + 1 == self.bencher.killed_at:
            self.bencher.killed_at = 0
            raise EngineError("The engine's process was killed.")
        way = self.case.settings
        return self.bencher.time_of(way if self.threads is None else with_threads(way, *self.threads), self.case.test)

    async def close(self) -> None:
        self.bencher.open_contexts -= 1


def no_needs(load: LoadSettings) -> Needs | None:
    return Needs((DeviceNeed("CPU", 2**30, 2**34),), load.num_ctx or 8192)


@dataclass
class Tools:
    """What a tuning needs."""

    tune_bencher: ScriptedBencher
    price: Callable[[LoadSettings], Needs | None] = no_needs
    watch: FakeWatch = field(default_factory=FakeWatch)

    @property
    def adviser(self):
        return self

    async def needs(self, model, load):
        return self.price(load)

    async def fit_together(self, models):
        return True

    @contextmanager
    def watching(self, machine):
        yield self.watch


async def no_sleep(seconds: float) -> None:
    pass


def job_of(tools: Tools, today: LoadSettings | None = None, **plan) -> TuneJob:
    made = TunePlan(MODEL, today or LoadSettings(), plan.pop("work", work_of("mix")), **plan)
    return TuneJob(made, tools, logical=2 * CORES, clock=lambda: tools.tune_bencher.now_s, sleep=no_sleep)
