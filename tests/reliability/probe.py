"""What the soak run looks at inside the program, which runs these statements before it starts.

On SIGUSR1 the program writes `probe.json` into its home: native contexts and models that exist, threads, and what its
memory is used for.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.program import Program

START = "import tests.reliability.probe as probe; probe.install()"
_FILE = "probe.json"
_live = {"contexts": 0, "models": 0}
_caches: list[Any] = []


class HeapUse(ctypes.Structure):
    """`struct mallinfo2` of glibc, in bytes, over all threads."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip

    @property
    def handed_out(self) -> int:
        """What the program has and has not given back, large blocks with mappings of their own included."""
        return self.uordblks + self.hblkhd

    @property
    def reserve(self) -> int:
        """What was given back and is kept for the next."""
        return self.fordblks


def heap_use() -> HeapUse:
    """The heap of C now. Only glibc knows it."""
    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = HeapUse
    return ask()


def _count(api: Any, make: str, free: str, what: str) -> None:
    made, freed = getattr(api, make), getattr(api, free)

    def counted_make(*arguments: Any) -> Any:
        found = made(*arguments)
        _live[what] += bool(found)
        return found

    def counted_free(pointer: Any) -> None:
        _live[what] -= 1
        freed(pointer)

    setattr(api, make, counted_make)
    setattr(api, free, counted_free)


def install() -> None:
    """Count from now on, and answer the signal."""
    from llama_cpp import llama_cpp as api

    from workbench.engine.llama.states import StateCache

    make_cache = StateCache.__init__

    def kept_cache(self: StateCache, budget_bytes: int) -> None:
        make_cache(self, budget_bytes)
        _caches.append(self)

    StateCache.__init__ = kept_cache

    _count(api, "llama_init_from_model", "llama_free", "contexts")
    _count(api, "llama_model_load_from_file", "llama_model_free", "models")

    def write(*_: object) -> None:
        target = Path(os.environ["WORKBENCH_HOME"]) / _FILE
        heap = heap_use()
        found = {
            **_live,
            "threads": sorted(thread.name for thread in threading.enumerate()),
            "state_bytes": sum(cache.size_bytes for cache in _caches),
            "heap_bytes": heap.handed_out,
            "free_heap_bytes": heap.reserve,
            "blocks": sys.getallocatedblocks(),
        }
        target.with_suffix(".part").write_text(json.dumps(found), encoding="utf-8")
        target.with_suffix(".part").replace(target)

    signal.signal(signal.SIGUSR1, write)


def look(program: Program, seconds: float = 10) -> dict[str, Any]:
    """Ask the program."""
    target = program.home / _FILE
    target.unlink(missing_ok=True)
    os.kill(program.pid, signal.SIGUSR1)
    deadline = time.monotonic() + seconds
    while not target.exists():
        if time.monotonic() > deadline or not program.is_running:
            raise TimeoutError(f"the program does not answer:\n{program.text}")
        program.drain(0.05)
    return json.loads(target.read_text(encoding="utf-8"))
