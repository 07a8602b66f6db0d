"""Tuning on machines whose best settings are known, with noise, drift and neighbours."""

from __future__ import annotations

import random
from itertools import product

from tests.lab.tune.scripted import CORES, ScriptedBencher, Tools, job_of
from workbench.core.bench import BenchSettings, BenchTest
from workbench.core.load_settings import LoadSettings
from workbench.lab.tune.goal import measured_settings
from workbench.lab.tune.levers import TuneFacts, resolved

RUNS = 200
NEAR = 0.98


class World:
    """A machine with its own best thread counts and micro-batch, some of which depend on each other."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.is_flat = seed % 2 == 0
        """Whether nothing is faster than today's settings."""
        self.threads = CORES if self.is_flat else rng.choice((2, 4, 6, 8))
        self.prompt_threads = CORES if self.is_flat else rng.choice((4, 8, 16))
        self.ubatch = 512 if self.is_flat else rng.choice((128, 256, 512))
        self.off = 0.0 if self.is_flat else rng.choice((-0.08, 0.0, 0.15))
        """What turning flash attention off costs; it is worth less where fewer threads compute."""
        self.steep = rng.choice((0.0, 0.05, 0.2))
        """What a step away from the best number of threads costs."""
        self.ubatch_cost = rng.choice((0.0, 0.03, 0.1))

    def seconds(self, way: BenchSettings, work: BenchTest) -> tuple[float, float]:
        way = resolved(way, FACTS)
        gen = 1.0 + self.steep * abs(way.n_threads - self.threads) / 2
        prompt = 1.0 + self.steep * abs(way.n_threads_batch - self.prompt_threads) / 4
        prompt *= 1.0 + self.ubatch_cost * abs(way.n_ubatch.bit_length() - self.ubatch.bit_length())
        if way.flash_attn == "off":
            gen *= 1.0 + self.off * (0.5 if way.n_threads < 4 else 1.0)
        return prompt, gen

    def speed(self, way: BenchSettings) -> float:
        return 1 / sum(self.seconds(way, FACTS.work))

    @property
    def best(self) -> float:
        counts, ubatches = (1, 2, 4, 6, 8, 16), (128, 256, 512)
        return max(
            self.speed(BenchSettings(n_threads=first, n_threads_batch=second, n_ubatch=size, flash_attn=flash))
            for first, second, size, flash in product(counts, counts, ubatches, ("auto", "off"))
        )


FACTS = TuneFacts(BenchTest(512, 64), CORES, 2 * CORES)


async def test_two_hundred_tunings_find_the_best_and_claim_no_gain_that_is_none():
    far, false, with_gain = [], [], 0
    for seed in range(RUNS):
        world = World(seed)
        bencher = ScriptedBencher(world.seconds, random.Random(1000 + seed))
        job = job_of(Tools(bencher), pairs=9)
        await job.run()
        assert job.error is None
        record, today = job.record, measured_settings(LoadSettings())
        with_gain += world.speed(today) < NEAR * world.best
        if world.speed(record.chosen) < NEAR * world.best:
            far.append(seed)
        if record.verdict == "better" and world.speed(record.best) <= world.speed(today):
            false.append(seed)
        assert bencher.open_contexts == 0
    # All that are far had something to find.
    assert len(far) <= with_gain * 0.05, far
    assert len(false) <= RUNS * 0.025, false
