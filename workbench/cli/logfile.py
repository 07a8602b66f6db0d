"""The log file, in which every command has the details of its errors."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from typing_extensions import override

from workbench.store.files import make_folder, open_private

LOG_FILE_BYTES = 2_000_000
LOG_FILES = 3


class _PrivateLogFile(RotatingFileHandler):
    """A log file that its owner alone may read: messages may quote a conversation. Made with the first line."""

    @override
    def _open(self) -> TextIOWrapper:
        make_folder(Path(self.baseFilename).parent)
        os.close(open_private(self.baseFilename, os.O_WRONLY | os.O_CREAT))
        return super()._open()

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """Drop a line that cannot be written, such as on a full disk, and begin with the next one on a new stream."""
        stream, self.stream = self.stream, None
        if stream is not None:
            # What it still holds would fail again when it is closed.
            with suppress(OSError, ValueError):
                stream.close()

    @override
    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def logged(path: Path, handler: logging.Handler) -> Iterator[None]:
    """Send log lines to `handler` and to the log file `path`, and nowhere else, inside the `with` block."""
    logger = logging.getLogger("workbench")
    before = logger.level, logger.propagate, logger.handlers
    file = _PrivateLogFile(path, maxBytes=LOG_FILE_BYTES, backupCount=LOG_FILES, encoding="utf-8", delay=True)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers = [handler, file]
    try:
        yield
    finally:
        for each in (handler, file):
            each.close()
        _, logger.propagate, logger.handlers = before
        logger.setLevel(before[0])
