"""The queue of downloads, without a screen."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ui.pull.fakes import FakePullBook, FakePulls
from workbench.core.errors import DiskFullError
from workbench.core.pulls import PullProgress, PullRequest
from workbench.ui.job_queue.queue import QueuedJob
from workbench.ui.pull.lines import bar_line, job_row
from workbench.ui.pull.queue import QueuedPull, add_pull, find_pull, pull_queue, take_over

A, B, C = (PullRequest(f"hf.co/u/r:{name}", f"Model {name}", 100) for name in "ABC")


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_downloads_come_one_after_the_other_in_the_order_of_the_user() -> None:
    pulls, ended = FakePulls(), []
    queue = pull_queue(pulls, FakePullBook(), lambda job: ended.append(job.work))
    jobs = [add_pull(queue, each) for each in (A, B, C)]
    running = asyncio.ensure_future(queue.run())
    await turn()
    assert pulls.fetching == [A]
    queue.move(jobs[2], -1)
    for _ in range(3):
        pulls.release()
        await turn()
    await running
    assert ended == [A, C, B]
    assert [job.result for job in jobs] == ["/models/A.gguf", "/models/B.gguf", "/models/C.gguf"]


async def test_a_paused_download_lets_the_next_one_pass_and_goes_on_later() -> None:
    pulls = FakePulls()
    queue = pull_queue(pulls, FakePullBook(), lambda _: None)
    first, second = add_pull(queue, A), add_pull(queue, B)
    running = asyncio.ensure_future(queue.run())
    await turn()
    queue.stop(first)
    await turn()
    assert (first.state, second.state) == ("stopped", "running")
    queue.resume(first)
    pulls.release()
    await turn()
    assert (first.state, second.state) == ("running", "done")
    pulls.release()
    await running
    assert pulls.fetching == [A, B, A]


async def test_what_is_not_done_is_kept_for_the_next_run() -> None:
    pulls, book = FakePulls(), FakePullBook()
    queue = pull_queue(pulls, book, lambda _: None)
    for each in (A, B):
        add_pull(queue, each)
    running = asyncio.ensure_future(queue.run())
    await turn()
    assert book.kept == [A, B]
    pulls.release()
    await turn()
    assert book.kept == [B]
    await queue.shut_down()
    await running
    assert book.kept == [B]
    later = pull_queue(FakePulls(), FakePullBook([B]), lambda _: None)
    take_over(later, [B])
    assert [job.state for job in later.jobs] == ["stopped"]


async def test_a_failed_download_says_why_and_can_be_tried_again() -> None:
    pulls = FakePulls()
    queue = pull_queue(pulls, FakePullBook(), lambda _: None)
    job = add_pull(queue, A)
    pulls.error = DiskFullError("The disk is full.", "Free some space.")
    running = asyncio.ensure_future(queue.run())
    await turn()
    pulls.release()
    await running
    assert (job.state, job.error) == ("failed", pulls.error)
    assert add_pull(queue, A) is job
    assert job.state == "waiting"


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["add", "pause", "go_on", "up", "down", "remove"]), st.integers(0, 2))))
def test_a_download_is_in_the_queue_once_and_kept_until_it_is_done(steps) -> None:
    book = FakePullBook()
    queue = pull_queue(FakePulls(), book, lambda _: None)
    for step, number in steps:
        request = (A, B, C)[number]
        job = find_pull(queue, request.ref)
        if step == "add":
            add_pull(queue, request)
        elif job is not None:
            {
                "pause": queue.stop,
                "go_on": queue.resume,
                "up": lambda each: queue.move(each, -1),
                "down": lambda each: queue.move(each, 1),
                "remove": queue.remove,
            }[step](job)
    requests = [job.work for job in queue.jobs]
    assert len(set(requests)) == len(requests)
    assert list(book.kept) == requests


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("state", ["waiting", "running", "stopped", "done", "failed"])
def test_a_download_fits_in_its_row(state, width: int) -> None:
    name = "A-Model-With-A-Very-Long-Name-Of-Its-Own-70B-Instruct-GGUF Q4_K_M"
    job: QueuedPull = QueuedJob(PullRequest("r", name, 10**10), name)
    job.state = state
    for job.progress in (None, PullProgress("x", 10**9, 10**10, 0, 52_428_800.0, 3700.0)):
        assert job_row(job, width).cell_length <= width
        assert bar_line(job, 3, "F4 D", width).cell_length <= width
