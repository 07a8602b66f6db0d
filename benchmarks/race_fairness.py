"""A race of three against each lane alone: a lane's clock runs only while its own steps run, so both ought to agree.

One process holds F16, Q8_0 and Q4_K_M of the demo model open, and they answer the same prompt: all at the same time,
and each alone. What is compared is the decode speed on the lane's own clock, which is what the race shows.

    python -m benchmarks.race_fairness [--rounds 10] [--threads 2]
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

from benchmarks.common import Bar, finish, interleave, parser, print_samples
from benchmarks.models import variant
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.advice import LocalAdviser
from workbench.engine.files import LocalFiles
from workbench.engine.open import AnyHost
from workbench.lab.race.lane import LaneSpec
from workbench.lab.race.race import Race
from workbench.library.catalog import LibraryCatalog

QUANTS = ("F16", "Q8_0", "Q4_K_M")
BAR = 0.95
PROMPT = "Write a long story about an old clockmaker who lives in a small town by the sea."


class Lanes:
    """The three lanes, open for as long as the measurement takes."""

    def __init__(self, threads: int, tokens: int) -> None:
        self._loop = asyncio.new_event_loop()
        catalog = LibraryCatalog(find_demo_file=lambda: None)
        host = AnyHost(catalog.resolve, state_budget_bytes=0, memory_guard=True)
        load = LoadSettings(num_ctx=4096, num_thread=threads)
        sampling = Sampling(temperature=0.0, num_predict=tokens)
        specs = [LaneSpec(str(variant(quant)), quant, load, sampling) for quant in QUANTS]
        self._race = Race(host, LocalAdviser(catalog.resolve, LocalFiles()), specs)
        self._loop.run_until_complete(self._race.open())

    def run(self, *, together: bool) -> Mapping[str, float]:
        """Answer the prompt once in every lane, with no history."""
        race = self._race
        race.solo = not together
        race.questions.clear()
        for lane in race.lanes:
            lane.answers.clear()

        async def ask() -> None:
            race.ask(PROMPT)
            await race.finished()

        self._loop.run_until_complete(ask())
        found = {}
        for lane, quant in zip(race.lanes, QUANTS, strict=True):
            speed = lane.answers[-1].outcome.metrics.decode_tps
            if speed is None:
                raise SystemExit(f"{quant} gave no answer: {lane.error}")
            found[quant] = speed
        return found


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=10)
    options.add_argument("--tokens", type=int, default=128, help="length of an answer (default: %(default)s)")
    chosen = options.parse_args()
    lanes = Lanes(chosen.threads, chosen.tokens)
    lanes.run(together=True)
    samples = interleave(
        {"race of three": lambda: lanes.run(together=True), "alone": lambda: lanes.run(together=False)}, chosen.rounds
    )
    bars = [
        Bar(f"{quant}: race / alone", samples.ratio(f"race of three {quant}", f"alone {quant}"), BAR, at_least=True)
        for quant in QUANTS
    ]
    print(f"tokens/s on the lane's own clock, {chosen.threads} threads, {chosen.rounds} interleaved rounds\n")
    print_samples(samples)
    return finish("race_fairness", bars, {"race": samples}, threads=chosen.threads, tokens=chosen.tokens)


if __name__ == "__main__":
    sys.exit(main())
