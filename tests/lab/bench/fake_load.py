from __future__ import annotations

from workbench.core.sweep import LoadCost, LoadSample, LoadTarget

MS = 1_000_000


class FakeLoadClient:
    """A server that has four slots, and a client whose clock is only counted."""

    target = LoadTarget("http://somewhere:8000", "vLLM", "m")

    def __init__(self, slots=4, fails=lambda concurrency, number: "", counts=True):
        self.levels = []
        self.closed = False
        self._slots = slots
        self._fails = fails
        self._counts = counts

    async def run(self, level, cancel):
        self.levels.append(level)
        for number, prompt in enumerate(level.prompts):
            if cancel.is_set:
                return
            tokens = 30 + 2 * len(prompt.split()[12:]) if self._counts else None
            begun = number // self._slots * 1000 * MS
            error = self._fails(level.concurrency, number)
            first, last = begun + 100 * MS, begun + 1000 * MS
            waits = max(0, level.concurrency - self._slots) * 300 * MS
            sent = max(0, begun - waits)
            if error:
                yield LoadSample(sent, last, error=error)
            else:
                yield LoadSample(sent, last, first, last, tokens, 0, level.n_gen)
        yield LoadCost(10**9, 10**8, 10**6)

    async def close(self):
        self.closed = True
