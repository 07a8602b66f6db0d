"""The queue of quantizations, and what a user chooses from."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ui.fakes import FakeFiles
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, DiskFullError, TargetError
from workbench.core.models import ModelEntry
from workbench.core.units import duration_text
from workbench.gguf.quantization import (
    ProgressListener,
    QuantizeJob,
    QuantizePlan,
    QuantizeProgress,
    QuantizeResult,
    is_own_folder,
    target_folder,
)
from workbench.gguf.targets import QUANT_TYPES, TargetSize
from workbench.ui.job_queue.queue import QueuedJob
from workbench.ui.quantize.choices import Choices, first_choice, sources_of
from workbench.ui.quantize.job_bar import job_line
from workbench.ui.quantize.queue import QueuedQuantization, add_quantization, quantize_queue

KINDS = tuple(QUANT_TYPES.values())


class SlowFiles(FakeFiles):
    """Ends a quantization when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[Path] = []
        self.go_on = asyncio.Event()
        self.error: Exception | None = None

    async def quantize(self, job: QuantizeJob, on_progress: ProgressListener, cancel: CancelToken) -> QuantizeResult:
        self.begun.append(job.target)
        on_progress(QuantizeProgress(10, 40, "blk.3.ffn_up.weight", 0.25, 2.0, 400_000_000))
        cancel.on_set(self.go_on.set)
        await self.go_on.wait()
        if cancel.is_set:
            self.go_on.clear()
            raise CancelledError("Quantizing was stopped.")
        if self.error is not None:
            raise self.error
        return QuantizeResult(job.target, job.kind, 105_000_000, 6.17, 12.0, 11.0, ())


def job(name: str = "a", kind: str = "Q4_K_M") -> QuantizeJob:
    return QuantizeJob(Path("/m/source.gguf"), Path(f"/m/{name}.gguf"), QUANT_TYPES[kind])


async def begun(files: SlowFiles, count: int) -> None:
    async with asyncio.timeout(5):
        while len(files.begun) < count:
            await asyncio.sleep(0)


async def test_nothing_waits_for_a_queue_that_an_unexpected_error_has_ended():
    files = SlowFiles()
    files.error = RuntimeError("unexpected")
    files.go_on.set()
    queue = quantize_queue(files, lambda _: None)
    jobs = [add_quantization(queue, job(name), "Tiny") for name in "ab"]
    with pytest.raises(RuntimeError):
        await queue.run()
    assert [each.state for each in jobs] == ["stopped", "stopped"]
    assert all(each.ended.is_set() for each in jobs)


async def test_one_after_the_other():
    files, ended = SlowFiles(), []
    queue = quantize_queue(files, ended.append)
    first, second = add_quantization(queue, job("a"), "Tiny"), add_quantization(queue, job("b", "Q8_0"), "Tiny")
    running = asyncio.create_task(queue.run())
    await begun(files, 1)
    assert (first.state, second.state, queue.running, queue.waiting) == ("running", "waiting", first, 1)
    assert first.progress is not None
    assert first.progress.bytes_per_second == 50_000_000
    assert first.progress.seconds_left == 6.0
    # A second call does not make a second worker.
    await queue.run()
    assert len(files.begun) == 1
    files.go_on.set()
    await running
    assert [queued.state for queued in queue.jobs] == ["done", "done"]
    assert ended == [first, second]
    assert not queue.is_busy


async def test_stopping_the_one_that_runs_begins_the_next():
    files, ended = SlowFiles(), []
    queue = quantize_queue(files, ended.append)
    first, second = add_quantization(queue, job("a"), "Tiny"), add_quantization(queue, job("b"), "Tiny")
    running = asyncio.create_task(queue.run())
    await begun(files, 1)
    queue.stop(first)
    await begun(files, 2)
    assert (first.state, second.state) == ("stopped", "running")
    files.go_on.set()
    await running
    assert second.state == "done"


async def test_shutting_down_leaves_nothing():
    files, ended = SlowFiles(), []
    queue = quantize_queue(files, ended.append)
    await queue.shut_down()
    first, second = add_quantization(queue, job("a"), "Tiny"), add_quantization(queue, job("b"), "Tiny")
    running = asyncio.create_task(queue.run())
    await begun(files, 1)
    await asyncio.wait_for(queue.shut_down(), 5)
    await running
    assert (first.state, second.state) == ("stopped", "stopped")
    assert files.begun == [job("a").target]


async def test_a_failure_does_not_hold_up_the_others():
    files, ended = SlowFiles(), []
    queue = quantize_queue(files, ended.append)
    files.error = DiskFullError("/m: the disk is full.", "Make room.")
    files.go_on.set()
    first, second = add_quantization(queue, job("a"), "Tiny"), add_quantization(queue, job("b"), "Tiny")
    await queue.run()
    assert (first.state, second.state) == ("failed", "failed")
    assert first.error is files.error
    files.error = PermissionError(13, "Permission denied")
    third = add_quantization(queue, job("c"), "Tiny")
    await queue.run()
    assert third.error is not None
    assert "Permission denied" in third.error.message
    queue.remove(first)
    assert queue.jobs == (second, third)


async def test_one_file_is_not_made_twice_at_once():
    files = SlowFiles()
    queue = quantize_queue(files, lambda _: None)
    queued = add_quantization(queue, job("a"), "Tiny")
    with pytest.raises(TargetError):
        add_quantization(queue, job("a"), "Tiny")
    queue.stop(queued)
    assert add_quantization(queue, job("a"), "Tiny").state == "waiting"


