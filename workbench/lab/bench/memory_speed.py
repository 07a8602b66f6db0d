"""Benchmark of memory bandwidth: the upper bound of decode speed on a CPU, which reads every weight for each token.

The C library's `memchr` searches a buffer larger than most caches for a byte that it does not contain, with one thread
per core, each in its own part. This only reads, as decoding does. The fastest pass counts, because disturbances only
make it slower. Where `memchr` is not available, as on Windows, a copy is timed, and the bytes read and written count.
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
"""A smaller buffer would measure the caches."""
MEMORY_SHARE = 8
"""The buffer takes at most this fraction of the free memory: one part in 8."""
BUDGET_S = 0.4
MOST_PASSES = 50
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """A measured memory bandwidth."""

    bytes_per_second: float
    method: str
    threads: int
    buffer_bytes: int
    passes: int


class _Part:
    """The part of the buffer of one thread."""

    def __init__(self, address: int, size: int, *, reads: bool) -> None:
        half = size // 2
        # A copy goes from one half to the other, so that the same number of bytes moves.
        self._arguments = (address, 0xFF, size) if reads else (address + half, address, half)
        self.bytes = size if reads else 2 * half
        self._address, self._size = address, size
        self.began = self.ended = 0.0

    def touch(self) -> None:
        """Write to every page, so that the system allocates it, close to the core that runs this."""
        ctypes.memset(self._address, 1, self._size)

    def go(self, function: Callable[..., object], clock: Callable[[], float]) -> None:
        """Move every byte once, and record start and end."""
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
    """Measure the memory bandwidth; None where there is too little free memory.

    Takes `budget_s`, and some time to allocate the memory. `reads`: whether to read; otherwise to copy.
    """
    size = min(buffer_bytes, free_bytes // MEMORY_SHARE)
    share = size // threads // _PAGE * _PAGE
    if size < min(buffer_bytes, SMALLEST_BUFFER) or share == 0:
        return None
    function = _function(reads=reads)
    with mmap.mmap(-1, share * threads) as memory:
        if hasattr(mmap, "MADV_HUGEPAGE"):
            # Allocating small pages takes longer than the measurement.
            with suppress(OSError):
                memory.madvise(mmap.MADV_HUGEPAGE)
        holder = ctypes.c_char.from_buffer(memory)
        try:
            start = ctypes.addressof(holder)
            parts = [_Part(start + index * share, share, reads=reads) for index in range(threads)]
            seconds, passes = _fastest_pass(parts, function, budget_s, clock)
        finally:
            # The memory cannot be released while something points into it.
            del holder
    moved = sum(part.bytes for part in parts)
    method = f"{'reading (memchr)' if reads else 'copying (memmove), read and written bytes'}, the fastest pass"
    return Bandwidth(moved / seconds, method, threads, share * threads, passes)


def _fastest_pass(
    parts: list[_Part], function: Callable[..., object], budget_s: float, clock: Callable[[], float]
) -> tuple[float, int]:
    """The duration of the fastest pass over all parts in seconds, and the number of passes."""
    gate = threading.Barrier(len(parts) + 1)

    def work(part: _Part) -> None:
        with suppress(threading.BrokenBarrierError):
            part.touch()
            gate.wait()
            while True:
                gate.wait()
                part.go(function, clock)
                gate.wait()

    workers = [threading.Thread(target=work, args=(part,), daemon=True) for part in parts]
    try:
        for worker in workers:
            worker.start()
        gate.wait()
        began, best, passes = clock(), float("inf"), 0
        while passes == 0 or (clock() - began < budget_s and passes < MOST_PASSES):
            gate.wait()
            gate.wait()
            # Timed in the threads: this one may be woken long after they began.
            best = min(best, max(part.ended for part in parts) - min(part.began for part in parts))
            passes += 1
    finally:
        # Even where Ctrl+C ends it: the caller releases the memory.
        gate.abort()
        for worker in workers:
            if worker.ident is not None:
                worker.join()
    return max(best, 1e-9), passes
