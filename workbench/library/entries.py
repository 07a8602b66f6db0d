"""A model file as an entry that a user can choose."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from workbench.core.errors import ModelFileError
from workbench.core.models import ModelEntry
from workbench.gguf.known import KnownStrings
from workbench.gguf.model import ModelFacts, describe
from workbench.gguf.names import parse_name
from workbench.gguf.reader import read_header
from workbench.library.folders import ModelFile

GENERIC_NAMES = frozenset({"model", "ggml-model", "gguf", "unsloth", "consolidated"})
"""File names that many models have; the name inside the file says more."""

_CacheKey = tuple[tuple[str, int, int], ...]


class EntryReader:
    """Makes entries of model files, and reads each header once for as long as the file stays as it is.

    It may be used from several threads.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._known = KnownStrings()
        self._facts: dict[_CacheKey, ModelFacts] = {}

    def entry(self, file: ModelFile, source: str, ref: str | None = None) -> ModelEntry:
        """The entry of `file`. A file that cannot be opened has its `problem` said in the entry.

        Args:
            file: The model file.
            source: Where it was found.
            ref: The name by which it is opened; None for its path.
        """
        problem = ""
        facts: ModelFacts | None = None
        try:
            facts = self._read(file)
        except ModelFileError as error:
            problem = str(error).removeprefix(f"{file.path}: ")
        if file.missing:
            problem = _incomplete(file)
        parts = parse_name(file.path.name)
        name = parts.base
        inner = facts.name if facts else None
        if inner and (name.casefold() in GENERIC_NAMES or name.upper() == parts.quant):
            name = inner
        return ModelEntry(
            ref=str(file.path) if ref is None else ref,
            name=printable(name),
            quant=parts.quant or (facts.quant if facts else None),
            path=str(file.path),
            size_bytes=file.size_bytes,
            parameters=facts.parameters or None if facts else None,
            architecture=printable(facts.architecture) if facts and facts.architecture else None,
            bits_per_weight=facts.bits_per_weight if facts else None,
            context_length=facts.context_length if facts else None,
            source=source,
            problem=printable(problem),
        )

    def _read(self, file: ModelFile) -> ModelFacts:
        key = tuple(_stamp(path) for path in file.paths)
        with self._lock:
            known = self._facts.get(key)
        if known is not None:
            return known
        first, *others = (read_header(path, known=self._known) for path in file.paths)
        facts = describe(first, others)
        with self._lock:
            self._facts[key] = facts
        return facts


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return str(path), 0, 0
    return str(path), status.st_mtime_ns, status.st_size


def _incomplete(file: ModelFile) -> str:
    total = len(file.paths) + len(file.missing)
    named = ", ".join(file.missing[:3]) + (", …" if len(file.missing) > 3 else "")
    return f"incomplete: {len(file.missing)} of {total} parts are missing ({named}). Download them to the same folder."


def printable(text: str) -> str:
    """`text` without anything that a terminal would act upon."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
