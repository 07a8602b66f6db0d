"""A child process that hosts an engine, as the program sees it: calls, streams of events, and how it ended."""

from __future__ import annotations

import itertools
import logging
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import IO

from workbench import processes
from workbench.core.cancel import CancelToken
from workbench.core.errors import EngineError, WorkbenchError
from workbench.core.events import Failed
from workbench.engine.child.values import Aborting, Called, CancelSet, Events, Logged, MethodCall, Passed, Returned
from workbench.engine.child.wire import Callback, Frame, messages, pack, write
from workbench.engine.llama.runtime import outcome
from workbench.engine.outbox import Outbox

WORKER = "workbench.engine.child.worker"
END_S = 5.0
"""How long a process may take to end after its input has closed."""
LAST_LINES = 2
"""Lines of the log that are shown where it ended by itself."""
MOST_LINES = 2_000
"""Lines that the interpreter and native code may have written about the end."""
LONGEST_WORDS = 400
"""Characters of what is shown of them."""

_logger = logging.getLogger(__name__)
_SIGNALS = {
    "SIGKILL": "was killed (SIGKILL), as the system does where memory runs out",
    "SIGSEGV": "crashed (SIGSEGV)",
    "SIGABRT": "ended itself (SIGABRT)",
}


class EngineProcess:
    """A running child. What it computes and holds ends with it: then each call fails with the same error.

    `name` is that of its build, whose environment has the interpreter `python`; `label` names it in messages. All
    methods may be called from any thread.

    Raises:
        OSError: It cannot be started.
    """

    users: int = 0
    """The models that are open in it or about to be; `EngineSeats` counts them."""

    def __init__(self, name: str, label: str, python: str) -> None:
        self.name = name
        self._label = label
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        environment = {"GGML_NO_BACKTRACE": "1"}
        self._process, self._input, output = processes.start(
            WORKER, python=python, environment=environment, errors=self._errors
        )
        processes.engines.add(self._process.pid)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._calls: dict[int, Future[Passed]] = {}
        self._streams: dict[int, Outbox] = {}
        self._callbacks: dict[int, Callable[..., object]] = {}
        self._outgoing: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._closing = False
        self._words: deque[str] = deque(maxlen=LAST_LINES)
        self._abort = ""
        self.ended: WorkbenchError | None = None
        """Why it can no longer be used; None while it runs."""
        threading.Thread(target=self._send, name="to the engine", daemon=True).start()
        self._receiver = threading.Thread(target=self._receive, args=(output,), name="from the engine", daemon=True)
        self._receiver.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def submit(self, target: int, method: str, *arguments: Passed, outbox: Outbox | None = None) -> Future[Passed]:
        """Call a method of an object in the child. The events of a stream go to `outbox`, as does a failure."""
        tokens: dict[int, CancelToken] = {}
        callbacks: dict[int, Callable[..., object]] = {}

        def name(found: CancelToken | Callback) -> int:
            number = next(self._numbers)
            if isinstance(found, CancelToken):
                tokens[number] = found
            else:
                callbacks[number] = found.function
            return number

        number, future = next(self._numbers), Future[Passed]()
        frame = pack(MethodCall(number, target, method, arguments), name)
        with self._lock:
            ended = self.ended
            if ended is None:
                self._calls[number] = future
                self._callbacks |= callbacks
                if outbox is not None:
                    self._streams[number] = outbox
        if ended is not None:
            _fail(future, outbox, ended)
            return future
        future.add_done_callback(lambda _: [self._callbacks.pop(each, None) for each in callbacks])
        self._outgoing.put(frame)
        for each, token in tokens.items():
            # Only now: what the child does not know yet cannot be set there.
            token.on_set(partial(self._set, each))
        return future

    async def call(self, target: int, method: str, *arguments: Passed) -> Passed:
        """The result of a method of an object in the child. Where the task is cancelled, the call goes on.

        Raises:
            WorkbenchError: It failed, or the process has ended.
        """
        return await outcome(self.submit(target, method, *arguments))

    def close(self) -> None:
        """End it, and wait until it is gone and its memory is free."""
        self._closing = True
        self._outgoing.put(None)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            with suppress(subprocess.TimeoutExpired):
                # A process that a driver holds in the kernel is not gone until the driver lets go.
                self._process.wait(END_S)
        self._receiver.join(END_S)

    def kill(self) -> None:
        """End it at once."""
        with suppress(OSError):
            self._process.kill()

    def _set(self, token: int) -> None:
        self._outgoing.put(pack(CancelSet(token)))

    def _send(self) -> None:
        # In a thread: a child that does not read must not block the screen.
        with suppress(OSError, ValueError), self._input:
            while (frame := self._outgoing.get()) is not None:
                write(self._input, frame)

    def _receive(self, output: IO[bytes]) -> None:
        try:
            with output:
                for message in messages(output, lambda *_: None):
                    self._take(message)
        except Exception:
            _logger.exception("The engine's process sent what cannot be read.")
            self.kill()
        self._end()

    def _take(self, message: object) -> None:
        match message:
            case Events(number, batch):
                if (outbox := self._streams.get(number)) is not None:
                    outbox.deliver(batch)
            case Returned(number, value, error):
                with self._lock:
                    future, outbox = self._calls.pop(number), self._streams.pop(number, None)
                if error is not None:
                    _fail(future, outbox, error)
                elif not future.cancelled():
                    future.set_result(value)
            case Called(callback, arguments):
                self._call_back(callback, arguments)
            case _:
                self._note(message)

    def _call_back(self, callback: int, arguments: tuple[Passed, ...]) -> None:
        function = self._callbacks.get(callback)
        try:
            if function is not None:
                function(*arguments)
        except Exception:
            _logger.exception("A function that the engine's process called has failed.")

    def _note(self, message: object) -> None:
        match message:
            case Logged(logger, level, text):
                if level > logging.DEBUG:
                    self._words.append(text.strip())
                logging.getLogger(logger).log(level, "%s", text)
            case Aborting(text):
                self._abort = text

    def _end(self) -> None:
        """Have everything that waits fail with the reason of the end."""
        try:
            status: int | None = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            status = None
        processes.engines.discard(self.pid)
        error = EngineError("The engine's process was closed.") if self._closing else self._why(status)
        with self._lock:
            self.ended = error
            waiting = [(future, self._streams.get(number)) for number, future in self._calls.items()]
            self._calls, self._streams = {}, {}
        self._errors.close()
        self._outgoing.put(None)
        for future, outbox in waiting:
            _fail(future, outbox, error)

    def _why(self, status: int | None) -> EngineError:
        written = processes.last_lines(self._errors, MOST_LINES)
        for line in written:
            _logger.debug("%s: %s", self._label, line)
        name = signal.Signals(-status).name if status is not None and -status in {*signal.Signals} else ""
        how = _SIGNALS.get(name) or (f"ended by {name}" if name else f"ended with status {status}")
        # What the interpreter writes of a crash begins with this.
        native = list(itertools.takewhile(lambda line: not line.startswith("Fatal Python error"), written))
        words = [self._abort] if self._abort else native[-1:] or list(self._words)
        said = f" Its last words: {' / '.join(words)[:LONGEST_WORDS]}" if words else ""
        hint = "What was written is kept; the next question loads the model again. The log (F12) has more."
        return EngineError(f"{self._label} {how}.{said}", hint)


def _fail(future: Future[Passed], outbox: Outbox | None, error: WorkbenchError) -> None:
    # Each waiter raises its own: one that is raised twice has the traceback of both.
    error = type(error)(error.message, error.hint)
    if outbox is not None:
        outbox.deliver((Failed(error, time.perf_counter_ns()),))
    if not future.cancelled():
        future.set_exception(error)
