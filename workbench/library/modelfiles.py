"""Opening of Modelfiles: resolves the files and models that they name.

FROM, ADAPTER and DRAFT name files as Ollama reads them, relative to the folder of the Modelfile. A name without such a
file is the name of a model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.core.errors import ModelFileError, ModelfileError, UnknownModelError, WorkbenchError
from workbench.core.models import ModelEntry
from workbench.core.recipe import Recipe
from workbench.gguf.model import get_text
from workbench.gguf.reader import read_header
from workbench.library.entries import printable
from workbench.library.named_files import NamedFiles
from workbench.library.ollama import Manifest, parse_ollama_name
from workbench.library.ollama_layers import INSTEAD_OF_RENDERER, read_layers
from workbench.library.references import is_path, nearest_file
from workbench.modelfile.meaning import Finding, Modelfile, ModelfileReport, finding_on
from workbench.modelfile.presets import Preset
from workbench.modelfile.source import examine_file, read_file
from workbench.modelfile.syntax import Instruction
from workbench.modelfile.versions import FOLLOWED, is_newer

MODELFILE = "modelfile"
"""The source of models that a Modelfile describes."""

UNUSED_TEMPLATE = (
    "{}: TEMPLATE is not used: as in Ollama, the chat template of the GGUF file takes precedence, because it can do "
    "more. With OLLAMA_GO_TEMPLATE=1 in the environment, TEMPLATE is used."
)

_HUGGING_FACE = re.compile(r"(?:hf\.co|huggingface\.co)/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Lookups:
    """Functions that find the models that a Modelfile builds on."""

    path: Callable[[Path], ModelEntry]
    """The model in a file; raises a ModelFileError."""
    name: Callable[[str], ModelEntry]
    """A model of the library; raises an UnknownModelError."""
    ollama: Callable[[str], Manifest | None]
    """The model with this name in Ollama's store; None where there is none."""
    go_templates: bool | None = None
    """Whether templates in Go's syntax are always or never used; None for Ollama's choice."""


def name_of(path: Path) -> str:
    """The name of the model of a Modelfile: `coder` for `coder.Modelfile` and `coder/Modelfile`."""
    folded = path.name.casefold()
    if folded.startswith("modelfile."):
        return path.name.partition(".")[2]
    if folded == "modelfile":
        return path.absolute().parent.name or path.name
    return path.name[: -len(".modelfile")] if folded.endswith(".modelfile") else path.name


def open_modelfile(path: Path, lookups: Lookups) -> ModelEntry:
    """The model that the Modelfile `path` describes, with its recipe.

    Raises:
        WorkbenchError: It cannot be read, is not valid in Ollama, or builds on a missing or unusable model.
    """
    opened = _OpenedModelfile.read(path, lookups)
    base = opened.base()
    recipe = opened.finished(Path(base.path) if base.path else None)
    swappable = not (recipe.adapter or recipe.template)
    return replace(
        base,
        ref=str(path),
        name=printable(name_of(path)),
        source=MODELFILE,
        # Another quantization of the base would lack the adapter and the template.
        group=base.group if swappable else "",
        places=(),
        recipe=recipe,
    )


def recipe_of(path: Path, lookups: Lookups) -> Recipe:
    """The recipe in the Modelfile `path`, without searching for models.

    Raises:
        WorkbenchError: It cannot be read, or names a missing or unusable file.
    """
    opened = _OpenedModelfile.read(path, lookups)
    return opened.finished(opened.weights)


def preset_recipe(preset: Preset) -> Recipe:
    """The recipe in a section of llama-server's presets."""
    notes = (f"[{preset.name}]: {name} is ignored." for name in preset.unknown)
    return Recipe(parameters=tuple(preset.values.items()), notes=tuple(map(printable, notes)))


def check_modelfile(path: Path, lookups: Lookups) -> ModelfileReport:
    """Check the Modelfile `path` as `examine_file` does, and say what opening it says of the files that it names.

    Models of the library are not searched for.

    Raises:
        ModelfileError: It cannot be read.
    """
    reading = examine_file(path)
    if reading.modelfile is None:
        return reading
    if errors := tuple(_file_errors(path, reading.modelfile, reading.commands)):
        return _refused(reading, errors)
    try:
        opened = _OpenedModelfile.read(path, lookups)
        weights = opened.weights
        if weights is None and opened.name == "demo":
            with suppress(UnknownModelError):
                weights = Path(opened.base().path or "")
        elif weights is None:
            opened.repository()
        notes = opened.finished(weights).notes[len(reading.warnings) :]
    except WorkbenchError as error:
        return _refused(reading, (_finding(path, error, reading.commands),))
    return _with_notes(reading, notes)


def _refused(reading: ModelfileReport, errors: tuple[Finding, ...]) -> ModelfileReport:
    """The report on a Modelfile that cannot be opened, with what would be said if it could."""
    assert reading.modelfile is not None
    noted = _with_notes(reading, _not_honoured(reading.modelfile))
    return replace(noted, modelfile=None, errors=errors)


def _with_notes(reading: ModelfileReport, notes: Iterable[str]) -> ModelfileReport:
    found = (finding_on(reading.commands, note.removesuffix(".")) for note in notes)
    return replace(reading, warnings=(*reading.warnings, *found))


