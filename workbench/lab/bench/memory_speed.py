"""How fast this machine reads its memory: the roof of decode speed on a processor, which reads every weight per token.

The C library's `memchr` looks for a byte that is not there through a buffer larger than most caches, in as many threads
as there are cores, each through a part of its own. That only reads, as decoding does; a copy would write as well. The
fastest pass counts: nothing makes memory faster than it is, and much makes it slower. Where there is no such `memchr`,
as on Windows, a copy is timed, and what it reads and what it writes are both counted.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

BUFFER_BYTES = 256 * 2**20
SMALLEST_BUFFER = 64 * 2**20
"""With less the caches would be measured."""
MEMORY_SHARE = 8
"""At most one part in so many of the free memory is taken."""
BUDGET_S = 0.4
MOST_PASSES = 50
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """What was measured."""

    bytes_per_second: float
    method: str
    threads: int
    buffer_bytes: int
    passes: int


class _Part:
    """What one thread goes through."""

    def __init__(self, address: int, size: int, *, reads: bool) -> None:
        half = size // 2
        # A copy goes from one half to the other, so that as many bytes move.
        self._arguments = (address, 0xFF, size) if reads else (address + half, address, half)
        self.bytes = size if reads else 2 * half
        self._address, self._size = address, size
        self.began = self.ended = 0.0

    def touch(self) -> None:
        """Make the system give real memory, from beside the core that runs this."""
        ctypes.memset(self._address, 1, self._size)

    def go(self, function: Callable[..., object], clock: Callable[[], float]) -> None:
        """Move every byte once, and note when."""
        self.began = clock()
        function(*self._arguments)
        self.ended = clock()


def _function(*, reads: bool) -> Callable[..., object]:
    if not reads:
        return ctypes.memmove
    memchr = ctypes.CDLL(None).memchr
    memchr.restype, memchr.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    found: Callable[..., object] = memchr
    return found


def measure_bandwidth(
    threads: int,
    free_bytes: int,
    *,
    buffer_bytes: int = BUFFER_BYTES,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.perf_counter,
    reads: bool = sys.platform != "win32",
) -> Bandwidth | None:
    """Measure it. Takes `budget_s`, and a little more to get the memory.

    Args:
        threads: How many threads read, one for each core.
        free_bytes: The memory that is free; a small part of it is used.
        buffer_bytes: How much memory to go through.
        budget_s: How long to repeat.
        clock: What times it.
        reads: Whether to read; otherwise to copy.

    Returns:
        None where there is not enough free memory to say anything.
    """
    size = min(buffer_bytes, free_bytes // MEMORY_SHARE)
    share = size // threads // _PAGE * _PAGE
    if size < min(buffer_bytes, SMALLEST_BUFFER) or share == 0:
        return None
    function = _function(reads=reads)
    with mmap.mmap(-1, share * threads) as memory:
        if hasattr(mmap, "MADV_HUGEPAGE"):
            # Getting memory in small pages takes longer than all that is measured.
            with suppress(OSError):
                memory.madvise(mmap.MADV_HUGEPAGE)
        holder = ctypes.c_char.from_buffer(memory)
        try:
            start = ctypes.addressof(holder)
            parts = [_Part(start + index * share, share, reads=reads) for index in range(threads)]
            seconds, passes = _fastest_pass(parts, function, budget_s, clock)
        finally:
            # The memory cannot be given back as long as something points into it.
            del holder
    moved = sum(part.bytes for part in parts)
    method = f"{'reading (memchr)' if reads else 'copying (memmove), read and written bytes'}, the fastest pass"
    return Bandwidth(moved / seconds, method, threads, share * threads, passes)


def _fastest_pass(
    parts: list[_Part], function: Callable[..., object], budget_s: float, clock: Callable[[], float]
) -> tuple[float, int]:
    """The seconds of the fastest pass through all parts at once, and how many there were."""
    gate = threading.Barrier(len(parts) + 1)
    done = threading.Event()

    def work(part: _Part) -> None:
        part.touch()
        gate.wait()
        while True:
            gate.wait()
            if done.is_set():
                return
            part.go(function, clock)
            gate.wait()

    workers = [threading.Thread(target=work, args=(part,), daemon=True) for part in parts]
    for worker in workers:
        worker.start()
    gate.wait()
    began, best, passes = clock(), float("inf"), 0
    while passes == 0 or (clock() - began < budget_s and passes < MOST_PASSES):
        gate.wait()
        gate.wait()
        # By the threads' own clocks: this one may be woken long after they began.
        best = min(best, max(part.ended for part in parts) - min(part.began for part in parts))
        passes += 1
    done.set()
    gate.wait()
    for worker in workers:
        worker.join()
    return max(best, 1e-9), passes
