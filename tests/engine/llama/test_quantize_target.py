"""The temporary file of a quantization."""

from __future__ import annotations

import os
from pathlib import Path

from workbench.engine.llama.quantize.target import ABANDONED_AFTER_S, temporary_path


def age(path: Path, seconds: float) -> Path:
    path.write_bytes(b"x")
    at = path.stat().st_mtime - seconds
    os.utime(path, (at, at))
    return path


def test_what_killed_programs_left_is_removed_and_nothing_else(tmp_path):
    old = ABANDONED_AFTER_S + 60
    age(tmp_path / ".Tiny-Q8_0.gguf.0123abcd.part", old)
    kept = [
        age(tmp_path / ".Tiny-Q4_0.gguf.0123abcd.part", ABANDONED_AFTER_S - 60),
        age(tmp_path / ".download.part", old),
        age(tmp_path / "Tiny-Q8_0.gguf.0123abcd.part", old),
        age(tmp_path / ".Tiny-Q8_0.gguf.0123abcd", old),
    ]
    (tmp_path / ".folder.0123abcd.part").mkdir()
    os.utime(tmp_path / ".folder.0123abcd.part", (0, 0))
    temporary_path(tmp_path / "New-Q8_0.gguf")
    assert {*tmp_path.iterdir()} == {*kept, tmp_path / ".folder.0123abcd.part"}
