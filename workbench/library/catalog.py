"""The models at hand, and what a reference to one of them means."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock

from workbench.core.errors import ModelFileError, UnknownModelError, did_you_mean
from workbench.core.models import LibraryView, ModelEntry, Naming, Place, ScanProblem
from workbench.core.recipe import Recipe
from workbench.library.background import Tell, views_of
from workbench.library.demo import HOW_TO_GET_DEMO, find_demo
from workbench.library.elsewhere import name_elsewhere
from workbench.library.entries import make_entry, printable
from workbench.library.folders import Found, find_in_folders, found_in, mode_of, model_file
from workbench.library.modelfiles import Lookups, open_modelfile, recipe_of
from workbench.library.ollama import PREFIX, Manifest, manifests, parse_ollama_name, read_manifest
from workbench.library.places import Places, find_places
from workbench.library.readings import Readings
from workbench.library.references import (
    absolute,
    directory_error,
    is_path,
    names_of,
    nearest_file,
    preferred,
    refuse_other_kinds,
)
from workbench.library.search import DEMO, Search
from workbench.modelfile.source import is_modelfile

SCRIPTED = "scripted"
FRESH_SECONDS = 5.0
"""So long the result of a search is taken for the state of things, unless a new one is asked for."""
LOCK_SECONDS = 0.05
"""How often a search that waits for another one looks whether it is still wanted."""


class LibraryCatalog:
    """The demo model, the model files in the configured folders and in other programs' stores, and recent ones.

    Args:
        folders: The folders to search, with everything below them.
        recent: Called for the paths that were opened lately, newest first.
        find_demo_file: Called for the file of the demo model.
        stores: Whose stores to look into: names in `search.STORES`.
        places: Where those are looked for; None for the places of this user.
        cache: The file in which it is kept what the files say; None for none.
    """

    def __init__(
        self,
        folders: Sequence[Path] = (),
        recent: Callable[[], Sequence[str]] = tuple,
        find_demo_file: Callable[[], Path | None] = find_demo,
        *,
        stores: Sequence[str] = (),
        places: Places | None = None,
        cache: Path | None = None,
    ) -> None:
        self._folders = tuple(folders)
        self._recent = recent
        self._find_demo = find_demo_file
        self._stores = tuple(stores)
        self._places = find_places() if places is None else places
        self._readings = Readings(cache)
        self._searching = Lock()
        self._view = LibraryView()
        self._searched_at = float("-inf")

    @property
    def problems(self) -> Sequence[ScanProblem]:
        """What the last search could not look at."""
        return self._view.problems

    async def models(self) -> Sequence[ModelEntry]:
        """Every model that can be opened: the demo model first, then the recent ones, then all others by name."""
        return await asyncio.to_thread(self.list_models, again=False)

    def list_models(self, *, again: bool = True) -> Sequence[ModelEntry]:
        """The same as `models`, in this thread.

        Args:
            again: Whether to search even where a search was finished a moment ago.
        """
        view = self._search(lambda _: None, Event(), again=again)
        return () if view is None else view.models

    async def watch(self, *, again: bool = False) -> AsyncGenerator[LibraryView, None]:
        """The models: at once those that are known, then more as a search finds them; the last view is complete.

        Args:
            again: Whether to search even where a search was finished a moment ago.
        """
        known = self._view
        if known.complete and not again and self._is_fresh():
            yield known
            return
        if known.models:
            yield replace(known, complete=False)
        views = views_of(lambda tell, stop: self._search(tell, stop, again=again, gentle=True))
        async with aclosing(views):
            async for view in views:
                # A model that was there a moment ago does not go away until it is known to have gone.
                shrunk = not view.complete and len(view.models) < len(known.models)
                yield replace(view, models=known.models) if shrunk else view

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._searched_at < FRESH_SECONDS

    def _search(self, tell: Tell, stop: Event, *, again: bool, gentle: bool = False) -> LibraryView | None:
        """The view of a search that was finished a moment ago, or of a new one; None where that was stopped."""
        while not self._searching.acquire(timeout=LOCK_SECONDS):
            if stop.is_set():
                return None
        try:
            if self._is_fresh() and not again:
                return self._view
            search = Search(
                places=self._places,
                stores=self._stores,
                folders=self._folders,
                demo=self._find_demo(),
                recent=[str(absolute(path)) for path in self._recent()],
                readings=self._readings,
                gentle=gentle,
            )
            found = search.run(tell, stop)
            if found is not None:
                self._view, self._searched_at = found, time.monotonic()
            return found
        finally:
            self._searching.release()

    def resolve(self, ref: str) -> ModelEntry:
        """The entry that `ref` means. It may have a `problem`, which the engine will refuse it for.

        Searches folders and reads headers: not for the event loop.

        Args:
            ref: `demo`, `scripted`, the path of a model or of a Modelfile, `ollama:NAME`, or `NAME`, `NAME:QUANT` or
                `NAME@QUANT` of a model at hand.

        Raises:
            ModelfileError: It names a Modelfile that is not sound.
            UnknownModelError: It names nothing; the nearest names are in the hint.
            ModelFileError: It names a directory, or a file that is not there.
        """
        if ref == SCRIPTED:
            return ModelEntry(ref=SCRIPTED, name=SCRIPTED, source=SCRIPTED)
        if ref == DEMO:
            demo = self._find_demo()
            if demo is None:
                raise UnknownModelError("The demo model is not installed.", HOW_TO_GET_DEMO)
            return self._entry(Found(model_file(demo), Place(DEMO, str(demo), DEMO)))
        refuse_other_kinds(ref)
        if ref.casefold().startswith(PREFIX):
            return self._resolve_ollama(ref)
        path = absolute(ref)
        if is_modelfile(path):
            return open_modelfile(path, self._lookups)
        if is_path(ref) or mode_of(path):
            return self._resolve_path(path)
        return self._resolve_name(ref)

    def recipe(self, ref: str) -> Recipe | None:
        """What goes with the weights of the model that `ref` means; None where no Modelfile describes it.

        Reads the Modelfile, and searches for nothing.

        Raises:
            WorkbenchError: The Modelfile cannot be read or is not sound.
        """
        path = absolute(ref)
        if ref in (SCRIPTED, DEMO) or not is_modelfile(path):
            return None
        return recipe_of(path, self._lookups)

    async def name_elsewhere(self, path: str, naming: Naming) -> str:
        """What a Modelfile may call the model in the file `path`.

        Raises:
            UnknownModelError: The file has no such name that is known.
        """
        return name_elsewhere(path, naming, await self.models())

    async def find_recipe(self, ref: str) -> Recipe | None:
        """The same as `recipe`, in another thread."""
        return await asyncio.to_thread(self.recipe, ref)

    @property
    def _lookups(self) -> Lookups:
        return Lookups(self._resolve_path, self._resolve_base, self._manifest)

    def _resolve_base(self, name: str) -> ModelEntry:
        return self.resolve(name) if name in (SCRIPTED, DEMO) else self._resolve_name(name)

    def _manifest(self, name: str) -> Manifest | None:
        wanted = parse_ollama_name(name)
        if wanted is None:
            return None
        found = (item for item in manifests(self._places) if isinstance(item, Manifest))
        return next((item for item in found if item.name.folded == wanted.folded), None)

    def _entry(self, found: Found) -> ModelEntry:
        readable = found.file.paths and not found.problem
        entry = make_entry(found, self._readings.read(found.file) if readable else None)
        self._readings.save()
        return entry

    def _resolve_path(self, path: Path) -> ModelEntry:
        if stat.S_ISDIR(mode_of(path)):
            count = sum(isinstance(item, Found) for item in find_in_folders([path]))
            raise directory_error(path, count)
        if not mode_of(path):
            raise ModelFileError(f"{path}: there is no such file.", nearest_file(path))
        entry = self._entry(found_in(model_file(path), str(path.parent)))
        known = next((model for model in self._view.models if model.path == entry.path), None)
        if known is None or (known.size_bytes, known.problem) != (entry.size_bytes, entry.problem):
            return entry
        # The search may know more of it, such as what a store calls it.
        return replace(known, ref=entry.ref)

    def _resolve_ollama(self, ref: str) -> ModelEntry:
        wanted = parse_ollama_name(ref[len(PREFIX) :])
        known: list[Manifest] = []
        problems: list[ScanProblem] = []
        for item in manifests(self._places):
            if isinstance(item, ScanProblem):
                problems.append(item)
                continue
            known.append(item)
            if wanted is not None and item.name.folded == wanted.folded:
                return self._of_ollama(item)
        names = [f"{PREFIX}{manifest.name}" for manifest in known]
        hint = did_you_mean(ref, names)
        if not hint and names:
            hint = f"Ollama has {', '.join(names[:5])}{', …' if len(names) > 5 else ''}."
        elif not hint:
            hint = "No model of Ollama was found; OLLAMA_MODELS names the folder of its models."
        not_seen = "".join(f" {problem}." for problem in problems[:2])
        raise UnknownModelError(f"Ollama has no model {ref[len(PREFIX) :]!r}.", f"{hint}{not_seen}")

    def _of_ollama(self, manifest: Manifest) -> ModelEntry:
        found = read_manifest(manifest)
        if isinstance(found, ScanProblem):
            raise ModelFileError(f"{found}.", f"Run `ollama pull {manifest.name}`.")
        if found.problem:
            raise ModelFileError(printable(f"{PREFIX}{manifest.name}: {found.problem}"))
        return self._entry(found)

    def _resolve_name(self, ref: str) -> ModelEntry:
        entries = [entry for entry in self.list_models(again=False) if entry.places]
        wanted = ref.casefold().replace("@", ":")
        matches = [entry for entry in entries if wanted in names_of(entry)]
        known = [DEMO, SCRIPTED, *(f"{entry.name}:{entry.quant}" if entry.quant else entry.name for entry in entries)]
        if matches and "/" in ref and len({entry.group for entry in matches}) > 1:
            several = ", ".join(sorted({entry.label for entry in matches})[:5])
            raise UnknownModelError(f"{ref!r} holds several models.", f"Name one of them by its path: {several}.")
        if matches:
            return preferred(matches)
        hint = did_you_mean(ref, known) or "Name a .gguf file, or put its folder into `model_folders` of the config."
        raise UnknownModelError(f"There is no model {ref!r}.", hint)
