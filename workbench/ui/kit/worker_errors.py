"""Reporting an unexpected error of a worker: the traceback to the log, one sentence to the user."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from textual.worker import Worker, WorkerState

from workbench.core.logbook import LogBook


def report_worker_error(event: Worker.StateChanged, logs: LogBook, show: Callable[[str], object]) -> None:
    """Report the error of a worker that has failed; does nothing for other state changes.

    Args:
        event: The state change.
        logs: Takes the traceback.
        show: Shows a sentence to the user.
    """
    if event.state is WorkerState.ERROR and (error := event.worker.error) is not None:
        for line in "".join(traceback.format_exception(error)).rstrip().split("\n"):
            logs.add("error", "screen", line)
        show(f"Unexpected error: {event.worker.description} failed: {type(error).__name__}.")