def _file_errors(path: Path, modelfile: Modelfile, commands: Sequence[Instruction]) -> Iterator[Finding]:
    """Why the adapter and the draft models cannot be used."""
    files = NamedFiles(path)
    drafts = (replace(modelfile, drafts=(draft,)) for draft in modelfile.drafts)
    for read, alone in ((files.adapter, modelfile), *((files.bases, each) for each in drafts)):
        try:
            read(alone)
        except WorkbenchError as error:
            yield _finding(path, error, commands)


def _finding(path: Path, error: WorkbenchError, commands: Sequence[Instruction]) -> Finding:
    return finding_on(commands, error.message.removeprefix(f"{path}: ").removesuffix("."), error.hint)


@dataclass(frozen=True, slots=True)
class _OpenedModelfile:
    """A Modelfile with its files resolved."""

    path: Path
    lookups: Lookups
    weights: Path | None
    """The model file; None where FROM names a model that is not in Ollama's store."""
    name: str
    """The model that FROM names; empty where it names a file."""
    recipe: Recipe
    has_template: bool
    """Whether its own TEMPLATE is in the recipe."""

    @classmethod
    def read(cls, path: Path, lookups: Lookups) -> _OpenedModelfile:
        """Read a Modelfile, and resolve the files that it names."""
        modelfile, reading = read_file(path)
        files = NamedFiles(path)
        notes = [f"{path.name}, line {each.line}: {each.message}." for each in reading.warnings]
        adapter = files.adapter(modelfile)
        bases = files.bases(modelfile)
        weights, in_from, names = files.weights(bases, notes), files.adapters, files.names
        if not names and weights is None:
            raise ModelfileError(f"{path}: FROM names no model.", "Add a line such as FROM ./model.gguf.")
        if names and bases:
            notes.append(f"FROM names the model {names[-1]} as well as files: the files are ignored, as in Ollama.")
            weights = None
        base = None
        if names and names[-1] != "demo" and (manifest := lookups.ollama(names[-1])) is not None:
            weights, base = read_layers(manifest)
        notes += _not_honoured(modelfile)
        own = modelfile.recipe
        if draft := files.draft(modelfile):
            own = replace(own, parameters=(*own.parameters, ("speculation", draft)))
        own = replace(
            own,
            adapter=str(adapter or (in_from[-1] if in_from and not names else "")),
            notes=tuple(printable(note) for note in notes),
        )
        recipe = own if base is None else own.onto(base)
        return cls(path, lookups, weights, names[-1] if names else "", recipe, bool(own.template and recipe.template))

    def finished(self, weights: Path | None) -> Recipe:
        """The recipe, with the template that Ollama would use for these weights."""
        recipe = choose_template(self.recipe, weights, self.lookups.go_templates)
        if recipe.template or not self.has_template:
            return recipe
        return replace(recipe, notes=(*recipe.notes, UNUSED_TEMPLATE.format(printable(self.path.name))))

    def base(self) -> ModelEntry:
        """The model that it builds on; raises a WorkbenchError where it was not found."""
        if self.weights is not None:
            return self.lookups.path(self.weights)
        repository = self.repository()
        try:
            return self.lookups.name(repository)
        except UnknownModelError as error:
            elsewhere = repository != self.name
            hint = f"Get it first, for example with `ollama pull {self.name}`." if elsewhere else error.hint
            raise UnknownModelError(f"{self.path}: FROM {self.name}: {error.message}", hint) from None

    def repository(self) -> str:
        """The name in FROM as the library knows it; raises a WorkbenchError where it cannot be the name of a model."""
        if "://" in self.name and parse_ollama_name(self.name) is None:
            hint = "A scheme such as https:// stands before a host: https://HOST/NAMESPACE/MODEL."
            raise UnknownModelError(f"{self.path}: FROM {self.name}: invalid model name.", hint)
        name = self.name.partition("://")[2] or self.name
        repository = _HUGGING_FACE.sub("", name)
        if repository == name and is_path(name):
            path = self.path.parent / name
            raise ModelFileError(f"{self.path}: FROM {name}: there is no such file.", nearest_file(path))
        return repository


def choose_template(recipe: Recipe, weights: Path | None, go_templates: bool | None = None) -> Recipe:
    """`recipe`, without its template where Ollama uses that of the GGUF file `weights`.

    `go_templates` is that of `Lookups`.

    Raises:
        ModelFileError: The file cannot be read.
    """
    if not recipe.template or recipe.parser or weights is None or go_templates:
        return recipe
    # Imported late, so that the first paint does not wait for the template engine.
    from workbench.modelfile.preference import prefers_jinja

    metadata = read_header(weights).metadata
    jinja = get_text(metadata, "tokenizer.chat_template") or ""
    architecture = get_text(metadata, "general.architecture") or ""
    unused = go_templates is False or prefers_jinja(recipe.template, jinja, architecture)
    return replace(recipe, template="") if unused else recipe


def _not_honoured(modelfile: Modelfile) -> Iterator[str]:
    if modelfile.renderer:
        unused = " TEMPLATE is not used, as in Ollama." if modelfile.template else ""
        yield f"RENDERER {modelfile.renderer} is ignored. {INSTEAD_OF_RENDERER}{unused}"
    if modelfile.parser:
        yield f"PARSER {modelfile.parser} is ignored: the answer is shown as the model writes it."
    for draft in modelfile.drafts[:-1]:
        yield f"DRAFT {draft} is ignored: another one follows."
    if modelfile.requires and is_newer(modelfile.requires):
        yield f"REQUIRES {modelfile.requires} is newer than the supported version of Ollama, {FOLLOWED}."