async def test_an_unexpected_error_does_not_leave_it_running():
    files = SlowFiles()
    queue = quantize_queue(files, lambda _: None)
    files.error = ValueError("unforeseen")
    files.go_on.set()
    queued = add_quantization(queue, job("a"), "Tiny")
    with pytest.raises(ValueError, match="unforeseen"):
        await queue.run()
    assert queued.state == "stopped"
    await asyncio.wait_for(queue.shut_down(), 5)


def entry(quant: str | None, size: int = 1, **more: object) -> ModelEntry:
    return replace(ModelEntry(f"m:{quant}", "Tiny", quant, f"/m/{quant}.gguf", size), **more)


def test_sources_are_in_the_order_of_their_worth():
    models = [entry("Q4_K_M", 4), entry("Q8_0", 8), entry("F16", 16), entry("BF16", 16), entry("F32", 32)]
    models += [entry("Q6_K", 6, problem="truncated"), entry("Q5_0", 5, path=None), entry(None, 7)]
    found = [model.quant for model in sources_of(models[0], models)]
    assert found == ["F32", "BF16", "F16", None, "Q8_0", "Q4_K_M"]
    assert [model.quant for model in sources_of(models[0], ())] == ["Q4_K_M"]


def test_the_first_choice_is_not_there_yet():
    assert KINDS[first_choice(KINDS, frozenset())].name == "Q4_K_M"
    assert KINDS[first_choice(KINDS, frozenset({"Q4_K_M", "Q8_0"}))].name == "Q6_K"


def row(name: str, choices: Choices, width: int = 100) -> str:
    return choices.table().row(QUANT_TYPES[name], width).plain.rstrip()


def test_rows_of_types():
    choices = Choices(frozenset({"Q8_0"}), source_bytes=200_000_000, free_bytes=1_000_000_000)
    assert "≈4.5" in row("Q4_K_M", choices)
    size = TargetSize(100_000_000, 99_000_000, 6.17, 0)
    for name in ("Q4_K_M", "Q8_0"):
        choices.plans[name] = QuantizePlan(QUANT_TYPES[name], size)
    choices.plans["IQ1_S"] = QuantizePlan(QUANT_TYPES["IQ1_S"], size, needs_imatrix=True)
    choices.plans["Q1_0"] = QuantizePlan(QUANT_TYPES["Q1_0"], None, "no tensor type fallback\x1b[2J")
    assert row("Q4_K_M", choices).split()[1:7] == ["6.17", "95.4", "MiB", "50", "%", "helps"]
    assert row("Q8_0", choices).startswith("✓ Q8_0")
    assert "needed" in row("IQ1_S", choices)
    assert "cannot be made: no tensor type fallback␛[2J" in row("Q1_0", choices)
    choices.free_bytes = 50_000_000
    assert choices.lacks_room(choices.plans["Q4_K_M"])
    assert len(Choices(frozenset()).table().header(60)) <= 60


def test_where_it_is_written(tmp_path):
    own, blobs, package = tmp_path / "own", tmp_path / "store" / "blobs", tmp_path / "package"
    for folder in (own, blobs, package):
        folder.mkdir(parents=True)
        (folder / "a.gguf").touch()
    (package / "__init__.py").touch()
    (own / "link.gguf").symlink_to(blobs / "a.gguf")
    assert target_folder(own / "a.gguf", None, [], tmp_path) == own
    assert target_folder(own / "a.gguf", tmp_path / "configured", [], tmp_path) == tmp_path / "configured"
    for source in (blobs / "a.gguf", package / "a.gguf", own / "link.gguf"):
        assert not is_own_folder(source)
        assert target_folder(source, None, [tmp_path / "missing", own], tmp_path) == own
        assert target_folder(source, None, [tmp_path / "missing"], tmp_path) == tmp_path


def test_times():
    assert [duration_text(seconds) for seconds in (None, 0.4, 61, 3_725)] == ["—", "0:00", "1:01", "1:02:05"]


@pytest.mark.parametrize("width", [40, 65, 80, 120])
def test_the_line_of_a_job_fits_and_names_the_quantization(width):
    queued: QueuedQuantization = QueuedJob(job(), "A-Model-With-A-Very-Long-Name-Of-Its-Own-70B Q4_K_M")
    for state in ("waiting", "running", "stopped"):
        queued.state = state
        line = job_line(queued, "^G", 2, width).plain
        assert "Q4_K_M" in line
    queued.progress = QuantizeProgress(10, 40, "blk.3.ffn_up.weight", 0.25, 2.0, 400_000_000)
    queued.state = "running"
    line = job_line(queued, "^G", 2, width)
    assert line.cell_length <= max(width, 50)
    assert "25 %" in line.plain
    queued.state, queued.result = (
        "done",
        QuantizeResult(queued.work.target, queued.work.kind, 10**8, 6.17, 12.0, 11.0, ()),
    )
    assert "Q4_K_M is ready: 95.4 MiB in 0:12" in job_line(queued, "^G", 0, width).plain
    queued.state, queued.error = "failed", DiskFullError("/m: the disk is full.")
    assert "failed: /m" in job_line(queued, "^G", 0, width).plain
