"""The best memory bandwidth measured on this machine: a disturbed measurement is always too slow."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path

from workbench.core.bench import MemorySpeed
from workbench.core.json_reader import read_json
from workbench.store.files import replace_file

log = logging.getLogger(__name__)


def best_memory_speed(path: Path, processor: str, measured: MemorySpeed | None) -> MemorySpeed | None:
    """The better of `measured` and the record of this processor in the file `path`, which is updated."""
    known = [speed for speed in (_kept(path, processor), measured) if speed is not None]
    best = max(known, key=lambda speed: speed.bytes_per_s, default=None)
    if best is not None:
        try:
            replace_file(path, (json.dumps({processor: asdict(best)}, indent=1) + "\n").encode())
        except OSError as error:
            log.warning("%s: the memory bandwidth is not remembered: %s", path, error)
    return best


def _kept(path: Path, processor: str) -> MemorySpeed | None:
    try:
        content = json.loads(path.read_bytes())
        return read_json(MemorySpeed, content[processor])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
