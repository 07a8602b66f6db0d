"""Reading of model files in a child process: it holds the GIL for most of the time, and a screen would wait for it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

from workbench.core.json_reader import read_json
from workbench.gguf.cursor import KnownStrings
from workbench.library.file_facts import FileFacts, read_facts
from workbench.library.folders import ModelFile
from workbench.processes import ChildProcess, ParentChannel

NICENESS = 5
STOP_SECONDS = 0.1
"""How often a reader that waits for a slow disk checks whether it was stopped."""


class FactsProcess:
    """The child process, as the program sees it. Not thread-safe."""

    def __init__(self) -> None:
        self._child = ChildProcess(__name__)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.kill()
        self._child.close()

    def read(self, file: ModelFile, stop: Event) -> FileFacts | None:
        """As `read_facts`; None where the process has ended. Facts of a stopped reading are only a problem."""
        if not stop.is_set():
            self._child.send(paths=[str(path) for path in file.paths], size=file.size_bytes, missing=file.missing)
        while not stop.is_set():
            with suppress(TimeoutError):
                event = self._child.receive(STOP_SECONDS)
                return None if event is None else read_json(FileFacts, event)
        return FileFacts(problem="reading it was stopped")


def main() -> None:
    """Read each file that is ordered, until the program closes the pipe."""
    with suppress(AttributeError, OSError):
        os.nice(NICENESS)
    channel, known = ParentChannel(), KnownStrings()
    for order in channel.orders():
        file = ModelFile(tuple(map(Path, order["paths"])), order["size"], tuple(order["missing"]))
        channel.emit(**asdict(read_facts(file, known)))


if __name__ == "__main__":
    main()
