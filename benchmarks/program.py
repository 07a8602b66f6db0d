"""Drives `workbench` in a terminal."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.common import WORKBENCH
from benchmarks.terminal import Terminal
from workbench.core.metrics import AnswerMetrics


def is_painted(text: str) -> bool:
    """Whether the screen is complete, with the prompt and the keys below it."""
    return "╰─" in text and "Send" in text and "F3" in text


def is_stopped(text: str) -> bool:
    """Whether the screen says that an answer was stopped, and nothing runs."""
    return "stopped" in text and "Reading the prompt" not in text and "Stopping" not in text


CTRL_N, CTRL_Q, CTRL_U, ESCAPE, KITTY_ESCAPE = "\x0e", "\x11", "\x15", "\x1b", "\x1b[27u"


class Program(Terminal):
    """The full-screen program with its own home.

    Args:
        home: The value of `WORKBENCH_HOME`.
        arguments: The arguments of `workbench`.
        env: More environment variables.
        python: Statements that run before the program, in its process.
    """

    def __init__(
        self, home: Path, *arguments: str, env: Mapping[str, str] | None = None, python: str = "", **size: int
    ) -> None:
        self.home = home
        start = (
            f"{python}\nimport sys\nfrom workbench.cli.main import main\nsys.argv[0] = 'workbench'\nsys.exit(main())"
        )
        command = [sys.executable, "-c", start, *arguments] if python else [WORKBENCH, *arguments]
        super().__init__(command, env={**os.environ, "WORKBENCH_HOME": str(home), **(env or {})}, **size)

    def wait_until_ready(self) -> None:
        """Wait until the first model is loaded."""
        self.wait_for(" is ready")

    def ask(self, text: str) -> None:
        """Type a message, and send it."""
        self.send(text)
        self.wait_for(text[:40])
        self.send("\r")

    def letter_ms(self, text: str) -> float:
        """Type the last letter of `text`, whose others are on the screen; what it takes to the screen, in ms."""
        began = time.perf_counter()
        self.send(text[-1])
        self.drain(0.2)
        return (self.first_time(lambda shown: text in shown, text) - began) * 1e3

    def quit(self) -> None:
        """Leave by the key for it."""
        self.send(CTRL_Q)
        self.wait_for_exit()

    def answers(self) -> list[dict[str, Any]]:
        """The finished answers that were stored."""
        return list(answers(self.home))

    def wait_for_answer(self, count: int = 1, seconds: float = 300) -> dict[str, Any]:
        """Wait until so many answers are stored, without drawing; gives the last."""
        deadline = time.monotonic() + seconds
        while len(found := self.answers()) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer came:\n{self.text}")
            self.drain(0.1)
        return found[-1]


def answers(home: Path) -> Iterator[dict[str, Any]]:
    """The finished answers that were recorded under a home, in order."""
    query = "SELECT content, model, metrics, finish_reason FROM message WHERE metrics IS NOT NULL ORDER BY key"
    for content, model, metrics, reason in stored_rows(home, query):
        figures = {field.name: None for field in fields(AnswerMetrics)} | json.loads(metrics)
        yield {"content": content, "model": model, "metrics": figures, "finish_reason": reason}


def stored_rows(home: Path, query: str) -> list[tuple[str, ...]]:
    """The rows of a query in the sessions under a home; none before the tables are made."""
    path = home / "data" / "sessions.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as connection:
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:  # It is being created.
            return []


def answered(home: Path) -> set[str]:
    """The questions whose answers are stored with their figures, which the last write of an answer adds."""
    query = (
        "SELECT question.content FROM message question JOIN message answer ON answer.session = question.session "
        "AND answer.parent = question.number WHERE question.role = 'user' AND answer.metrics IS NOT NULL"
    )
    return {row[0] for row in stored_rows(home, query)}


@contextmanager
def home_folder(config: str = "") -> Iterator[Path]:
    """A home that is removed at the end, with a configuration."""
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as name:
        home = Path(name)
        if config:
            (home / "config").mkdir()
            (home / "config" / "config.toml").write_text(config, encoding="utf-8")
        yield home
