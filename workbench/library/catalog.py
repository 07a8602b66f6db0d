"""The models at hand, and what a reference to one of them means."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from pathlib import Path

from workbench.core.errors import ModelFileError, UnknownModelError, did_you_mean
from workbench.core.models import LibraryView, ModelEntry, ScanProblem
from workbench.gguf.names import SUFFIX
from workbench.library.demo import HOW_TO_GET_DEMO, find_demo
from workbench.library.entries import EntryReader
from workbench.library.folders import ModelFile, model_file, scan

DEMO = "demo"
SCRIPTED = "scripted"
RECENT = "recent"
PREFERRED_QUANT = "Q4_K_M"
"""Which of several quantizations a bare name means."""
PREFERRED_BITS = 4.85
"""Where that one is not there: the one with about as many bits per weight."""


class LibraryCatalog:
    """The demo model, the recently opened files and the model files in the configured folders.

    Args:
        folders: The folders to search, with everything below them.
        recent: Called for the paths that were opened lately, newest first.
        find_demo_file: Called for the file of the demo model.
    """

    def __init__(
        self,
        folders: Sequence[Path] = (),
        recent: Callable[[], Sequence[str]] = tuple,
        find_demo_file: Callable[[], Path | None] = find_demo,
    ) -> None:
        self._folders = tuple(folders)
        self._recent = recent
        self._find_demo = find_demo_file
        self._reader = EntryReader()
        self._problems: tuple[ScanProblem, ...] = ()

    @property
    def problems(self) -> Sequence[ScanProblem]:
        """What the last search could not look at."""
        return self._problems

    async def models(self) -> Sequence[ModelEntry]:
        """Every model that can be opened: the demo model first, then the recent ones, then those of the folders."""
        return await asyncio.to_thread(self.list_models)

    async def watch(self, *, again: bool = False) -> AsyncGenerator[LibraryView, None]:
        """The models: at once those that are known, then more as a search finds them; the last view is complete.

        Args:
            again: Whether to search even where a search was finished a moment ago.
        """
        models = tuple(await self.models())
        yield LibraryView(models, tuple(self._problems), len(models), len(models), complete=True)

    def list_models(self) -> Sequence[ModelEntry]:
        """The same as `models`, in this thread."""
        entries: list[ModelEntry] = []
        seen: set[str] = set()

        def add(file: ModelFile, source: str, ref: str | None = None) -> None:
            real = os.path.realpath(file.path)
            if real not in seen:
                seen.add(real)
                entries.append(self._reader.entry(file, source, ref))

        demo = self._find_demo()
        if demo is not None:
            add(model_file(demo), DEMO, DEMO)
        for text in self._recent():
            path = _absolute(text)
            if stat.S_ISREG(_mode(path)):
                add(model_file(path), RECENT)
        found = scan(self._folders)
        self._problems = tuple(found.problems)
        begin = len(entries)
        for file in found.files:
            add(file, str(file.folder))
        entries[begin:] = sorted(entries[begin:], key=lambda entry: (entry.name.casefold(), entry.size_bytes or 0))
        return entries

    def resolve(self, ref: str) -> ModelEntry:
        """The entry that `ref` means. It may have a `problem`, which the engine will refuse it for.

        Searches folders and reads headers: not for the event loop.

        Args:
            ref: `demo`, `scripted`, a path, or `NAME`, `NAME:QUANT` or `NAME@QUANT` of a model in the folders.

        Raises:
            UnknownModelError: It names nothing; the nearest names are in the hint.
            ModelFileError: It names a directory, or a file that is not there.
        """
        if ref == SCRIPTED:
            return ModelEntry(ref=SCRIPTED, name=SCRIPTED, source=SCRIPTED)
        if ref == DEMO:
            demo = self._find_demo()
            if demo is None:
                raise UnknownModelError("The demo model is not installed.", HOW_TO_GET_DEMO)
            return self._reader.entry(model_file(demo), DEMO, DEMO)
        _refuse_other_kinds(ref)
        path = _absolute(ref)
        if _is_path(ref) or _mode(path):
            return self._resolve_path(path)
        return self._resolve_name(ref)

    def _resolve_path(self, path: Path) -> ModelEntry:
        if stat.S_ISDIR(_mode(path)):
            raise _directory_error(path)
        if not _mode(path):
            raise ModelFileError(f"{path}: there is no such file.", _nearest_file(path))
        return self._reader.entry(model_file(path), str(path.parent))

    def _resolve_name(self, ref: str) -> ModelEntry:
        entries = [entry for entry in self.list_models() if entry.path]
        wanted = ref.casefold().replace("@", ":")
        matches = [entry for entry in entries if wanted in _names(entry)]
        if matches:
            return _preferred(matches)
        known = [DEMO, SCRIPTED, *(f"{entry.name}:{entry.quant}" if entry.quant else entry.name for entry in entries)]
        hint = did_you_mean(ref, known) or "Name a .gguf file, or put its folder into `model_folders` of the config."
        raise UnknownModelError(f"There is no model {ref!r}.", hint)


def _names(entry: ModelEntry) -> set[str]:
    """Every spelling that means `entry`, folded."""
    name = entry.name.casefold()
    stem = Path(entry.path or "").name.casefold().removesuffix(SUFFIX)
    return {name, stem, f"{name}:{(entry.quant or '').casefold()}"}


def _preferred(entries: Iterable[ModelEntry]) -> ModelEntry:
    """The one of several variants that is meant where no quantization is named."""
    return min(
        entries,
        key=lambda entry: (
            bool(entry.problem),
            entry.quant != PREFERRED_QUANT,
            abs((entry.bits_per_weight or 99.0) - PREFERRED_BITS),
        ),
    )


def _refuse_other_kinds(ref: str) -> None:
    folded = ref.casefold()
    if not ref.strip():
        raise UnknownModelError("The name of the model is empty.", "Name a .gguf file, or `demo`.")
    if folded.startswith(("http://", "https://")):
        raise UnknownModelError(f"{ref}: servers are not supported yet.", "Name a .gguf file, or `demo`.")
    if folded.startswith("ollama:"):
        raise UnknownModelError(f"{ref}: models of Ollama are not supported yet.", "Name a .gguf file, or `demo`.")
    name = Path(folded).name
    if name.endswith(".modelfile") or name == "modelfile" or name.startswith("modelfile."):
        raise UnknownModelError(
            f"{ref}: opening a Modelfile is not supported yet.", "Name the .gguf file that its FROM line names."
        )


def _absolute(ref: str) -> Path:
    try:
        return Path(ref).expanduser().absolute()
    except (RuntimeError, ValueError):
        return Path(ref)


def _is_path(ref: str) -> bool:
    separators = {"/", os.sep, os.altsep or "/"}
    return ref.startswith("~") or ref.casefold().endswith(SUFFIX) or any(sign in ref for sign in separators)


def _mode(path: Path) -> int:
    """The file mode of what is at `path`; 0 where nothing is, or where no path can be like that."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def _directory_error(path: Path) -> ModelFileError:
    count = len(scan([path]).files)
    files = {0: "no GGUF file", 1: "one GGUF file"}.get(count, f"{count} GGUF files")
    hint = "Name a .gguf file."
    if count:
        hint = f"Name one of them, or put the folder into `model_folders` of the config: {path}"
    return ModelFileError(f"{path}: this is a directory; it holds {files}.", hint)


def _nearest_file(path: Path) -> str:
    try:
        siblings = [child.name for child in path.parent.iterdir() if child.name.casefold().endswith(SUFFIX)]
    except (OSError, ValueError):
        return "Its folder is not there either, or cannot be read."
    return did_you_mean(path.name, siblings)
