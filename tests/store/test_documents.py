from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.core.errors import TargetError
from workbench.store.documents import write_document
from workbench.store.races import RaceFolder


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


async def test_kept_races_can_be_read_again_and_damaged_ones_are_left_out(tmp_path: Path) -> None:
    times = iter((0.0, 60.0))
    races = RaceFolder(tmp_path, clock=lambda: next(times))
    lane = {"model": "Sea", "quant": "F16", "decode_tps": 9.5, "error": {"message": "truncated"}, "settings": {}}
    for question in ("first", "second"):
        await races.keep(races.new_id(), {"questions": [question], "lanes": [lane], "fastest": None})
    (tmp_path / "700101-000200-abcd.json").write_text('{"questions": 3}')
    (tmp_path / "notes.json").write_text("{}")
    kept = await races.kept()
    assert [race.questions for race in kept] == [("second",), ("first",)]
    assert kept[0].lanes[0].label == "Sea F16"
    assert kept[0].lanes[0].error is not None
    assert kept[0].lanes[0].error.message == "truncated"


async def test_a_race_that_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError):
        await RaceFolder(tmp_path / "file").keep("x", {})
