"""What the user typed: the prompts of earlier sessions, and the one that was not sent yet."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import threading
from collections.abc import Sequence
from pathlib import Path

from workbench.store.files import replace_file
from workbench.store.locks import try_lock

MOST = 1000
"""Prompts that are kept."""
LONGEST_LINE = 2**20
"""Bytes of a prompt that is kept, as JSON."""

_log = logging.getLogger("workbench.prompts")


class PromptFolder:
    """Keeps prompts in a folder. What cannot be written or read is logged, and is no error: it is a convenience.

    `history.jsonl` has a prompt on each line, as a JSON string; programs that run at the same time all add to it. Each
    of them has a file of its own in `drafts` for what is in its prompt now, which it holds a lock on: an unlocked one
    belongs to a program that died.

    Args:
        folder: The folder; it is made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._history = folder / "history.jsonl"
        self._drafts = folder / "drafts"
        self._draft: int | None = None
        self._lock = threading.Lock()

    async def recall(self) -> Sequence[str]:
        """The prompts of earlier sessions, oldest first."""
        return await asyncio.to_thread(self._recall)

    async def keep(self, text: str) -> None:
        """Keep a prompt that was sent."""
        await asyncio.to_thread(self._keep, text)

    async def keep_draft(self, text: str) -> None:
        """Keep what is in the prompt now; nothing, where it is empty."""
        await asyncio.to_thread(self._keep_draft, text)

    async def lost_drafts(self) -> Sequence[str]:
        """What was in the prompts of programs that are gone. They are told once."""
        return await asyncio.to_thread(self._lost_drafts)

    def _recall(self) -> list[str]:
        try:
            lines = self._history.read_bytes().splitlines()
        except OSError:
            return []
        found = []
        for line in lines[-MOST:]:
            try:
                text = json.loads(line)
            except ValueError:
                continue
            if isinstance(text, str) and text:
                found.append(text)
        if len(lines) > 2 * MOST:
            self._write([json.dumps(text).encode() for text in found])
        return found

    def _write(self, lines: Sequence[bytes]) -> None:
        try:
            replace_file(self._history, b"".join(line + b"\n" for line in lines))
        except OSError as error:
            _log.warning("%s could not be shortened: %s", self._history, error)

    def _keep(self, text: str) -> None:
        line = json.dumps(text).encode() + b"\n"
        if len(line) > LONGEST_LINE:
            return
        try:
            self._history.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._history, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            _log.warning("%s cannot be written: %s", self._history, error)

    def _keep_draft(self, text: str) -> None:
        with self._lock:
            try:
                if self._draft is None:
                    if not text:
                        return
                    self._draft = self._open_draft()
                data = text.encode("utf-8", "surrogatepass")
                # What was there stays until the new text is: a text only grows or shrinks at its end most of the time.
                os.pwrite(self._draft, data, 0)
                os.ftruncate(self._draft, len(data))
            except OSError as error:
                _log.warning("What is in the prompt cannot be kept in %s: %s", self._drafts, error)

    def _open_draft(self) -> int:
        self._drafts.mkdir(parents=True, exist_ok=True)
        path = self._drafts / f"{secrets.token_hex(6)}.txt"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try_lock(descriptor)
        return descriptor

    def _lost_drafts(self) -> list[str]:
        found = []
        try:
            paths = sorted(self._drafts.glob("*.txt"), key=lambda path: path.stat().st_mtime)
        except OSError:
            return []
        for path in paths:
            try:
                with path.open("rb") as file:
                    if not try_lock(file.fileno()):
                        continue
                    text = file.read().decode("utf-8", "replace")
                    path.unlink()
            except OSError as error:
                _log.warning("%s cannot be taken: %s", path, error)
                continue
            if text.strip():
                found.append(text)
        return found
