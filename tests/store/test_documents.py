from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.core.errors import TargetError
from workbench.store.documents import RaceFolder, write_document


async def test_nothing_is_overwritten(tmp_path: Path) -> None:
    assert await write_document(tmp_path / "race.md", "one") == tmp_path / "race.md"
    assert await write_document(tmp_path / "race.md", "two\udcff") == tmp_path / "race-2.md"
    assert (tmp_path / "race.md").read_text() == "one"


async def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError):
        await write_document(tmp_path / "file" / "race.md", "x")


async def test_a_race_is_kept_and_kept_again(tmp_path: Path) -> None:
    races = RaceFolder(tmp_path / "races", clock=lambda: 0.0)
    race = races.new_id()
    assert race.startswith("700101-000000-")
    for count in (1, 2):
        await races.keep(race, {"questions": ["ä"] * count})
    (path,) = (tmp_path / "races").iterdir()
    assert json.loads(path.read_text()) == {"questions": ["ä", "ä"]}


async def test_a_race_that_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError):
        await RaceFolder(tmp_path / "file").keep("x", {})
