"""A program in a terminal of its own, driven and read as a person would: keys go in, a screen comes out."""

from __future__ import annotations

import os
import re
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence

import pexpect
import pyte

# What pyte does not know and would show as text: the private sequences of newer keyboard protocols.
_UNKNOWN = re.compile(rb"\x1b\[[<=>][0-9;:]*[A-Za-z]")


class Terminal:
    """Runs a program in a pseudo-terminal.

    Output is kept as it comes, with its time, and drawn on the screen only when somebody looks: a program that is being
    measured does not share the processor with a terminal emulator written in Python.

    Args:
        command: The program and its arguments.
        columns: The width of the terminal.
        rows: Its height.
        env: The program's environment.
        cwd: The folder in which it starts.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 120,
        rows: int = 36,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> None:
        environment = {**(os.environ if env is None else env), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        for name in ("NO_COLOR", "COLUMNS", "LINES"):
            environment.pop(name, None)
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.chunks: list[tuple[float, bytes]] = []
        """Everything that was read, each piece with its `time.perf_counter()`."""
        self._drawn = 0
        self.started = time.perf_counter()
        self._child = pexpect.spawn(
            command[0], list(command[1:]), env=environment, cwd=cwd, dimensions=(rows, columns), timeout=None
        )
        self._open = True

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._child.pid

    @property
    def raw(self) -> bytes:
        """Every byte that the program wrote."""
        return b"".join(data for _, data in self.chunks)

    @property
    def text(self) -> str:
        """The screen as it stands."""
        for _, data in self.chunks[self._drawn :]:
            self._stream.feed(_UNKNOWN.sub(b"", data))
        self._drawn = len(self.chunks)
        return "\n".join(self._screen.display)

    def send(self, keys: str) -> None:
        """Type."""
        data = keys.encode()
        while data:
            # A paste can be longer than what the terminal holds: what the program draws has to be taken meanwhile.
            _, writable, _ = select.select([], [self._child.fd], [], 0.01)
            if writable:
                data = data[os.write(self._child.fd, data[:1024]) :]
            self.read(0)

    def paste(self, text: str) -> None:
        """Paste, as a terminal does it."""
        self.send(f"\x1b[200~{text}\x1b[201~")

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        self._child.setwinsize(rows, columns)
        self._screen.resize(rows, columns)

    def read(self, seconds: float) -> bool:
        """Take what the program writes, waiting at most so long for it; False when nothing came."""
        if not self._open:
            return False
        ready, _, _ = select.select([self._child.fd], [], [], max(0.0, seconds))
        if not ready:
            return False
        try:
            data = os.read(self._child.fd, 1 << 16)
        except OSError:
            data = b""
        if not data:
            self._open = False
            return False
        self.chunks.append((time.perf_counter(), data))
        return True

    def wait_for(self, *needles: str, seconds: float = 30) -> float:
        """Wait until the screen shows every one of the texts; gives when, as `time.perf_counter()`."""
        return self.wait_until(lambda text: all(needle in text for needle in needles), seconds, " and ".join(needles))

    def wait_until(self, condition: Callable[[str], bool], seconds: float = 30, what: str = "that") -> float:
        """Wait until the condition holds for the screen; gives when.

        Raises:
            TimeoutError: It did not, or the program ended first; the screen is in the message.
        """
        deadline = time.perf_counter() + seconds
        while not condition(self.text):
            left = deadline - time.perf_counter()
            if left <= 0 or not (self.read(min(left, 0.25)) or self._open):
                why = "the program ended" if not self._open else f"{seconds:g} s passed"
                raise TimeoutError(f"{why} and the screen does not show {what}:\n{self.text}")
        return self.chunks[-1][0] if self.chunks else time.perf_counter()

    def first_time(self, condition: Callable[[str], bool], what: str = "that") -> float:
        """When the screen first met the condition, by what was read and not drawn yet; gives `time.perf_counter()`.

        Raises:
            TimeoutError: It never did.
        """
        while self._drawn < len(self.chunks):
            at, data = self.chunks[self._drawn]
            self._stream.feed(_UNKNOWN.sub(b"", data))
            self._drawn += 1
            if condition("\n".join(self._screen.display)):
                return at
        raise TimeoutError(f"the screen never showed {what}:\n{self.text}")

    def drain(self, seconds: float) -> None:
        """Take what the program writes for so long, and draw none of it."""
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0 and self._open:
            self.read(left)

    def wait_for_exit(self, seconds: float = 20) -> int:
        """Wait for the program to end; gives its exit status, or minus the signal that ended it.

        Raises:
            TimeoutError: It did not end.
        """
        deadline = time.perf_counter() + seconds
        while self._open or self._child.isalive():
            if time.perf_counter() > deadline:
                raise TimeoutError(f"the program did not end:\n{self.text}")
            if not self.read(0.05) and not self._open:
                time.sleep(0.005)
        status = self._child.exitstatus
        return status if status is not None else -(self._child.signalstatus or 0)

    def close(self) -> None:
        """End the program if it still runs."""
        if self._child.isalive():
            self._child.kill(signal.SIGKILL)
        self._child.close(force=True)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
