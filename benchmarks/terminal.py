"""Runs a program in a pseudo-terminal: keys go in, a screen comes out."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

# The private sequences of newer keyboard protocols, which pyte would show as text.
_UNKNOWN = re.compile(rb"\x1b\[[<=>][0-9;:]*[A-Za-z]")
_LAST = b"\0"
"""Written to the terminal after a program has ended, behind all that it wrote."""


# A session leader that opens a terminal gets it as its controlling terminal, and is notified of a new window size.
_OPEN_TERMINAL = 'terminal=$1; shift; exec "$@" <>"$terminal" >&0 2>&0'


class Terminal:
    """Runs a program in a pseudo-terminal.

    Output is stored with its time of arrival, and drawn on the screen only when the screen is read: a program that is
    being measured does not share the processor with a terminal emulator written in Python.

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
        """All output, each piece with its `time.perf_counter()`."""
        self._drawn = 0
        self._closed = False
        self._master, self._slave = os.openpty()
        self._set_size(columns, rows)
        self.attributes = termios.tcgetattr(self._slave)
        """The terminal's settings before the program started."""
        self.started = time.perf_counter()
        self._child = subprocess.Popen(
            ["/bin/sh", "-c", _OPEN_TERMINAL, "sh", os.ttyname(self._slave), *command],
            stdin=subprocess.DEVNULL,
            env=environment,
            cwd=cwd,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether the program runs."""
        return self._child.poll() is None

    @property
    def is_restored(self) -> bool:
        """Whether the terminal's settings are what they were before the program started."""
        return termios.tcgetattr(self._slave) == self.attributes

    @property
    def raw(self) -> bytes:
        """Every byte that the program wrote."""
        return b"".join(data for _, data in self.chunks)

    @property
    def text(self) -> str:
        """The current screen."""
        for _, data in self.chunks[self._drawn :]:
            self._stream.feed(_UNKNOWN.sub(b"", data))
        self._drawn = len(self.chunks)
        return "\n".join(self._screen.display)

    def send(self, keys: str) -> None:
        """Type."""
        data = keys.encode()
        while data:
            # A paste can be longer than the terminal's buffer: the program's output has to be read meanwhile.
            _, writable, _ = select.select([], [self._master], [], 0.01)
            if writable:
                data = data[os.write(self._master, data[:1024]) :]
            self.read(0)

    def paste(self, text: str) -> None:
        """Send a bracketed paste."""
        self.send(f"\x1b[200~{text}\x1b[201~")

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        self._set_size(columns, rows)
        self._screen.resize(rows, columns)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds: float) -> bool:
        """Read the program's output, waiting for at most so long; False when nothing came."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, seconds))
        if ready:
            self.chunks.append((time.perf_counter(), os.read(self._master, 1 << 16)))
        return bool(ready)

    def wait_for(self, *needles: str, seconds: float = 30) -> float:
        """Wait until the screen shows all the texts; gives the time, as `time.perf_counter()`."""
        return self.wait_until(lambda text: all(needle in text for needle in needles), seconds, " and ".join(needles))

    def wait_until(self, condition: Callable[[str], bool], seconds: float = 30, what: str = "that") -> float:
        """Wait until the condition holds for the screen; gives the time.

        Raises:
            TimeoutError: It did not, or the program ended first; the screen is in the message.
        """
        deadline = time.perf_counter() + seconds
        while not condition(self.text):
            left = deadline - time.perf_counter()
            running = self.is_running
            if not self.read(min(left, 0.25)) and (left <= 0 or not running):
                why = f"{seconds:g} s passed" if running else "the program ended"
                raise TimeoutError(f"{why} and the screen does not show {what}:\n{self.text}")
        return self.chunks[-1][0] if self.chunks else time.perf_counter()

    def first_time(self, condition: Callable[[str], bool], what: str = "that") -> float:
        """The time when the screen first met the condition, among the output that is not drawn yet.

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
        """Read the program's output for so long, without drawing it."""
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0 and self.is_running:
            self.read(left)

    def wait_for_exit(self, seconds: float = 20) -> int:
        """Wait for the program to end; gives its exit status, or minus the signal that ended it.

        Raises:
            TimeoutError: It did not end.
        """
        deadline = time.perf_counter() + seconds
        while self.is_running:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"the program did not end:\n{self.text}")
            self.read(0.02)
        while self.read(0):
            pass
        # The kernel may still be carrying what was written last. It keeps the order.
        os.write(self._slave, _LAST)
        while self.read(1) and _LAST not in self.chunks[-1][1]:
            pass
        at, data = self.chunks.pop()
        self.chunks.append((at, data.replace(_LAST, b"")))
        return self._child.wait()

    def close(self) -> None:
        """End the program if it still runs."""
        if self._closed:
            return
        self._closed = True
        if self.is_running:
            self._child.kill()
        self._child.wait()
        os.close(self._slave)
        os.close(self._master)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
