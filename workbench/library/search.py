"""Searching for models: where, in which order, and what is told while it goes on."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Event

from workbench.core.models import LibraryView, ModelEntry, Place, ScanProblem
from workbench.library.folders import Finding, Found, find_in_folders, found_in, mode_of, model_file
from workbench.library.huggingface import HUGGING_FACE, find_hugging_face
from workbench.library.llamacpp import LLAMA_CPP, find_llama_cpp
from workbench.library.lmstudio import LM_STUDIO, find_lm_studio
from workbench.library.merge import Candidate, merged
from workbench.library.ollama import OLLAMA, find_ollama
from workbench.library.places import Places
from workbench.library.readings import Reading, Readings

DEMO = "demo"
RECENT = "recent"
READERS = 4
"""Files that are read at once: a disk is faster where it is asked for several, and more would only wait for Python."""
VIEW_SECONDS = 0.25
"""The time between two views of a search that goes on, at least."""

STORES: Mapping[str, Callable[[Places], Iterator[Finding]]] = {
    OLLAMA: find_ollama,
    HUGGING_FACE: find_hugging_face,
    LM_STUDIO: find_lm_studio,
    LLAMA_CPP: find_llama_cpp,
}
"""What finds the models that other programs keep, by the name of the program."""


class Search:
    """One search.

    Args:
        places: Where the stores of other programs are looked for.
        stores: Which of `STORES` to look into.
        folders: Folders to search, with everything below them.
        demo: The file of the demo model; None where it is not installed.
        recent: Paths that were opened lately, newest first.
        readings: Reads the files.
        gentle: Whether a screen is drawn meanwhile. Readers take Python from it, each as much as it has itself: there
            is one then, which rests as long as it reads.
    """

    def __init__(
        self,
        *,
        places: Places,
        stores: Sequence[str],
        folders: Sequence[Path],
        demo: Path | None,
        recent: Sequence[str],
        readings: Readings,
        gentle: bool = False,
    ) -> None:
        self._places = places
        self._stores = stores
        self._folders = folders
        self._demo = demo
        self._recent = recent
        self._readings = readings
        self._gentle = gentle
        self._found: list[Found] = []
        self._problems: list[ScanProblem] = []
        self._read: dict[int, Reading | None] = {}
        self._shown_at = time.monotonic()

    def run(self, tell: Callable[[LibraryView], None], stop: Event) -> LibraryView | None:
        """Search, in this thread.

        Args:
            tell: Given what is known so far, now and then.
            stop: Ends the search.

        Returns:
            The complete view; None where it was stopped.
        """
        try:
            return self._run(tell, stop)
        finally:
            # What was read before it was stopped need not be read again.
            self._readings.save()

    def _run(self, tell: Callable[[LibraryView], None], stop: Event) -> LibraryView | None:
        unread: list[int] = []
        for item in self._findings():
            if stop.is_set():
                return None
            if isinstance(item, ScanProblem):
                self._problems.append(item)
                continue
            index = len(self._found)
            self._found.append(item)
            # What its source knows to be broken, such as half of a download, is not worth reading.
            reading = None if item.problem or not item.file.paths else self._readings.get(item.file)
            if reading is None and item.file.paths and not item.problem:
                unread.append(index)
            else:
                self._read[index] = reading
            self._show(tell)
        if not self._read_all(unread, tell, stop):
            return None
        return self._view(complete=True)

    def _findings(self) -> Iterator[Finding]:
        if self._demo is not None:
            file = model_file(self._demo)
            yield Found(file, Place(DEMO, str(file.path), DEMO))
        yield from find_in_folders(self._folders)
        for name in self._stores:
            yield from STORES[name](self._places)
        for text in self._recent:
            path = Path(text)
            if stat.S_ISREG(mode_of(path)):
                yield found_in(model_file(path), RECENT)

    def _read_all(self, indices: Sequence[int], tell: Callable[[LibraryView], None], stop: Event) -> bool:
        """Read these files; False where that was stopped."""
        if not indices:
            return True

        def read(index: int) -> Reading | None:
            if stop.is_set():
                return None
            began = time.monotonic()
            reading = self._readings.read(self._found[index].file)
            if self._gentle:
                stop.wait(time.monotonic() - began)
            return reading

        with ThreadPoolExecutor(1 if self._gentle else READERS, "library") as pool:
            try:
                futures = {pool.submit(read, index): index for index in indices}
                for future in as_completed(futures):
                    if stop.is_set():
                        return False
                    self._read[futures[future]] = future.result()
                    self._show(tell)
            finally:
                # Whoever stops it, or interrupts the program, does not wait for what was not begun.
                pool.shutdown(wait=False, cancel_futures=True)
        return True

    def _show(self, tell: Callable[[LibraryView], None]) -> None:
        now = time.monotonic()
        if now - self._shown_at >= VIEW_SECONDS:
            tell(self._view())
            # Counted from the end, so that showing never takes most of the time.
            self._shown_at = time.monotonic()

    def _view(self, *, complete: bool = False) -> LibraryView:
        candidates = [Candidate(self._found[index], reading) for index, reading in sorted(self._read.items())]
        models = sorted(merged(candidates, self._readings.sample), key=self._order)
        return LibraryView(
            tuple(models), tuple(dict.fromkeys(self._problems)), len(self._read), len(self._found), complete
        )

    def _order(self, entry: ModelEntry) -> tuple[bool, int, str, int]:
        """The demo model first, then what was opened lately, then all others by name and size."""
        paths = {os.path.normpath(place.path) for place in entry.places}
        lately = next((index for index, path in enumerate(self._recent) if path in paths), len(self._recent))
        return entry.source != DEMO, lately, entry.name.casefold(), entry.size_bytes or 0
