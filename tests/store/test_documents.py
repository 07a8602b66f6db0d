from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core.errors import TargetError
from workbench.store.documents import write_document


async def test_nothing_is_overwritten(tmp_path: Path) -> None:
    assert await write_document(tmp_path / "race.md", "one") == tmp_path / "race.md"
    assert await write_document(tmp_path / "race.md", "two\udcff") == tmp_path / "race-2.md"
    assert (tmp_path / "race.md").read_text() == "one"


async def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError):
        await write_document(tmp_path / "file" / "race.md", "x")
