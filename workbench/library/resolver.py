"""The resolution of references: names, paths, Modelfiles, sections of presets, and names in Ollama's store."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from workbench.core.errors import ModelFileError, UnknownModelError, did_you_mean
from workbench.core.models import DEMO, SCRIPTED, ModelEntry, Place, ScanProblem
from workbench.core.recipe import Recipe
from workbench.library.demo import HOW_TO_GET_DEMO
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
from workbench.library.places import Places
from workbench.library.references import (
    absolute,
    directory_error,
    is_path,
    names_of,
    nearest_file,
    preferred,
    refuse_other_kinds,
    without_hub,
)
from workbench.modelfile.meaning import ModelfileReport
from workbench.modelfile.presets import is_presets, open_preset
from workbench.modelfile.source import is_modelfile


class Resolver:
    """Finds what references stand for. It reads files: not for the event loop.

    `find_demo_file` gives the file of the demo model; `known` gives the models that the last search has found, and
    `models` searches where that is no longer current.
    """

    def __init__(
        self,
        places: Places,
        facts: FileFactsCache,
        find_demo_file: Callable[[], Path | None],
        known: Callable[[], Sequence[ModelEntry]],
        models: Callable[[], Sequence[ModelEntry]],
    ) -> None:
        self.facts = facts
        self._places = places
        self._find_demo = find_demo_file
        self._known = known
        self._models = models

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
        entry = make_entry(found, self.facts.read(found.file) if readable else None)
        self.facts.save()
        return entry

    def _resolve_path(self, path: Path) -> ModelEntry:
        if stat.S_ISDIR(mode_of(path)):
            count = sum(isinstance(item, Found) for item in find_in_folders([path]))
            raise directory_error(path, count)
        if not mode_of(path):
            raise ModelFileError(f"{path}: there is no such file.", nearest_file(path))
        entry = self._entry(found_in(model_file(path), str(path.parent)))
        known = next((model for model in self._known() if model.path == entry.path), None)
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
        entries = [entry for entry in self._models() if entry.places]
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
