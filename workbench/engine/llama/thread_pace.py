"""How many threads write an answer: all of them, or fewer while other programs use the cores.

Each token waits at hundreds of barriers for the slowest thread. A thread without a core of its own slows them all down,
so fewer threads are faster beside a busy program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

WINDOW = 8
"""The steps that are compared with others."""
FIRST_WINDOW_NS = 1_000_000_000.0
"""The time after which fewer threads are tried although no speed of a quiet machine is known."""
SLOWER = 1.3
"""How much longer than the best the steps of a busy machine are."""
UNEVEN = 2.0
"""How much longer than the shortest the longest step of a quiet machine is, at most."""
WORTH = 0.93
"""A count that takes this part of the time of another one, or less, is better."""
AGING = 1.002
"""How much the best is raised after each window: a longer context takes longer."""
FIRST_PAUSE_NS, LONGEST_PAUSE_NS = 250_000_000, 8_000_000_000
"""The time between two trials; it doubles while they change nothing."""
LONGEST_PAUSE_BELOW_NS = 2_000_000_000
"""The same while fewer threads run than may: the machine may be quiet again."""
GLANCE, CLEARLY = 3, 1.25
"""After so many steps, a trial of fewer threads that takes this much longer ends."""
REPAID, REPAID_ABOVE = 30, 150
"""A trial that cost time is not repeated before so many times that time; `REPAID_ABOVE` while all threads run."""


def rungs(most: int) -> tuple[int, ...]:
    """The counts that are tried: all, one less, and then fewer and fewer."""
    return tuple(sorted({most, max(1, most - 1), *(max(1, most * part // 8) for part in (6, 4, 2, 1))}, reverse=True))


class ThreadPace:
    """Chooses the number of threads from the durations of the steps of single tokens.

    Attributes:
        used: The number of threads to use for the next step.
        most: The number for a quiet machine.
    """

    def __init__(self, most: int) -> None:
        self.used = self.most = most
        self._rungs = rungs(most)
        self._best_ns = 0.0
        """The shortest median of a window with all threads; 0 where none is known."""
        self._usual: tuple[float, int] | None = None
        """While counts are tried: the mean of a step with the best of them, and that count."""
        self._down = False
        """Whether fewer threads are tried, and not more."""
        self._sure = False
        """Whether fewer threads have been tried and were no better: `_best_ns` is that of a quiet machine then."""
        self._tried_ns = 0.0
        """The mean of a step with all threads when fewer were last tried and no better."""
        self._worse = 0
        """How many counts in a row were not better."""
        self._started = most
        self._trial_ns = self._trial_steps = 0
        self._cut = 0.0
        self._limit = FIRST_WINDOW_NS
        """The sum of a window that ends it early: its count cannot be better."""
        self._pause = self._rest = 0
        """The time between two trials, and until the next one may begin, in nanoseconds."""
        self._all_next = False
        """Whether the next trial of more threads is one of all of them."""
        self._clear()

    def _clear(self) -> None:
        self._window: list[int] = []
        self._steps = self._sum = 0

    def reset(self) -> None:
        """Use all threads, as for what is timed."""
        self.used, self._usual = self.most, None
        self._set_limit()
        self._clear()

    def step(self, ns: int) -> bool:
        """Count a step of one token that took `ns` nanoseconds; whether `used` has changed."""
        self._steps += 1
        self._sum += ns
        self._window.append(ns)
        if self._steps < WINDOW and self._sum < self._limit and not self._clearly_worse:
            return False
        before = self.used
        self._compare(max(self._sum / self._steps, self._sum / WINDOW))
        self._set_limit()
        self._clear()
        return self.used != before

    @property
    def _clearly_worse(self) -> bool:
        usual = self._usual
        return usual is not None and self._down and self._steps >= GLANCE and self._sum > self._steps * self._cut

    def _set_limit(self) -> None:
        if self._usual is not None:
            self._limit = WINDOW * self._usual[0] * (1.0 if not self._down else 1.5)
            self._cut = CLEARLY * self._usual[0]
        else:
            known = self._best_ns if self.used == self.most else 0.0
            self._limit = WINDOW * 2 * known or (1e18 if self._sure else FIRST_WINDOW_NS)

    def _compare(self, mean: float) -> None:
        """Decide what the next window is computed with; `mean` is that of this one, in nanoseconds."""
        # Single long steps are no busy machine: half of a window is.
        median, uneven = sorted(self._window)[self._steps // 2], max(self._window) > UNEVEN * min(self._window)
        if self.used == self.most and self._steps == WINDOW:
            self._best_ns = min(self._best_ns * AGING, median) if self._best_ns else median
        if self._usual is not None:
            self._judge(mean)
            return
        self._rest -= self._sum
        slow = self.used == self.most and median > SLOWER * self._best_ns
        # A trial says nothing about a machine that has become busier since.
        if self._rest > 0 and not (slow and median > SLOWER * self._tried_ns):
            return
        if self.used < self.most:
            self._all_next = not self._all_next
            self._begin(mean, self.most if self._all_next else self._rungs[self._rungs.index(self.used) - 1])
        elif self.most > 1 and (slow or (uneven and not self._sure)):
            self._begin(mean, self._rungs[1])

    def _begin(self, mean: float, count: int) -> None:
        self._usual, self._down, self._worse = (mean, self.used), count < self.used, 0
        self._trial_ns = self._trial_steps = 0
        self._started = self.used
        self.used = count

    def _judge(self, mean: float) -> None:
        assert self._usual is not None
        self._trial_ns += self._sum
        self._trial_steps += self._steps
        if mean < WORTH * self._usual[0]:
            self._usual, self._worse = (mean, self.used), 0
        else:
            self._worse += 1
        index = self._rungs.index(self.used) + 1
        if self._down and self._worse < 2 and mean < 1.5 * self._usual[0] and index < len(self._rungs):
            self.used = self._rungs[index]
            return
        usual, self.used = self._usual
        self._usual = None
        better = self.used != self._started
        if self._down and not better:
            self._sure, self._tried_ns = True, usual
        longest = LONGEST_PAUSE_NS if self.used == self.most else LONGEST_PAUSE_BELOW_NS
        self._pause = FIRST_PAUSE_NS if better else min(max(2 * self._pause, FIRST_PAUSE_NS), longest)
        wasted = self._trial_ns - self._trial_steps * usual
        repaid = REPAID_ABOVE if self.used == self.most else REPAID
        self._rest = int(max(self._pause, 0 if better else repaid * wasted))


class AnswerThreads:
    """The number of threads of the answers that one model writes: adapted, unless one of them needs a fixed number.

    Attributes:
        adapts: Whether the steps of single tokens count.

    Args:
        most: The number for a quiet machine.
        use: Has the model compute with so many.
    """

    def __init__(self, most: int, use: Callable[[int], None]) -> None:
        self._pace = ThreadPace(most)
        self._use = use
        self._shows: list[Callable[[int, int], None]] = []
        """Those of the answers that run."""
        self._fixed = 0
        """How many of them need a fixed number."""
        self.adapts = True

    @contextmanager
    def answer(self, show: Callable[[int, int], None], *, fixed: bool) -> Iterator[None]:
        """While an answer is written, with all threads where it needs a fixed number.

        `show` gets the number in use, and the most, where it is less than that and when it changes.
        """
        pace = self._pace
        self._shows.append(show)
        self._count(fixed)
        try:
            if pace.used < pace.most:
                if fixed:
                    pace.reset()
                    self._changed()
                else:
                    show(pace.used, pace.most)
            yield
        finally:
            self._shows.remove(show)
            self._count(-fixed)

    def _count(self, change: int) -> None:
        self._fixed += change
        self.adapts = not self._fixed

    @property
    def fewer(self) -> int | None:
        """The number in use where it is less than the most."""
        return self._pace.used if self._pace.used < self._pace.most else None

    def step(self, ns: int) -> None:
        """Count a step of one token that took `ns` nanoseconds."""
        if self._pace.step(ns):
            self._changed()

    def _changed(self) -> None:
        self._use(self._pace.used)
        for show in self._shows:
            show(self._pace.used, self._pace.most)
