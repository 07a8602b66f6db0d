"""Memory before speed: which settings fit, where a search begins, and why nothing meets the constraints."""

from __future__ import annotations

from dataclasses import replace

from workbench.core.bench import BenchSettings
from workbench.core.bench_loading import as_load_settings
from workbench.core.engine import MemoryAdviser, Needs
from workbench.core.errors import TuneError
from workbench.core.load_settings import LoadSettings
from workbench.core.units import size_text
from workbench.lab.tune.goal import TunePlan, room_reason
from workbench.lab.tune.levers import LEVERS, TuneFacts, changes

PLACING = ("GPU layers", "split", "cache types", "micro-batch")
"""The levers that change what memory is taken."""


class MemoryCheck:
    """The memory of settings, each estimated once."""

    def __init__(self, plan: TunePlan, adviser: MemoryAdviser) -> None:
        self._plan = plan
        self._adviser = adviser
        self._known: dict[LoadSettings, Needs | None] = {}

    async def needs(self, way: BenchSettings) -> Needs | None:
        """The memory with the context that is wanted; None where it cannot be estimated."""
        plan = self._plan
        load = replace(
            as_load_settings(way, plan.work),
            num_ctx=plan.n_ctx,
            num_parallel=plan.work.sequences,
            swa_full=plan.today.swa_full,
            # They change nothing here.
            num_thread=0,
            num_thread_batch=0,
        )
        if load not in self._known:
            self._known[load] = await self._adviser.needs(plan.model, load)
        return self._known[load]

    async def refusal(self, way: BenchSettings) -> tuple[str, str]:
        """Why settings are not tried: `refused` or `no room`, and the reason; both empty where they are."""
        needs = await self.needs(way)
        if needs is None or not (reason := room_reason(needs, self._plan.limits)):
            return "", ""
        return "no room" if needs.refusal is None else "refused", reason

    async def start(self, today: BenchSettings, facts: TuneFacts) -> BenchSettings:
        """Today's settings, or the nearest that meet the constraints.

        Raises:
            TuneError: Nothing meets them; it names the hardest.
        """
        needs, limits = facts.needs, self._plan.limits
        # Without constraints, today's settings are what they are.
        if needs is None or not (limits.excess(needs)[0] or (limits.min_ctx and room_reason(needs, limits))):
            return today
        least: tuple[int, str, BenchSettings, Needs] | None = None
        meeting: list[tuple[int, BenchSettings]] = []
        distance = 0
        for way in _placings(today, facts):
            if meeting and len(changes(way, today, facts)) > distance:
                break
            found = await self.needs(way)
            if found is None or found.refusal is not None:
                continue
            if not room_reason(found, limits):
                meeting.append((sum(need.total_bytes for need in found.devices), way))
                distance = len(changes(way, today, facts))
                continue
            short = [(each.total_bytes - each.usable_bytes, each.device) for each in found.devices]
            over, device = max([limits.excess(found), *short])
            if least is None or over < least[0]:
                least = over, device, way, found
        if not meeting:
            raise self._nothing(least, today, facts)
        # Of those with the fewest changes, the one that takes the most memory is the nearest.
        return max(meeting, key=lambda each: each[0])[1]

    def _nothing(
        self, least: tuple[int, str, BenchSettings, Needs] | None, today: BenchSettings, facts: TuneFacts
    ) -> TuneError:
        if least is None:
            return TuneError("llama.cpp refuses every setting of this model.", "Allow other cache types (--caches).")
        over, device, way, needs = least
        limit = self._plan.limits.most_on(device)
        need = next(each for each in needs.devices if each.device == device)
        is_limited = limit is not None and limit <= need.usable_bytes
        most = limit if is_limited else need.usable_bytes
        changed = ", ".join(changes(way, today, facts)) or "your settings"
        return TuneError(
            f"Nothing meets the constraints. The hardest is the memory on {device}: with a context of {needs.n_ctx:,} "
            f"tokens the least is {size_text(need.total_bytes)} ({changed}), {size_text(over)} more than "
            f"{'the limit of' if is_limited else 'is free there,'} {size_text(most)}.",
            "Ask for a shorter context (--min-ctx), allow smaller cache types (--caches q8_0), or take a smaller "
            "quantization.",
        )


def _placings(today: BenchSettings, facts: TuneFacts) -> list[BenchSettings]:
    """Settings of the levers that change memory, the fewest changes first."""
    ways = {today: None}
    for lever in LEVERS:
        if lever.name in PLACING:
            ways |= dict.fromkeys(value for way in list(ways) for value in lever.values(way, facts))
    return sorted(ways, key=lambda way: len(changes(way, today, facts)))
