"""Locked figures: what got worse beyond noise, and what did not."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest

from tests.lab.bench.fake_bencher import MACHINE, FakeBencher, FakeWatch
from tests.lab.decision.made import BUILD, FakeFile, bench, duel, evals, quality
from tests.ui.fakes import FakeAdviser
from workbench.core.cancel import CancelToken
from workbench.core.errors import TuneError
from workbench.core.json_reader import read_json
from workbench.lab.tune.lock import (
    LockFile,
    LockReport,
    as_json,
    as_markdown,
    changes_since,
    check_lockable,
    eval_rows,
    quality_rows,
    speed_rows,
)
from workbench.lab.tune.lock_check import beside_locked


@pytest.fixture
def files(tmp_path):
    return FakeFile(tmp_path, "F16", 100), FakeFile(tmp_path, "Q4_0", 50)


def verdicts(rows):
    return [(row.worse, row.better) for row in rows]


@pytest.mark.parametrize(
    ("speed", "expected"),
    [(50.0, (False, False)), (48.5, (False, False)), (40.0, (True, False)), (60.0, (False, True))],
)
def test_a_speed_is_worse_beyond_the_drift_of_a_machine(files, speed, expected):
    before = bench((files[0], 50.0), (files[1], 90.0))
    now = bench((files[0], speed), (files[1], 90.0), run="260202-000001-aaaa")
    assert verdicts(speed_rows(before, now)) == [expected, (False, False)]


def test_a_test_that_is_missing_fails_the_check(files):
    rows = speed_rows(bench((files[0], 50.0), (files[1], 90.0)), bench((files[0], 50.0)))
    assert [row.now is None for row in rows] == [False, True]
    report = LockReport(LockFile("", BUILD), BUILD, tuple(rows))
    assert report.is_worse
    assert report.sentence == "Nothing got worse beyond noise. Not measured again: m Q4_0 tg128."


def test_speeds_of_another_machine_are_not_compared(files):
    now = bench((files[0], 10.0), machine=replace(MACHINE, cpu_info="another"))
    (row,) = speed_rows(bench((files[0], 50.0)), now)
    assert (row.worse, row.interval, row.note) == (False, None, "another machine: not compared")


def test_a_file_that_changed_is_compared_side_by_side_with_the_locked_one(files):
    before = bench((files[0], 50.0))
    pairs = duel(files[0], files[1], 0.95).duels[0]
    (row,) = speed_rows(before, bench((files[0], 50.0)), {0: pairs})
    assert (row.worse, row.paired) == (True, True)


def test_divergences_are_compared_token_by_token(files):
    before = quality(files[0], (files[1], 0.05))
    assert verdicts(quality_rows(before, before)) == [(False, False), (False, False)]
    now = quality(files[0], (files[1], 0.06))
    assert verdicts(quality_rows(before, now)) == [(False, False), (True, False)]
    assert verdicts(quality_rows(now, before)) == [(False, False), (False, True)]


def test_another_text_is_no_comparison(files):
    (row,) = quality_rows(quality(files[0], (files[1], 0.05)), quality(files[0], (files[1], 0.05), text="other.txt"))
    assert (row.now, row.note) == (None, "the text has changed")


def test_prompts_are_compared_one_by_one(files):
    before = evals((files[0], "1" * 12))
    (row,) = eval_rows(before, evals((files[0], "1" * 4 + "0" * 8)))
    assert (row.worse, row.note) == (True, "8 lost, 0 gained of 12 prompts")
    (row,) = eval_rows(before, evals((files[0], "1" * 10 + "0" * 2)))
    assert not row.worse


def test_a_lock_is_read_back_and_reported(files):
    locked = LockFile(
        "2026-01-01T00:00:00Z", BUILD, (("/m/a.gguf", "sha256:a"), ("/m/b.gguf", "sha256:b")),
        (bench((files[0], 50.0)),), (quality(files[0], (files[1], 0.05)),), (evals((files[0], "110")),),
    )  # fmt: skip
    again = read_json(LockFile, json.loads(json.dumps(asdict(locked))))
    assert again == locked
    rows = (*speed_rows(locked.bench[0], bench((files[0], 30.0))), *eval_rows(locked.evals[0], None))
    changed = changes_since(locked, "llama.cpp 2", {"/m/a.gguf": "sha256:c"})
    assert changed == (
        f"The build was {BUILD}, and is llama.cpp 2 now.", "/m/a.gguf has changed.", "/m/b.gguf is gone.",
    )  # fmt: skip
    report = LockReport(locked, "llama.cpp 2", rows, changed)
    assert "Worse beyond noise: m F16 tg128." in as_markdown(report)
    assert as_json(report)["rows"][0]["worse"] is True


def test_what_cannot_be_locked(files):
    with pytest.raises(TuneError, match="of the kind pairs"):
        check_lockable(duel(*files, 1.0))


async def test_a_former_build_is_timed_beside_the_present_one(files):
    bencher = FakeBencher()
    tools = SimpleNamespace(bencher=bencher, watching=lambda _: nullcontext(FakeWatch()))
    record = bench((files[0], 50.0))
    found = await beside_locked(record, {}, tools, FakeAdviser(), CancelToken(), build="old")
    assert [case.settings.engine_host for case in bencher.opened] == ["old", "process"]
    (row,) = speed_rows(record, record, found)
    assert (row.paired, row.worse) == (True, False)
    assert await beside_locked(record, {}, tools, FakeAdviser(), CancelToken()) == {}
