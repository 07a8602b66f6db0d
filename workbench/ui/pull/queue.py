"""The queue of downloads: what it has outlasts the program."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from workbench.core.pulls import PullBook, PullProgress, PullRequest, Pulls
from workbench.ui.job_queue.queue import JobQueue, QueuedJob

QueuedPull: TypeAlias = QueuedJob[PullRequest, PullProgress, str]
"""A download; its result is the path to open."""
PullQueue: TypeAlias = JobQueue[PullRequest, PullProgress, str]


def pull_queue(pulls: Pulls, book: PullBook, on_end: Callable[[QueuedPull], object]) -> PullQueue:
    """A queue of downloads; those that are not done are kept in `book`, in their order."""
    return JobQueue(pulls.fetch, on_end, lambda jobs: book.keep([job.work for job in jobs if job.state != "done"]))


def find_pull(queue: PullQueue, ref: str) -> QueuedPull | None:
    """The download of a reference."""
    return next((job for job in queue.jobs if job.work.ref == ref), None)


def add_pull(queue: PullQueue, request: PullRequest) -> QueuedPull:
    """Queue a download; one of the same reference that is there goes on instead."""
    job = find_pull(queue, request.ref)
    if job is not None and job.state != "done":
        queue.resume(job)
        return job
    if job is not None:
        queue.remove(job)
    job = QueuedJob(request, request.label)
    queue.add(job)
    return job


def take_over(queue: PullQueue, requests: Iterable[PullRequest]) -> None:
    """Queue the downloads that an earlier run of the program left; they wait for the user."""
    new = [request for request in requests if find_pull(queue, request.ref) is None]
    queue.add(*(QueuedJob(request, request.label, "stopped") for request in new))
