"""The child processes that host engines: one for each build of llama.cpp, started when it is needed.

All models of a build are in one process, where one thread computes: lanes of a race are stepped in turn there. The
process ends when its last model is closed, which gives everything back that it held, whatever a driver would keep. The
KV states that it has kept are handed over to the next one.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from workbench.core.engine_hosts import CHILD
from workbench.core.errors import EngineError, ParameterError, WorkbenchError, did_you_mean
from workbench.core.user_path import expanded
from workbench.engine.child.process import EngineProcess
from workbench.engine.child.values import ROOT, HostOptions
from workbench.engine.llama.runtime import outcome
from workbench.engine.llama.states import KeptState

START_S = 60.0
"""How long a process may take to start: it imports what the engine needs."""
HAND_OVER_S = 10.0
"""How long a process may take for a state that it has kept."""
MOST_BUILDS = 4
"""Processes that start or end at the same time."""

_logger = logging.getLogger(__name__)


@dataclass
class _Seat:
    """The place of one build's process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a process starts or ends."""
    process: EngineProcess | None = None
    kept: list[KeptState] = field(default_factory=list)
    """The states of the process that has ended."""


class EngineSeats:
    """Starts and ends the processes. `builds` are environments by name; `options` are asked for at each start."""

    def __init__(self, options: Callable[[], HostOptions], builds: Mapping[str, str]) -> None:
        self._options = options
        self._builds = builds
        self._seats: dict[str, _Seat] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(MOST_BUILDS, "engine processes")
        """Start and end processes, which may take seconds."""

    async def take(self, name: str) -> EngineProcess:
        """The running process of a build, to be given back with `leave`.

        Raises:
            ParameterError: There is no such build.
            EngineError: It does not start.
        """
        with self._lock:
            seat = self._seats.setdefault(name, _Seat())
        starting = self._threads.submit(self._take, seat, name)
        try:
            return await outcome(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._give_back)
            raise

    async def leave(self, process: EngineProcess, *, keep: bool = False) -> None:
        """End a process that nobody else uses; `keep` leaves it for the next one, where nothing was loaded."""
        await outcome(self._threads.submit(self._leave, process, keep=keep))

    async def shutdown(self) -> None:
        """End all processes."""
        for seat in self._seats.values():
            if seat.process is not None:
                await outcome(self._threads.submit(seat.process.close))

    def python(self, name: str) -> str:
        """The interpreter of a build.

        Raises:
            ParameterError: There is no such build.
            EngineError: Its environment has none.
        """
        if name == CHILD:
            return sys.executable
        if name not in self._builds:
            known = did_you_mean(name, self._builds) or f'The config names them: [builds], {name} = "FOLDER".'
            raise ParameterError(f"There is no build {name!r}.", known)
        path = expanded(self._builds[name])
        places = (path, path / "bin" / "python", path / "Scripts" / "python.exe")
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise EngineError(
                f"The build {name} has no Python in {path}.", "Name the folder of an environment in [builds]."
            )
        return str(found.absolute())

    def _give_back(self, started: Future[EngineProcess]) -> None:
        """Leave a process that was taken for a task that has been cancelled."""
        if started.exception() is None:
            self._threads.submit(self._leave, started.result(), keep=True)

    def _take(self, seat: _Seat, name: str) -> EngineProcess:
        with seat.lock:
            if seat.process is None or seat.process.ended is not None:
                self._start(seat, name)
            assert seat.process is not None
            seat.process.users += 1
            return seat.process

    def _start(self, seat: _Seat, name: str) -> None:
        label = "The engine's process" if name == CHILD else f"The process of the build {name}"
        python = self.python(name)
        try:
            # Known from now on, so that `shutdown` ends it.
            seat.process = process = EngineProcess(name, label, python)
        except OSError as error:
            raise EngineError(f"{label} does not start: {error.strerror or error}.", f"It is {python}.") from None
        kept, seat.kept = seat.kept, []
        try:
            process.submit(ROOT, "start", self._options(), kept).result(START_S)
        except TimeoutError:
            process.kill()
            raise EngineError(f"{label} does not respond after {START_S:g} seconds.", f"It is {python}.") from None
        except WorkbenchError as error:
            hint = (
                f"Its environment needs llama-cpp-python and the packages that workbench needs: it is that of {python}."
            )
            raise EngineError(error.message, hint if name != CHILD else error.hint) from None

    def _leave(self, process: EngineProcess, *, keep: bool) -> None:
        seat = self._seats[process.name]
        with seat.lock:
            process.users -= 1
            if process.users or keep or process is not seat.process:
                return
            try:
                while (state := process.submit(ROOT, "next_state").result(HAND_OVER_S)) is not None:
                    seat.kept.append(state)
            except WorkbenchError:
                # It has ended: what it knew is lost, which costs a prefill.
                pass
            except TimeoutError:
                _logger.warning("The states that the engine's process has kept are lost: it does not respond.")
            process.close()
            seat.process = None
