"""The memory bandwidth that the processors reach, by copying."""

from __future__ import annotations

import ctypes
import threading
import time

from workbench.core.bench import MemorySpeed

TOTAL_BYTES = 512 * 2**20
"""Memory that is taken for it, by all threads together: more than any cache holds."""

SMALLEST_BYTES = 4 * 2**20
"""A thread copies so much at least."""

ROUNDS = 4
"""The best one counts: whatever disturbs makes it slower."""


def measure_memory_speed(threads: int, total_bytes: int = TOTAL_BYTES, rounds: int = ROUNDS) -> MemorySpeed:
    """Copy with so many threads at once; what is read and what is written both count."""
    threads = max(1, threads)
    size = max(SMALLEST_BYTES, total_bytes // (2 * threads))
    blocks = [(bytearray(size), bytearray(size)) for _ in range(threads)]
    best = max(_copy_all(blocks, size) for _ in range(rounds))
    method = f"memmove of {size * 2 * threads / 2**20:.0f} MiB by {threads} threads, reads and writes counted"
    return MemorySpeed(best, method)


def _copy_all(blocks: list[tuple[bytearray, bytearray]], size: int) -> float:
    """Bytes a second, from the first thread's start to the last one's end."""
    gate = threading.Barrier(len(blocks))
    spans: list[tuple[int, int]] = []

    def copy(source: bytearray, target: bytearray) -> None:
        kind = ctypes.c_char * size
        read, write = kind.from_buffer(source), kind.from_buffer(target)
        gate.wait()
        began = time.perf_counter_ns()
        ctypes.memmove(write, read, size)
        spans.append((began, time.perf_counter_ns()))

    workers = [threading.Thread(target=copy, args=block) for block in blocks]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    taken = max(end for _, end in spans) - min(began for began, _ in spans)
    return 2 * size * len(blocks) * 1e9 / max(1, taken)
