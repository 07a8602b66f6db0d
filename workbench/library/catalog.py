"""The models on this machine, and the resolution of references to them."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock

from typing_extensions import override

from workbench.core.errors import ModelFileError, UnknownModelError, WorkbenchError, did_you_mean
from workbench.core.kept import kept_recipe
from workbench.core.models import DEMO, Catalog, LibraryView, ModelEntry, Naming, Place, ScanProblem
from workbench.core.parameters import Value
from workbench.core.recipe import Recipe
from workbench.core.servers import is_server_ref
from workbench.library.demo import HOW_TO_GET_DEMO, find_demo
from workbench.library.entries import make_entry, printable
from workbench.library.file_facts import FileFactsCache
from workbench.library.folders import Found, find_in_folders, found_in, mode_of, model_file, read_each
from workbench.library.modelfiles import (
    Lookups,
    check_modelfile,
    choose_template,
    open_modelfile,
    preset_recipe,
    recipe_of,
)
from workbench.library.ollama import PREFIX, Manifest, go_templates, manifests, parse_ollama_name, read_manifest
from workbench.library.ollama_layers import read_layers
from workbench.library.places import Places, find_places
from workbench.library.references import (
    absolute,
    directory_error,
    is_path,
    name_elsewhere,
    names_of,
    nearest_file,
    preferred,
    refuse_other_kinds,
    without_hub,
)
from workbench.library.search import Report, Search, views_of
from workbench.modelfile.meaning import ModelfileReport
from workbench.modelfile.presets import is_presets, open_preset
from workbench.modelfile.source import is_modelfile

SCRIPTED = "scripted"
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
        self._facts = FileFactsCache(cache)
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
            search = Search(
                places=self._places,
                stores=self._stores,
                folders=[*self._folders, *([self._own] if self._own is not None and self._own.is_dir() else [])],
                demo=self._find_demo(),
                recent=[str(absolute(path)) for path in self._recent()],
                facts=self._facts,
                beside_screen=beside_screen,
            )
            found = search.run(report, stop)
            if found is not None:
                self._view, self._searched_at = found, time.monotonic()
            return found
        finally:
            self._searching.release()

    def resolve(self, ref: str) -> ModelEntry:
        """The entry that `ref` stands for. The engine refuses one with a `problem`.

        `ref` is `demo`, `scripted`, the path of a model or of a Modelfile, `FILE.ini#NAME` for a section of
        llama-server's presets, `ollama:NAME`, or `NAME`, `NAME:QUANT` or `NAME@QUANT` of a known model. Searches
        folders and reads headers: not for the event loop.

        Raises:
            ModelfileError: It is the path of an invalid Modelfile.
            UnknownModelError: There is no such model; the nearest names are in the hint.
            ModelFileError: It is the path of a directory, or of a missing file.
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
        if is_presets(ref):
            return self._resolve_preset(ref)
        path = absolute(ref)
        if is_modelfile(path):
            return open_modelfile(path, self._lookups)
        if mode_of(path) or (is_path(ref) and without_hub(ref) == ref):
            return self._resolve_path(path)
        return self._resolve_name(ref)

    def _resolve_preset(self, ref: str) -> ModelEntry:
        path, preset = open_preset(ref)
        base = self.resolve(preset.model)
        return replace(base, ref=f"{path.absolute()}#{preset.name}", name=preset.name, recipe=preset_recipe(preset))

    def recipe(self, ref: str) -> Recipe | None:
        """The recipe without what is kept for the model. Only the Modelfile, or the manifest in a store, is read."""
        if ref.casefold().startswith(PREFIX):
            manifest = self._manifest(ref[len(PREFIX) :])
            return None if manifest is None else self._stored_recipe(manifest)
        if is_presets(ref):
            return preset_recipe(open_preset(ref)[1])
        path = absolute(ref)
        if ref in (SCRIPTED, DEMO) or not is_modelfile(path):
            return None
        return recipe_of(path, self._lookups)

    def check_modelfile(self, path: Path) -> ModelfileReport:
        """As the function of this name. It reads files: not for the event loop."""
        return check_modelfile(path, self._lookups)

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
        return name_elsewhere(path, naming, await self.models())

    @override
    async def find_recipe(self, ref: str) -> Recipe | None:
        return await asyncio.to_thread(self.recipe_with_kept, ref)

    @property
    def _lookups(self) -> Lookups:
        return Lookups(self._resolve_path, self._resolve_base, self._manifest, go_templates(self._places))

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
        entry = make_entry(found, self._facts.read(found.file) if readable else None)
        self._facts.save()
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
        # The search may know more, such as its name in a store.
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
            hint = (
                "No model of Ollama was found; OLLAMA_MODELS names the folder of its models. "
                f"`workbench pull {ref}` fetches a model without it."
            )
        not_seen = "".join(f" {problem}." for problem in problems[:2])
        raise UnknownModelError(f"Ollama has no model {ref[len(PREFIX) :]!r}.", f"{hint}{not_seen}")

    def _of_ollama(self, manifest: Manifest) -> ModelEntry:
        (found,) = read_each([manifest], lambda item: [read_manifest(item)], lambda item: item.path)
        if isinstance(found, ScanProblem):
            raise ModelFileError(f"{found}.", f"Run `ollama pull {manifest.name}`.")
        if found.problem:
            raise ModelFileError(printable(f"{PREFIX}{manifest.name}: {found.problem}"))
        return replace(self._entry(found), recipe=self._stored_recipe(manifest))

    def _stored_recipe(self, manifest: Manifest) -> Recipe | None:
        """What Ollama keeps beside the weights of a model; None for nothing.

        Raises:
            ModelFileError: It cannot be read.
        """
        weights, recipe = read_layers(manifest)
        recipe = choose_template(recipe, weights, go_templates(self._places))
        return None if recipe == Recipe() else recipe

    def _resolve_name(self, ref: str) -> ModelEntry:
        entries = [entry for entry in self.list_models(again=False) if entry.places]
        wanted = {name.casefold().replace("@", ":") for name in (ref, without_hub(ref))}
        matches = [entry for entry in entries if wanted & names_of(entry)]
        known = [DEMO, SCRIPTED, *(f"{entry.name}:{entry.quant}" if entry.quant else entry.name for entry in entries)]
        if matches and "/" in ref and len({entry.group for entry in matches}) > 1:
            several = ", ".join(sorted({entry.label for entry in matches})[:5])
            raise UnknownModelError(f"{ref!r} has several models.", f"Name one of them by its path: {several}.")
        if matches:
            return preferred(matches)
        fetch = f"`workbench pull {ref}` fetches it from Hugging Face." if "/" in ref else ""
        hint = (
            did_you_mean(ref, known)
            or fetch
            or "Name a .gguf file, or add its folder to `model_folders` in the config."
        )
        raise UnknownModelError(f"There is no model {ref!r}.", hint)
