"""Opening model files in a child process, which is started anew where it ends."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path

PATIENCE_S = 30.0


class Loader:
    """The child process; `signals` has the return codes of those that ended."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("wb")
        self._child: subprocess.Popen[str] | None = None

    def load(self, path: Path) -> str:
        """How opening a file and decoding ended: `answered`, `refused`, `raised`, `signal` or `hangs`, and more."""
        child = self._child = self._child or self._start()
        assert child.stdin
        assert child.stdout
        child.stdin.write(json.dumps(str(path)) + "\n")
        child.stdin.flush()
        if not select.select([child.stdout], [], [], PATIENCE_S)[0]:
            self.close()
            return f"hangs: no answer within {PATIENCE_S:.0f} s"
        if line := child.stdout.readline():
            return str(json.loads(line))
        code = child.wait()
        self.close()
        return f"signal: {-code}" if code < 0 else f"ended: {code}"

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.loader"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def said(self) -> str:
        """The last of what llama.cpp wrote."""
        return Path(self._log.name).read_text("utf-8", "replace")[-300:]

    def close(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()
