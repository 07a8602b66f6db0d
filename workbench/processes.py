"""Child processes that exchange JSON lines with the program: orders in, events out.

Work that may crash, hang or compute beside the engine's thread runs in a child. An order is a JSON object on a line of
the child's standard input; the events that answer it are JSON objects on its standard output, and `END` is the last of
them. A child exits when its standard input closes, which happens when the parent dies or needs nothing more.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, NoReturn

JsonObject = dict[str, Any]

END: Final = {"event": "end"}
"""The event that follows the last one of an answer."""


class ProcessEndedError(Exception):
    """A child ended before it had answered."""


engines: set[int] = set()
"""The ids of the running children that compute answers: their memory and CPU time count as this program's."""


def start(
    module: str,
    *arguments: str,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
    errors: IO[bytes] | None = None,
) -> tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]:
    """Start `module` of this program with some Python; returns the process, its standard input and output.

    The child runs this file, which finds the program beside itself: the Python of another environment takes everything
    else from there.

    Its `environment` is added to that of this process. `errors` is a file for its standard error; None discards it.

    Raises:
        OSError: It cannot be started.
    """
    process = subprocess.Popen(
        [python, "-P", __file__, module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Unlike a pipe, a file need not be read while the child runs.
        stderr=subprocess.DEVNULL if errors is None else errors,
        env={**os.environ, **(environment or {})},
        # Ctrl+C reaches every process of the terminal's group: only the parent decides whether to stop.
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    return process, process.stdin, process.stdout


def take_output() -> IO[bytes]:
    """The standard output of this process; what anything else prints from now on is discarded."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return output


def last_lines(errors: IO[bytes], count: int = 1) -> list[str]:
    """The last lines that are not blank in the file of a child's standard error."""
    errors.seek(0)
    lines = errors.read().decode("utf-8", "replace").splitlines()
    return [line.strip() for line in lines if line.strip()][-count:]


class _Inbox:
    """The JSON objects that arrive on a stream, read by a thread of its own, which calls `on_end` last.

    A line that holds no JSON object, or is cut off where a process died, is skipped.
    """

    def __init__(self, stream: IO[bytes], on_end: Callable[[], None] = lambda: None) -> None:
        self._stream = stream
        self._on_end = on_end
        self._arrived: queue.SimpleQueue[JsonObject | None] = queue.SimpleQueue()
        self._notify: Callable[[], None] = lambda: None
        threading.Thread(target=self._read, name="JSON lines", daemon=True).start()

    def _read(self) -> None:
        with self._stream:
            for line in self._stream:
                with suppress(ValueError):
                    value = json.loads(line) if line.endswith(b"\n") else None
                    if isinstance(value, dict):
                        self._put(value)
        self._put(None)
        self._on_end()

    def _put(self, value: JsonObject | None) -> None:
        self._arrived.put(value)
        self._notify()

    def receive(self, within_s: float | None = None) -> JsonObject | None:
        """The next object; None once the stream has ended.

        Raises:
            TimeoutError: None came within this time.
        """
        try:
            value = self._arrived.get(timeout=within_s)
        except queue.Empty:
            raise TimeoutError from None
        if value is None:
            self._arrived.put(None)
        return value

    async def arrival(self) -> JsonObject | None:
        """`receive` for an event loop."""
        import asyncio

        loop, arrived = asyncio.get_running_loop(), asyncio.Event()

        def notify() -> None:
            # The loop may be closed by the time that the last line comes.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(arrived.set)

        # Set before the queue is looked at, so that nothing can arrive unseen in between.
        self._notify = notify
        while self._arrived.empty():
            await arrived.wait()
            arrived.clear()
        return self.receive()


class ChildProcess:
    """A running child, as its parent sees it: it runs `module`, whose `main` uses a `ParentChannel`.

    Its `environment` is added to that of this process. `errors` is a file for its standard error, which `last_error`
    reads; None discards it.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        errors: IO[bytes] | None = None,
    ) -> None:
        self._errors = errors
        self._process, self._stdin, output = start(module, *arguments, environment=environment, errors=errors)
        self._inbox = _Inbox(output)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def send(self, **order: object) -> None:
        """Give an order. That the child has ended shows when its answer is read."""
        with suppress(OSError, ValueError):
            self._stdin.write(json.dumps(order).encode() + b"\n")
            self._stdin.flush()

    def receive(self, within_s: float | None = None) -> JsonObject | None:
        """The next event; None once the child has ended.

        Raises:
            TimeoutError: None came within this time.
        """
        return self._inbox.receive(within_s)

    async def ask(self, **order: object) -> AsyncIterator[JsonObject]:
        """Give an order, and yield the events that answer it, without `END`.

        Raises:
            ProcessEndedError: The child ended before it had answered.
        """
        import asyncio

        await asyncio.to_thread(self.send, **order)
        while (event := await self._inbox.arrival()) != END:
            if event is None:
                raise ProcessEndedError
            yield event

    def kill(self) -> None:
        """End it at once; from any thread."""
        with suppress(OSError):
            self._process.kill()

    def close(self, within_s: float | None = None) -> int | None:
        """Close its standard input, at which it exits; returns its exit status, None where it runs after `within_s`.

        A process that a driver holds in the kernel is not gone until the driver lets go.
        """
        with suppress(OSError):
            self._stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)
        return self._process.returncode

    def last_error(self) -> str:
        """The last line on its standard error; empty where there is none."""
        if self._errors is None:
            return ""
        return "".join(last_lines(self._errors))


class ParentChannel:
    """The parent, as its child sees it.

    Standard output belongs to this object from now on: what anything else prints is discarded. `on_orphaned` is called
    before the process exits because its standard input has closed.
    """

    def __init__(self, on_orphaned: Callable[[], None] = lambda: None) -> None:
        self._output = take_output()
        self.on_orphaned = on_orphaned
        self._inbox = _Inbox(sys.stdin.buffer, self._orphaned)

    def _orphaned(self) -> None:
        self.on_orphaned()
        self.exit(1)

    def emit(self, **event: object) -> None:
        """Send an event; from any thread."""
        with suppress(BrokenPipeError):
            self._output.write(json.dumps(event).encode() + b"\n")
            self._output.flush()

    def orders(self) -> Iterator[JsonObject]:
        """The orders, as they come."""
        while (order := self._inbox.receive()) is not None:
            yield order

    async def next_order(self) -> JsonObject | None:
        """The next order; None when there are no more."""
        return await self._inbox.arrival()

    @staticmethod
    def exit(status: int = 0) -> NoReturn:
        """End this process without running what a driver registered for that, which may block."""
        os._exit(status)


def _run_module() -> None:
    """Run the module that the first argument names, with the program that this file belongs to."""
    import runpy
    from importlib.util import module_from_spec, spec_from_file_location

    folder = Path(__file__).resolve().parent
    name = folder.name
    spec = spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = package = module_from_spec(spec)
    spec.loader.exec_module(package)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _run_module()
