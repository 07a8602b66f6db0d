"""The models on this machine, and the resolution of references to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING

from typing_extensions import override

from workbench.core.errors import WorkbenchError
from workbench.core.kept import kept_recipe
from workbench.core.models import DEMO, SCRIPTED, Catalog, LibraryView, ModelEntry, Naming, ScanProblem
from workbench.core.parameters import Value
from workbench.core.recipe import Recipe
from workbench.core.servers import is_server_ref
from workbench.core.user_path import expanded
from workbench.library.demo import find_demo
from workbench.library.places import Places, find_places
from workbench.library.views import Report, views_of

if TYPE_CHECKING:
    from workbench.library.resolver import Resolver
    from workbench.modelfile.meaning import ModelfileReport

# What reads model files is imported by the thread that first searches or resolves, and not before the first paint.

FRESH_SECONDS = 5.0
"""How long the result of a search counts as current."""
LOCK_SECONDS = 0.05
"""How often a search that waits for another one checks whether it was stopped."""


class LibraryCatalog(Catalog):
    """The demo model, the models in the configured folders and in the stores of other programs, and recent ones.

    `recent` returns the recently opened paths, newest first; `stores` are names in `search.STORES`, which are searched
    for in `places` (None: those of this user); `cache` is the file that caches facts of model files.
    """

    def __init__(
        self,
        folders: Sequence[Path] = (),
        recent: Callable[[], Sequence[str]] = tuple,
        find_demo_file: Callable[[], Path | None] = find_demo,
        *,
        own: Path | None = None,
        stores: Sequence[str] = (),
        places: Places | None = None,
        cache: Path | None = None,
        kept: Callable[[ModelEntry], Mapping[str, Value]] = lambda _: {},
    ) -> None:
        self._kept = kept
        self._folders = tuple(folders)
        self._own = own
        self._recent = recent
        self._find_demo = find_demo_file
        self._stores = tuple(stores)
        self._places = find_places() if places is None else places
        self._cache = cache
        self._made: Resolver | None = None
        self._making = Lock()
        self._searching = Lock()
        self._view = LibraryView()
        self._searched_at = float("-inf")

    def add_folder(self, folder: Path) -> None:
        """Search another folder from now on."""
        self._folders = (*self._folders, folder)
        self._searched_at = float("-inf")

    @property
    def problems(self) -> Sequence[ScanProblem]:
        """What the last search could not read."""
        return self._view.problems

    @override
    async def models(self) -> Sequence[ModelEntry]:
        return await asyncio.to_thread(self.list_models, again=False)

    def list_models(self, *, again: bool = True) -> Sequence[ModelEntry]:
        """As `models`, in this thread; `again` searches even where the last search is still current."""
        view = self._search(lambda _: None, Event(), again=again)
        return () if view is None else view.models

    @override
    async def watch(self, *, again: bool = False) -> AsyncGenerator[LibraryView, None]:
        known = self._view
        if known.complete and not again and self._is_fresh():
            yield known
            return
        if known.models:
            yield replace(known, complete=False)
        views = views_of(lambda report, stop: self._search(report, stop, again=again, beside_screen=True))
        async with aclosing(views):
            async for view in views:
                # A known model stays until the complete search has not found it.
                shrunk = not view.complete and len(view.models) < len(known.models)
                yield replace(view, models=known.models) if shrunk else view

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._searched_at < FRESH_SECONDS

    def _search(self, report: Report, stop: Event, *, again: bool, beside_screen: bool = False) -> LibraryView | None:
        """The view of the last search where it is current, or of a new one; None where that was stopped."""
        while not self._searching.acquire(timeout=LOCK_SECONDS):
            if stop.is_set():
                return None
        try:
            if self._is_fresh() and not again:
                return self._view
            from workbench.library.search import Search

            search = Search(
                places=self._places,
                stores=self._stores,
                folders=[*self._folders, *([self._own] if self._own is not None and self._own.is_dir() else [])],
                demo=self._find_demo(),
                recent=[str(expanded(path).absolute()) for path in self._recent()],
                facts=self._resolver.facts,
                beside_screen=beside_screen,
            )
            found = search.run(report, stop)
            if found is not None:
                self._view, self._searched_at = found, time.monotonic()
            return found
        finally:
            self._searching.release()

    @property
    def _resolver(self) -> Resolver:
        # A search and a load may need it at once, each in its own thread.
        with self._making:
            if self._made is None:
                from workbench.library.file_facts import FileFactsCache
                from workbench.library.resolver import Resolver

                known, models = lambda: self._view.models, partial(self.list_models, again=False)
                facts = FileFactsCache(self._cache)
                self._made = Resolver(self._places, facts, self._find_demo, known, models)
            return self._made

    def resolve(self, ref: str) -> ModelEntry:
        """As `Resolver.resolve`."""
        return self._resolver.resolve(ref)

    def recipe(self, ref: str) -> Recipe | None:
        """As `Resolver.recipe`."""
        return None if ref in (DEMO, SCRIPTED) else self._resolver.recipe(ref)

    def check_modelfile(self, path: Path) -> ModelfileReport:
        """As `Resolver.check_modelfile`."""
        return self._resolver.check_modelfile(path)

    def recipe_with_kept(self, ref: str) -> Recipe | None:
        """As `find_recipe`, in this thread."""
        described = self.recipe(ref)
        entry = ModelEntry(ref, ref.partition("#")[2])
        if not is_server_ref(ref):
            try:
                entry = self.resolve(ref)
            except WorkbenchError:
                # Opening the model reports it.
                return described
        kept = self._kept(entry)
        return kept_recipe(kept).onto(described or Recipe()) if kept else described

    @override
    async def name_elsewhere(self, path: str, naming: Naming) -> str:
        models = await self.models()
        from workbench.library.references import name_elsewhere

        return name_elsewhere(path, naming, models)

    @override
    async def find_recipe(self, ref: str) -> Recipe | None:
        return await asyncio.to_thread(self.recipe_with_kept, ref)
