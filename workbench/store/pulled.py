"""What is known about fetched files: their digests where no store states them, their origin, and digests of parts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from typing_extensions import override

from workbench.core.pulls import PulledBook, PulledFile
from workbench.store.files import make_folder, replace_file
from workbench.store.locks import changing

_SHA256 = re.compile(r"[0-9a-f]{64}")


class PulledFiles(PulledBook):
    """Fetched files by their paths, in the file `path`, and digests of their parts in `pieces`; neither need exist."""

    def __init__(self, path: Path, pieces: Path) -> None:
        self._path = path
        self._pieces = pieces

    def _read(self) -> dict[str, PulledFile]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        items = found.items() if isinstance(found, dict) else ()
        return {path: record for path, value in items if (record := _record(value)) is not None}

    @override
    def of(self, file: Path) -> PulledFile | None:
        return self._read().get(str(file.absolute()))

    @override
    def remember(self, digests: Mapping[Path, str], source: str) -> None:
        if not digests:
            return
        make_folder(self._path.parent)
        with changing(self._path.parent):
            new = {str(file.absolute()): PulledFile(digest, source) for file, digest in digests.items()}
            kept = {file: record for file, record in (self._read() | new).items() if Path(file).exists()}
            document = {file: {"sha256": record.sha256, "from": record.source} for file, record in kept.items()}
            replace_file(self._path, json.dumps(document, indent=1).encode())

    @override
    def pieces(self, sha256: str) -> bytes:
        try:
            return (self._pieces / sha256).read_bytes() if _SHA256.fullmatch(sha256) else b""
        except OSError:
            return b""

    @override
    def keep_pieces(self, pieces: Mapping[str, bytes]) -> None:
        with suppress(OSError):
            for sha256, data in pieces.items():
                if data and _SHA256.fullmatch(sha256):
                    make_folder(self._pieces)
                    replace_file(self._pieces / sha256, data)


def _record(value: object) -> PulledFile | None:
    if not isinstance(value, dict) or not isinstance(value.get("sha256"), str):
        return None
    return PulledFile(value["sha256"], str(value.get("from") or ""))
