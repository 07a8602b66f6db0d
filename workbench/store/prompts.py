"""The prompt history, and the unsent text of each running program."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import sys
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from workbench.core.errors import TargetError
from workbench.core.prompt_text import PromptBook, PromptText, Range
from workbench.store.files import make_folder, not_written, open_private, random_name, replace_file
from workbench.store.locks import changing, try_lock

MOST = 1000
"""The number of prompts kept."""
LONGEST_LINE = 2**20
"""The longest prompt kept, in bytes of JSON."""
PASTES = ".pastes"
"""The suffix of the file with the ranges of the pastes in a draft."""

_log = logging.getLogger("workbench.prompts")


class PromptFolder(PromptBook):
    """Keeps prompts in a folder, created on demand.

    `history.jsonl` has one prompt per line; concurrent programs all append to it. A line is a JSON string, or
    `{"text": …, "pastes": [[start, end], …]}` if it has long pastes, counted in characters. A line that a full disk or
    the end of a program has cut off is left out.

    Each program has a locked file in `drafts` for the current text of its prompt: an unlocked one belongs to a program
    that died. The file is plain text, so that an interrupted write loses nothing else. The ranges of its pastes are in
    a file beside it, `{"bytes": length, "crc32": …, "pastes": …}`, which is ignored if the text has changed.
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
        try:
            await asyncio.to_thread(self._keep, prompt)
        except OSError as error:
            raise _failure("The sent text is not stored for the Up key", error, self._history) from error

    @override
    async def keep_draft(self, prompt: PromptText) -> None:
        try:
            await asyncio.to_thread(self._keep_draft, prompt)
        except OSError as error:
            raise _failure("The text in the prompt is not stored", error, self._drafts) from error

    @override
    async def lost_drafts(self) -> Sequence[PromptText]:
        return await asyncio.to_thread(self._lost_drafts)

    def _recall(self) -> list[PromptText]:
        with changing(self._history.parent):
            return self._recall_alone()

    def _recall_alone(self) -> list[PromptText]:
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
            try:
                replace_file(self._history, b"".join(map(_line, found)))
            except OSError as error:
                _log.warning("%s could not be shortened: %s", self._history, error)
        return found

    def _keep(self, prompt: PromptText) -> None:
        line = _line(prompt)
        if len(line) > LONGEST_LINE:
            return
        make_folder(self._history.parent)
        with changing(self._history.parent), open(self._history, "a+b", buffering=0, opener=open_private) as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":
                    line = b"\n" + line
            try:
                _write_all(file.fileno(), line, end)
            except OSError:
                file.truncate(end)
                raise

    def _keep_draft(self, prompt: PromptText) -> None:
        with self._lock:
            if self._draft is None:
                if not prompt.text:
                    return
                self._draft = self._open_draft()
            data = prompt.text.encode("utf-8", "surrogatepass")
            before = os.fstat(self._draft).st_size
            try:
                # The end first, which alone needs space: without any, the earlier text stays as it is.
                _write_all(self._draft, data[before:], before)
            except OSError:
                os.ftruncate(self._draft, before)
                raise
            # Overwritten before it is truncated: most changes are at the end of the text.
            _write_all(self._draft, data[:before], 0)
            os.ftruncate(self._draft, len(data))
            self._keep_pastes(data, prompt.pastes)

    def _open_draft(self) -> int:
        make_folder(self._drafts)
        path = self._drafts / f"{random_name(6)}.txt"
        # It is locked before it gets its name, so that it never looks like the draft of a dead program.
        unnamed = path if sys.platform == "win32" else path.with_suffix(".new")
        descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try_lock(descriptor)
        if unnamed != path:
            unnamed.rename(path)
        self._pastes = path.with_suffix(PASTES)
        return descriptor

    def _keep_pastes(self, data: bytes, pastes: Sequence[Range]) -> None:
        if self._pastes is None:
            return
        if not pastes:
            self._pastes.unlink(missing_ok=True)
            return
        document = {"bytes": len(data), "crc32": zlib.crc32(data), "pastes": pastes}
        with open(self._pastes, "wb", opener=open_private) as file:
            file.write(json.dumps(document).encode())

    def _lost_drafts(self) -> list[PromptText]:
        found = []
        try:
            paths = sorted(self._drafts.glob("*.txt"), key=lambda path: path.stat().st_mtime)
        except OSError:
            return []
        for path in paths:
            try:
                with path.open("rb") as file:
                    # Another program may have taken it between the listing and the lock.
                    if not try_lock(file.fileno()) or not os.fstat(file.fileno()).st_nlink:
                        continue
                    prompt = _read_draft(file.read(), path.with_suffix(PASTES))
                    if prompt.text.strip():
                        found.append(prompt)
                        # Before it is removed: this program may be killed at any moment, and the disk may be full.
                        self._keep(prompt)
                    path.unlink()
                    path.with_suffix(PASTES).unlink(missing_ok=True)
            except OSError as error:
                _log.warning("%s cannot be read, or kept as a prompt: %s", path, error)
        return found


def _failure(what: str, error: OSError, path: Path) -> TargetError:
    """The error of a text that stays on the screen; the reason first, because it is shown on one line."""
    failure = not_written(what, error, "Check the permissions.")
    return type(failure)(failure.message, f"{failure.hint} It would be in {path}.")


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`: on a disk that fills up, a single call writes a part and reports no error."""
    os.lseek(descriptor, offset, os.SEEK_SET)
    while data:
        count = os.write(descriptor, data)
        if not count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data = data[count:]


def _line(prompt: PromptText) -> bytes:
    document = {"text": prompt.text, "pastes": prompt.pastes} if prompt.pastes else prompt.text
    return json.dumps(document).encode() + b"\n"


def _read_line(line: bytes) -> PromptText | None:
    """The prompt on a line of the history; None if it is damaged."""
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
    """A draft with the pastes from the file beside it, if that file matches the text."""
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
