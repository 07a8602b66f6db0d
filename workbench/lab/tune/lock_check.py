"""Measuring locked speeds again: with the same settings and repetitions, and beside the locked file where it is still
there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from workbench.core.cancel import CancelToken
from workbench.core.engine import MemoryAdviser
from workbench.core.errors import WorkbenchError
from workbench.lab.bench.bench import Bench, OnProgress, utc_now
from workbench.lab.bench.job import BenchTools
from workbench.lab.bench.pairs import Duel, DuelRecord, fit_together
from workbench.lab.bench.record import BenchRecord

PAIRS = 10


async def measure_again(
    record: BenchRecord, tools: BenchTools, cancel: CancelToken, on_progress: OnProgress = lambda _: None
) -> tuple[BenchRecord, list[WorkbenchError]]:
    """The tests of a run again, in their order, and why others failed. Raises WorkbenchError."""
    machine = await tools.bencher.machine()
    with tools.watching(machine) as watch:
        repetitions = max((len(result.samples) for result in record.results), default=5)
        cases = [result.case for result in record.results]
        bench = Bench(tools.bencher, cases, watch, repetitions=repetitions)
        await bench.run(cancel, on_progress)
    again = replace(record, at=utc_now(), machine=machine, results=tuple(bench.results))
    return again, list(dict.fromkeys(bench.failures))


async def beside_locked(
    record: BenchRecord,
    former: Mapping[str, str],
    tools: BenchTools,
    adviser: MemoryAdviser,
    cancel: CancelToken,
    on_progress: OnProgress = lambda _: None,
    build: str = "",
) -> dict[int, DuelRecord]:
    """What was locked in pairs with what is there now, by the place of the result.

    `former` names, by the path of a model that has changed, another file with the locked content; `build` is the
    configured build of llama.cpp that was locked, empty where it is not at hand.
    """
    found = {}
    with tools.watching(await tools.bencher.machine()) as watch:
        for place, result in enumerate(record.results):
            old = former.get(result.model.path)
            if (old is None and not build) or cancel.is_set:
                continue
            settings, b = result.case.settings, result.case
            a = replace(b, ref=old or b.ref, settings=replace(settings, engine_host=build or settings.engine_host))
            duel = Duel(tools.bencher, a, b, watch, together=await fit_together(adviser, a, b))
            try:
                await duel.run(PAIRS, cancel, on_progress)
            finally:
                await duel.close()
            if duel.record is not None:
                found[place] = duel.record
    return found
