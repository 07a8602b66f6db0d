"""The queues of downloads on disk."""

from __future__ import annotations

import os
from pathlib import Path

from workbench.core.pulls import PullRequest
from workbench.store.pull_queue import PullQueueFiles

A, B = PullRequest("hf.co/u/r:A", "A", 10, "/folder", mmproj=False), PullRequest("ollama:b", "B")


def test_the_queue_of_a_program_that_runs_is_its_own_and_that_of_one_that_ended_is_taken_over(tmp_path: Path) -> None:
    first, second, third = (PullQueueFiles(tmp_path / "pulls") for _ in range(3))
    assert first.take_over() == []
    first.keep([A, B])
    assert second.take_over() == []
    # As the end of its program does.
    os.close(first._lock)
    assert second.take_over() == [A, B]
    assert third.take_over() == []
    second.keep([B])
    os.close(second._lock)
    assert third.take_over() == [B]
    third.keep([])
    assert PullQueueFiles(tmp_path / "pulls").take_over() == []


def test_a_damaged_queue_loses_only_itself(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('[{"ref": "hf.co/u/r:A", "label": "A"}, {"ref": 3}, 5')
    (tmp_path / "y.json").write_text('[{"ref": "hf.co/u/r:A", "label": "A"}, {"ref": 3}, 5]')
    assert PullQueueFiles(tmp_path).take_over() == [PullRequest("hf.co/u/r:A", "A")]


def test_a_full_disk_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    PullQueueFiles(tmp_path / "file" / "pulls").keep([A])
