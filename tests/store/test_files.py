from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from workbench.core.errors import TargetError
from workbench.store.files import write_copy


def noon() -> float:
    return time.mktime((2026, 11, 21, 12, 30, 5, 0, 0, -1))


def test_each_copy_is_a_private_file_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    old = os.umask(0)
    try:
        first, second = write_copy(folder, "eins\n", noon), write_copy(folder, "zwei ü\ud800", noon)
    finally:
        os.umask(old)
    assert (first.name, second.name) == ("copied-20261121-123005.txt", "copied-20261121-123005-2.txt")
    assert (first.read_bytes(), second.read_bytes()) == (b"eins\n", "zwei ü?".encode())
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert len(list(folder.iterdir())) == 2


def test_what_cannot_be_written_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "exports").write_text("in the way")
    with pytest.raises(TargetError, match="cannot be written"):
        write_copy(tmp_path / "exports", "text", noon)
    assert [path.name for path in tmp_path.iterdir()] == ["exports"]
