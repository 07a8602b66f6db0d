"""Search for models: the places, their order, and the views reported meanwhile."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from threading import Event

from workbench.core.models import DEMO, LibraryView, ModelEntry, Place, ScanProblem
from workbench.library.facts_process import FactsProcess
from workbench.library.file_facts import FileFacts, FileFactsCache
from workbench.library.folders import Finding, Found, find_in_folders, found_in, mode_of, model_file, read_each
from workbench.library.huggingface import HUGGING_FACE, find_hugging_face
from workbench.library.llamacpp import LLAMA_CPP, find_llama_cpp
from workbench.library.lmstudio import LM_STUDIO, find_lm_studio
from workbench.library.merge import Described, described, merged
from workbench.library.ollama import OLLAMA, find_ollama
from workbench.library.places import Places
from workbench.library.views import Report

RECENT = "recent"
READERS = 4
"""Files read at once: a disk serves several faster, and more threads would only wait for the GIL."""
WORTH_A_PROCESS = 8
"""Files that take longer to read than a child process to start."""
VIEW_SECONDS = 0.25
"""The least time between two views of a running search."""
VIEW_PAUSE = 10
"""The least time between two views, as a multiple of the time that one takes."""

STORES: Mapping[str, Callable[[Places], Iterator[Finding]]] = {
    OLLAMA: find_ollama,
    HUGGING_FACE: find_hugging_face,
    LM_STUDIO: find_lm_studio,
    LLAMA_CPP: find_llama_cpp,
}
"""Functions that find the models of other programs, by the name of the program."""


@dataclass(kw_only=True)
class Search:
    """One search."""

    places: Places
    stores: Sequence[str]
    """Names in `STORES`."""
    folders: Sequence[Path]
    demo: Path | None
    recent: Sequence[str]
    """Recently opened paths, newest first."""
    facts: FileFactsCache
    beside_screen: bool = False
    """Whether a screen is drawn meanwhile: a child process reads the files then, as keys would wait for the GIL."""

    def __post_init__(self) -> None:
        self._found: list[Found] = []
        self._problems: list[ScanProblem] = []
        self._read: dict[int, Described] = {}
        self._show_at = time.monotonic() + VIEW_SECONDS

    def run(self, report: Report, stop: Event) -> LibraryView | None:
        """Search in this thread, and report views now and then. Returns the complete view; None where stopped."""
        unread: list[int] = []
        try:
            for item in self._findings():
                if stop.is_set():
                    return None
                if isinstance(item, ScanProblem):
                    self._problems.append(item)
                    continue
                index = len(self._found)
                self._found.append(item)
                # What its source knows to be broken, such as half of a download, is not worth facts.
                readable = item.file.paths and not item.problem
                facts = self.facts.get(item.file) if readable else None
                if readable and facts is None:
                    unread.append(index)
                else:
                    self._add(index, facts)
                self._show(report)
            return self._view(complete=True) if self._read_all(unread, report, stop) else None
        finally:
            # What a stopped search has read need not be read again.
            self.facts.save()

    def _findings(self) -> Iterator[Finding]:
        if self.demo is not None:
            file = model_file(self.demo)
            yield Found(file, Place(DEMO, str(file.path), DEMO))
        yield from read_each([self.folders], find_in_folders, lambda folders: ", ".join(map(str, folders)))
        yield from read_each(self.stores, lambda name: STORES[name](self.places), str)
        for text in self.recent:
            path = Path(text)
            if stat.S_ISREG(mode_of(path)):
                yield found_in(model_file(path), RECENT)

    def _read_all(self, indices: Sequence[int], report: Report, stop: Event) -> bool:
        """Read these files; False where it was stopped."""
        if self.beside_screen and len(indices) >= WORTH_A_PROCESS:
            return self._read_in_child(indices, report, stop)

        def read(index: int) -> FileFacts | None:
            return None if stop.is_set() else self.facts.read(self._found[index].file)

        with ThreadPoolExecutor(READERS, "library") as pool:
            try:
                futures = {pool.submit(read, index): index for index in indices}
                for future in as_completed(futures):
                    if stop.is_set():
                        return False
                    self._add(futures[future], future.result())
                    self._show(report)
            finally:
                # Stopping the search or the program does not wait for files that were not begun.
                pool.shutdown(wait=False, cancel_futures=True)
        return True

    def _read_in_child(self, indices: Sequence[int], report: Report, stop: Event) -> bool:
        with FactsProcess() as reader:
            for index in indices:
                facts = self.facts.read(self._found[index].file, lambda file: reader.read(file, stop))
                if stop.is_set():
                    return False
                self._add(index, facts)
                self._show(report)
        return True

    def _add(self, index: int, facts: FileFacts | None) -> None:
        self._read[index] = described(self._found[index], facts)

    def _show(self, report: Report) -> None:
        began = time.monotonic()
        if began >= self._show_at:
            report(self._view())
            now = time.monotonic()
            # However many models there are, the screen gets most of the time.
            self._show_at = now + max(VIEW_SECONDS, VIEW_PAUSE * (now - began))

    def _view(self, *, complete: bool = False) -> LibraryView:
        found = [row for _, row in sorted(self._read.items(), key=itemgetter(0))]
        models = sorted(merged(found, self.facts.sample), key=self._order)
        return LibraryView(
            tuple(models), tuple(dict.fromkeys(self._problems)), len(self._read), len(self._found), complete
        )

    def _order(self, entry: ModelEntry) -> tuple[bool, int, str, int]:
        """The demo model first, then recently opened ones, then all others by name and size."""
        paths = {os.path.normpath(place.path) for place in entry.places}
        lately = next((index for index, path in enumerate(self.recent) if path in paths), len(self.recent))
        return entry.source != DEMO, lately, entry.name.casefold(), entry.size_bytes or 0
