"""The digests of files that were fetched to a folder, where no store states them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from workbench.store.files import make_folder, replace_file
from workbench.store.locks import changing


class PulledFiles:
    """The SHA-256 of fetched files by their paths, in the file `path`, which need not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}

    def digest(self, file: Path) -> str | None:
        """The SHA-256 that a file had when it was fetched; None where that is not known."""
        return self._read().get(str(file.absolute()))

    def remember(self, digests: Mapping[Path, str]) -> None:
        """Keep the digests of files; raises an OSError where that is not possible."""
        make_folder(self._path.parent)
        with changing(self._path.parent):
            known = self._read() | {str(file.absolute()): digest for file, digest in digests.items()}
            kept = {file: digest for file, digest in known.items() if Path(file).exists()}
            replace_file(self._path, json.dumps(kept, indent=1).encode())
