"""A process in which llama.cpp makes and loads toy models, since it may abort."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.gguf.zoo import SMALL, Shape
from workbench.gguf.memory import CacheSettings


class Loader:
    """The process; started again where it ended."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def make(self, path: Path, architecture: str, shape: Shape = SMALL) -> str:
        """Write the toy of an architecture; returns why it cannot be loaded, empty where it can."""
        return str(self._ask(path=str(path), architecture=architecture, shape=asdict(shape)).get("error", ""))

    def measure(
        self, path: Path, settings: Sequence[CacheSettings], *, only_compute: bool = False
    ) -> list[dict[str, float]]:
        """The buffers by purpose in MiB, for each of some settings; empty where llama.cpp refuses them.

        With `only_compute`, no memory is taken for weights and caches, whose sizes are then 0.
        """
        found: list[dict[str, float]] = self._ask(
            path=str(path), settings=[asdict(each) for each in settings], only_compute=only_compute
        ).get("sizes", [])
        if found or len(settings) < 2:
            return found or [{}] * len(settings)
        # One of them ended the process.
        return [size for each in settings for size in self.measure(path, [each], only_compute=only_compute)]

    def _ask(self, **question: object) -> dict[str, Any]:
        if self._child is None or self._child.poll() is not None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tests.gguf.zoo_worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        child = self._child
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(question) + "\n")
        child.stdin.flush()
        # llama.cpp prints some hyperparameters there.
        line = next((line for line in child.stdout if line.startswith("{")), "")
        if not line:
            child.wait()
            return {"error": f"ended with {child.returncode}"}
        answer: dict[str, Any] = json.loads(line)
        return answer
