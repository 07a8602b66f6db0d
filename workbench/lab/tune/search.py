"""The search for the fastest settings: one lever after the other, each by a race of short runs.

All ways of a lever take turns, so that slow drift of the machine is the same for all of them. Those that are surely
behind leave the race. A change is kept where it is surely faster; what it is worth in all is for pairs to say, with new
runs, since the best of many looks better than it is.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from statistics import median

from workbench.core.bench import BenchSettings
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, WorkbenchError
from workbench.lab.tune.levers import LEVERS, Lever, TuneFacts, loads_again, resolved
from workbench.lab.tune.stand import BusyMachineError, Stand
from workbench.lab.tune.trials import TRIM, Lead, Tried, pooled_spread, speed_of

LOOKS = (3, 4, 6, 8, 10, 13, 16, 20)
"""Rounds after which values that are behind are out: a look after each round would take noise for a lead."""
LOADING_LOOKS = (2, 3, 5)
USUAL_ROUNDS = 8
"""Rounds of a value until it is out, for the estimate of the runs to come."""
VISIT_RUNS = 3
"""Where each value loads the weights again: fewer rounds, with the median of so many runs after each load."""
SURE = 2.2
"""A lead of so many standard errors over the present settings counts."""
BEHIND = 2.0
"""A value that is behind the leading one by so many standard errors is out."""
WORTH = 0.005
"""A lead below this fraction is not worth a change."""
OPEN = 1.5
"""A value whose lead is below `WORTH` by more than so many standard errors is out."""
AGAIN_WITHIN = 0.1
"""Values that were slower by more than this fraction are not tried a second time."""
HOPELESS = 0.1
"""A value that was slower by more than this in each of two or more rounds is out."""
PASSES = 2

Fits = Callable[[BenchSettings], Awaitable[tuple[str, str]]]
"""Why settings are not tried: the state, and the reason; both empty where they are."""


class LeverSearch:
    """One search.

    Args:
        today: The settings that all are compared with.
        fits: Whether settings are worth loading.
        on_trial: Called when something new is known.
    """

    def __init__(
        self,
        stand: Stand,
        today: BenchSettings,
        facts: TuneFacts,
        fits: Fits,
        cancel: CancelToken,
        *,
        levers: Sequence[Lever] = LEVERS,
        out_of_time: Callable[[], bool] = lambda: False,
        on_trial: Callable[[], None] = lambda: None,
    ) -> None:
        self._stand = stand
        self._facts = facts
        self._fits = fits
        self._cancel = cancel
        self._levers = levers
        self._out_of_time = out_of_time
        self._on_trial = on_trial
        self._rounds = 0
        self._left: list[Lever] = list(levers)
        self.best = Tried("", today, state="today")
        """The best by now."""
        self.tried: dict[BenchSettings, Tried] = {resolved(today, facts): self.best}
        self.spread = 0.0
        """The largest spread of a ratio of two runs side by side, as a fraction."""
        self.lever = ""
        """What is tried now."""
        self.runs_left = 0
        """An estimate of the runs still to come."""
        self.ended_early = False
        """Whether the time was over before all levers were tried."""

    @property
    def rival(self) -> Tried | None:
        """The best of the others; None where there is none."""
        others = [each for each in self.tried.values() if each.samples and each is not self.best]
        return max(others, key=lambda each: each.log_ratio, default=None)

    async def run(self) -> None:
        """Try all levers, and once more those that others may have changed.

        Raises:
            WorkbenchError: Today's settings cannot be run; CancelledError; BusyMachineError.
        """
        last: Lever | None = None
        for number in range(PASSES):
            self._left = list(self._levers)
            changed = 0
            while self._left:
                lever = self._left.pop(0)
                self.lever = lever.name
                counts = [len(each.values(self.best.settings, self._facts)) for each in (lever, *self._left)]
                self.runs_left = sum(USUAL_ROUNDS * (count + 1) for count in counts if count)
                if self._out_of_time():
                    self.ended_early = True
                    return
                if number and lever is last:
                    # Everything after it was tried with the present settings.
                    return
                if await self._try_lever(lever, again=number > 0):
                    last, changed = lever, changed + 1
            if not changed:
                return

    async def _try_lever(self, lever: Lever, *, again: bool) -> bool:
        """Whether a value of a lever is better than the present one."""
        before = self.best
        values = lever.values(before.settings, self._facts)
        if again:
            values = tuple(way for way in values if self._is_worth_it(way))
        won = await self._screen(lever, values)
        if won and lever.finer is not None:
            await self._screen(lever, tuple(lever.finer(self.best.settings, (before.settings, *values))))
        return won

    def _is_worth_it(self, way: BenchSettings) -> bool:
        """Whether a value may be tried again beside other settings of the other levers."""
        names = [name for name in way.__dataclass_fields__ if getattr(way, name) != getattr(self.best.settings, name)]
        known = [
            each.log_ratio - self.best.log_ratio
            for each in self.tried.values()
            if each.samples and all(getattr(each.settings, name) == getattr(way, name) for name in names)
        ]
        return bool(known) and max(known) > -AGAIN_WITHIN

    async def _screen(self, lever: Lever, values: Iterable[BenchSettings]) -> bool:
        """A race of the present settings and `values` that fit; whether one of those is better."""
        now, alive = self.best, []
        for way in values:
            key = resolved(way, self._facts)
            known = self.tried.setdefault(key, Tried(lever.name, way))
            if known.state not in ("measured", "today") or known is now:
                continue
            state, reason = await self._fits(way)
            if reason:
                known.state, known.reason = ("refused" if state == "refused" else "no room"), reason
                self._on_trial()
            else:
                alive.append(known)
        return bool(alive) and await self._race(now, alive)

    async def _race(self, now: Tried, alive: list[Tried]) -> bool:
        """Run the present settings beside others until one is surely the best; whether it is one of the others."""
        ahead: dict[int, list[float]] = {id(each): [] for each in alive}
        looks = LOADING_LOOKS if any(loads_again(now.settings, each.settings) for each in alive) else LOOKS
        for number in range(1, looks[-1] + 1):
            await self._round(now, alive, ahead)
            if not alive:
                return False
            if number not in looks:
                continue
            spread = pooled_spread(ahead.values())
            error = spread / math.sqrt(number)
            self.spread = max(self.spread, (1 - 2 * TRIM) * spread)
            leads = {id(each): Lead.of(ahead[id(each)]).mean for each in alive}
            first = max(leads.values(), default=0.0)
            least = max(first - BEHIND * error, WORTH - OPEN * error)
            alive = sorted((each for each in alive if leads[id(each)] >= least), key=lambda each: -leads[id(each)])
            if not alive:
                return False
            if first >= max(WORTH, SURE * error) and (len(alive) == 1 or number == looks[-1]):
                self.best = alive[0]
                self._on_trial()
                return True
        return False

    async def _round(self, now: Tried, alive: list[Tried], ahead: dict[int, list[float]]) -> None:
        """One run of the present settings and of each in `alive`, in changing order; those that fail leave it."""
        order = [now, *alive] if self._rounds % 2 == 0 else [*reversed(alive), now]
        self._rounds += 1
        runs = VISIT_RUNS if any(loads_again(now.settings, each.settings) for each in alive) else 1
        speeds: dict[int, float] = {}
        for each in order:
            try:
                taken = [await self._stand.take(each.settings, self._rounds, self._cancel) for _ in range(runs)]
            except (CancelledError, BusyMachineError):
                raise
            except WorkbenchError as error:
                if each is now:
                    raise
                each.state, each.reason = "failed", error.message
                alive.remove(each)
                self._on_trial()
                continue
            each.samples += taken
            speeds[id(each)] = median(speed_of(sample, self._facts.work) for sample in taken)
            self._on_trial()
        for each in [*alive]:
            ratios = ahead[id(each)]
            ratios.append(math.log(speeds[id(each)] / speeds[id(now)]))
            each.log_ratio = now.log_ratio + Lead.of(ratios).mean
            if len(ratios) > 1 and max(ratios) < -HOPELESS:
                alive.remove(each)
        self._on_trial()
