"""Reporting an unexpected error of a worker: the traceback to the log, one sentence to the user."""

from __future__ import annotations

import logging
from collections.abc import Callable

from textual.worker import Worker, WorkerState

_log = logging.getLogger("workbench.screen")


def report_worker_error(event: Worker.StateChanged, show: Callable[[str], object]) -> None:
    """Log the error of a worker that has failed, and call `show` with a sentence; ignore other state changes."""
    if event.state is WorkerState.ERROR and (error := event.worker.error) is not None:
        _log.error("%s failed", event.worker.description, exc_info=error)
        what = f"{event.worker.description} failed: {type(error).__name__}"
        show(f"Unexpected error: {what}. The log has the details.")
