"""What the user typed: the prompts of earlier sessions, and the one that was not sent yet."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from workbench.core.prompt_text import PromptBook, PromptText, Range
from workbench.store.files import replace_file
from workbench.store.locks import try_lock

MOST = 1000
"""Prompts that are kept."""
LONGEST_LINE = 2**20
"""Bytes of a prompt that is kept, as JSON."""
PASTES = ".pastes"
"""The suffix of the file that tells where the pastes of a draft are."""

_log = logging.getLogger("workbench.prompts")


class PromptFolder(PromptBook):
    """Keeps prompts in a folder. What cannot be written or read is logged, and is no error: it is a convenience.

    `history.jsonl` has a prompt on each line; programs that run at the same time all add to it. A line is a JSON
    string, or `{"text": …, "pastes": [[start, end], …]}` where long pastes are in it, counted in characters.

    Each program has a file of its own in `drafts` for what is in its prompt now, which it holds a lock on: an unlocked
    one belongs to a program that died. The file is the plain text, so that nothing of it is lost where writing was cut
    short. Where its pastes are is in a file beside it, `{"bytes": length, "crc32": …, "pastes": …}`, which counts only
    as long as the text is the one that it was written for.

    Args:
        folder: The folder; it is made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._history = folder / "history.jsonl"
        self._drafts = folder / "drafts"
        self._draft: int | None = None
        self._pastes: Path | None = None
        self._lock = threading.Lock()

    @override
    async def recall(self) -> Sequence[PromptText]:
        return await asyncio.to_thread(self._recall)

    @override
    async def keep(self, prompt: PromptText) -> None:
        await asyncio.to_thread(self._keep, prompt)

    @override
    async def keep_draft(self, prompt: PromptText) -> None:
        await asyncio.to_thread(self._keep_draft, prompt)

    @override
    async def lost_drafts(self) -> Sequence[PromptText]:
        return await asyncio.to_thread(self._lost_drafts)

    def _recall(self) -> list[PromptText]:
        try:
            lines = self._history.read_bytes().splitlines()
        except OSError:
            return []
        found = []
        for line in lines[-MOST:]:
            prompt = _read_line(line)
            if prompt is not None and prompt.text:
                found.append(prompt)
        if len(lines) > 2 * MOST:
            self._write([_line(prompt) for prompt in found])
        return found

    def _write(self, lines: Sequence[bytes]) -> None:
        try:
            replace_file(self._history, b"".join(lines))
        except OSError as error:
            _log.warning("%s could not be shortened: %s", self._history, error)

    def _keep(self, prompt: PromptText) -> None:
        line = _line(prompt)
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

    def _keep_draft(self, prompt: PromptText) -> None:
        with self._lock:
            try:
                if self._draft is None:
                    if not prompt.text:
                        return
                    self._draft = self._open_draft()
                data = prompt.text.encode("utf-8", "surrogatepass")
                # What was there stays until the new text is: a text only grows or shrinks at its end most of the time.
                os.pwrite(self._draft, data, 0)
                os.ftruncate(self._draft, len(data))
                self._keep_pastes(data, prompt.pastes)
            except OSError as error:
                _log.warning("What is in the prompt cannot be kept in %s: %s", self._drafts, error)

    def _open_draft(self) -> int:
        self._drafts.mkdir(parents=True, exist_ok=True)
        path = self._drafts / f"{secrets.token_hex(6)}.txt"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try_lock(descriptor)
        self._pastes = path.with_suffix(PASTES)
        return descriptor

    def _keep_pastes(self, data: bytes, pastes: Sequence[Range]) -> None:
        if self._pastes is None:
            return
        if not pastes:
            self._pastes.unlink(missing_ok=True)
            return
        document = {"bytes": len(data), "crc32": zlib.crc32(data), "pastes": pastes}
        descriptor = os.open(self._pastes, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, json.dumps(document).encode())
        finally:
            os.close(descriptor)

    def _lost_drafts(self) -> list[PromptText]:
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
                    prompt = _read_draft(file.read(), path.with_suffix(PASTES))
                    path.unlink()
                    path.with_suffix(PASTES).unlink(missing_ok=True)
            except OSError as error:
                _log.warning("%s cannot be taken: %s", path, error)
                continue
            if prompt.text.strip():
                found.append(prompt)
        return found


def _line(prompt: PromptText) -> bytes:
    document = {"text": prompt.text, "pastes": prompt.pastes} if prompt.pastes else prompt.text
    return json.dumps(document).encode() + b"\n"


def _read_line(line: bytes) -> PromptText | None:
    """The prompt on a line of the history; None where there is none."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match document:
        case str() as text:
            return PromptText(text)
        case {"text": str() as text, "pastes": list() as pastes}:
            return PromptText.of(text, pastes)
    return None


def _read_draft(data: bytes, beside: Path) -> PromptText:
    """A draft with the pastes that the file beside it tells of; without them, where that is not about this text."""
    try:
        text = data.decode("utf-8", "surrogatepass")
        document = json.loads(beside.read_bytes())
    except (OSError, ValueError, RecursionError):
        return PromptText(data.decode("utf-8", "replace"))
    match document:
        case {"bytes": length, "crc32": checksum, "pastes": list() as pastes}:
            if (length, checksum) == (len(data), zlib.crc32(data)):
                return PromptText.of(text, pastes)
    return PromptText(data.decode("utf-8", "replace"))
