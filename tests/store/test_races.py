from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.core.errors import TargetError
from workbench.store.races import RaceFolder


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
