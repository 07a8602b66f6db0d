"""Rendering of Jinja templates in a child process, which stays for the next one and is killed where one goes too far.

A rendering takes about a millisecond longer than in this process. Starting the child takes some 0.2 s.
"""

from __future__ import annotations

import atexit
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, TemplateError
from workbench.processes import ChildProcess, JsonObject

WORKER: Final = "workbench.engine.llama.jinja_worker"

CPU_S = 2.0
"""Processor time for one rendering; known templates take milliseconds."""
WALL_S = 6.0
"""The same by the clock, where the processor's time cannot be limited, or the child gets too little of it."""
MEMORY_BYTES = 256 * 2**20
"""Memory that a rendering may use."""
START_S = 30.0
"""Time for the child to start."""

TOO_LARGE: Final = f"needs more than {MEMORY_BYTES // 2**20} MiB of memory"
_PLAIN_WORKS: Final = "Raw completion (--raw) needs no template."

_GLANCE_S = 0.02
"""How often a wait looks whether it was cancelled."""


class TemplateLimitError(TemplateError):
    """A chat template that takes too much time or memory, or writes too much."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The chat template of this model was stopped: it {what}.",
            "It is faulty or hostile: use another file of the model, or a Modelfile with a TEMPLATE. " + _PLAIN_WORKS,
        )


class JinjaProcess:
    """The child process. It renders one template at a time, for any thread, each within `cpu_s` and `wall_s`."""

    def __init__(self, cpu_s: float = CPU_S, wall_s: float = WALL_S) -> None:
        self._cpu_s = cpu_s
        self._wall_s = wall_s
        self._turn = threading.Lock()
        self._child: ChildProcess | None = None
        self._ready = False
        atexit.register(self.close)

    def start(self) -> None:
        """Start the child without waiting for it, so that it is ready when it is needed. A failure shows then."""
        if self._turn.acquire(blocking=False):
            try:
                with suppress(TemplateError):
                    self._running()
            finally:
                self._turn.release()

    def compile(self, source: str, cancel: CancelToken) -> None:
        """Compile a template.

        Raises:
            TemplateError: It does not compile, or exceeds a limit.
            CancelledError: `cancel` was set.
        """
        self._ask(source, None, cancel)

    def render(self, source: str, values: Mapping[str, object], cancel: CancelToken) -> str:
        """Render a template with `values`, among them the `messages`.

        Raises:
            TemplateError: It fails, or exceeds a limit.
            CancelledError: `cancel` was set.
        """
        text: str = self._ask(source, values, cancel)["text"]
        return text

    def close(self) -> None:
        """Kill the child; a later rendering starts another one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.close(1)

    def _running(self) -> ChildProcess:
        if self._child is not None and self._child.status is not None:
            # It was killed since the last rendering, which no template is to blame for.
            self.close()
        if self._child is None:
            try:
                self._child, self._ready = ChildProcess(WORKER, str(self._cpu_s)), False
            except OSError as error:
                raise TemplateError(f"Chat templates cannot be rendered: no process starts: {error}.") from None
        return self._child

    def _ask(self, source: str, values: Mapping[str, object] | None, cancel: CancelToken) -> JsonObject:
        while not self._turn.acquire(timeout=_GLANCE_S):
            _stop_if(cancel)
        answered = False
        try:
            child = self._running()
            if not self._ready:
                self._ready = bool(self._receive(child, START_S, cancel))
            child.send(source=source, values=values)
            event = self._receive(child, self._wall_s, cancel)
            # What a template that went too far has left in the child's memory would be missing for the next one.
            answered = event["event"] != "limit"
        finally:
            if not answered:
                self.close()
            self._turn.release()
        match event["event"], event.get("stage"):
            case "text", _:
                return event
            case "limit", _:
                raise TemplateLimitError(event["what"])
            case _, "compile":
                raise TemplateError(
                    f"The chat template of this model does not compile: {event['reason']}.", _PLAIN_WORKS
                )
            case _:
                raise TemplateError(
                    f"The chat template of this model fails on this conversation: {event['reason']}",
                    f"Another order of messages or no system prompt may help. {_PLAIN_WORKS}",
                )

    def _receive(self, child: ChildProcess, within_s: float, cancel: CancelToken) -> JsonObject:
        deadline = time.monotonic() + within_s
        while True:
            try:
                event = child.receive(_GLANCE_S)
            except TimeoutError:
                _stop_if(cancel)
                if time.monotonic() > deadline:
                    raise TemplateLimitError(f"takes longer than {self._cpu_s:g} seconds") from None
                if sys.platform != "linux" and _memory_of(child) > MEMORY_BYTES:
                    raise TemplateLimitError(TOO_LARGE) from None
            else:
                break
        if event is not None:
            return event
        status = child.close(1)
        if sys.platform != "win32" and status == -signal.SIGPROF:
            raise TemplateLimitError(f"takes longer than {self._cpu_s:g} seconds")
        raise TemplateLimitError(f"ends the process that renders it (exit status {status})")


def _stop_if(cancel: CancelToken) -> None:
    if cancel.is_set:
        raise CancelledError("Rendering the chat template was stopped.")


def _memory_of(child: ChildProcess) -> int:
    """The memory of the child, where no limit is set for it by the system."""
    import psutil

    try:
        used: int = psutil.Process(child.pid).memory_info().rss
    except psutil.Error:
        return 0
    return used


shared_jinja = JinjaProcess()
"""The one child of this program that renders templates. It starts with the first one."""
