"""Opening of Modelfiles: resolves the files and models that they name.

FROM, ADAPTER and DRAFT name files as Ollama reads them, relative to the folder of the Modelfile. A name without such a
file is the name of a model.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.core.errors import ModelFileError, ModelfileError, UnknownModelError
from workbench.core.models import ModelEntry
from workbench.core.recipe import Recipe
from workbench.core.user_path import expanded
from workbench.gguf.model import get_text
from workbench.gguf.names import SUFFIX
from workbench.gguf.reader import read_header
from workbench.library.entries import printable
from workbench.library.folders import mode_of, model_file
from workbench.library.ollama import Manifest
from workbench.library.ollama_layers import INSTEAD_OF_RENDERER, read_layers
from workbench.library.references import is_path, nearest_file
from workbench.modelfile.meaning import Modelfile
from workbench.modelfile.source import is_modelfile_name, read_file
from workbench.modelfile.versions import FOLLOWED, is_newer

MODELFILE = "modelfile"
"""The source of models that a Modelfile describes."""

_HUGGING_FACE = re.compile(r"(?:hf\.co|huggingface\.co)/", re.IGNORECASE)
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Lookups:
    """Functions that find the models that a Modelfile builds on."""

    path: Callable[[Path], ModelEntry]
    """The model in a file; raises a ModelFileError."""
    name: Callable[[str], ModelEntry]
    """A model of the library; raises an UnknownModelError."""
    ollama: Callable[[str], Manifest | None]
    """The model with this name in Ollama's store; None where there is none."""


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
    base, recipe = opened.base(), opened.recipe
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
    return _OpenedModelfile.read(path, lookups).recipe


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

    @classmethod
    def read(cls, path: Path, lookups: Lookups) -> _OpenedModelfile:
        """Read a Modelfile, and resolve the files that it names."""
        modelfile, reading = read_file(path)
        files = _NamedFiles(path)
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
        if names and names[-1] != "demo" and (manifest := lookups.ollama(_SCHEME.sub("", names[-1]))) is not None:
            weights, base = read_store_model(manifest)
        notes += _not_honoured(modelfile)
        own = replace(
            modelfile.recipe,
            adapter=str(adapter or (in_from[-1] if in_from and not names else "")),
            notes=tuple(printable(note) for note in notes),
        )
        recipe = own if base is None else own.onto(base)
        return cls(path, lookups, weights, names[-1] if names else "", recipe)

    def base(self) -> ModelEntry:
        """The model that it builds on; raises a WorkbenchError where it was not found."""
        if self.weights is not None:
            return self.lookups.path(self.weights)
        name = _SCHEME.sub("", self.name)
        repository = _HUGGING_FACE.sub("", name)
        if repository == name and is_path(name):
            path = self.path.parent / name
            raise ModelFileError(f"{self.path}: FROM {name}: there is no such file.", nearest_file(path))
        try:
            return self.lookups.name(repository)
        except UnknownModelError as error:
            hint = error.hint if repository == name else f"Get it first, for example with `ollama pull {name}`."
            raise UnknownModelError(f"{self.path}: FROM {name}: {error.message}", hint) from None


class _NamedFiles:
    """The files that the Modelfile at `path` names."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.names: list[str] = []
        """Names in FROM that are not files."""
        self.adapters: list[Path] = []
        """Adapters in FROM."""

    def _error(self, command: str, text: str, problem: str, hint: str = "") -> ModelfileError:
        return ModelfileError(printable(f"{self._path}: {command} {text}: {problem}."), hint)

    def _expanded(self, text: str) -> Path:
        return self._path.absolute().parent / expanded(text)

    def bases(self, modelfile: Modelfile) -> list[Path]:
        """The model files in FROM, including projectors and adapters; of a directory, the files in it."""
        files: list[Path] = []
        places: set[str] = set()
        for text in modelfile.bases:
            path = self._expanded(text)
            if not mode_of(path):
                self.names.append(text)
                continue
            places.add(os.path.realpath(path))
            if path.is_dir():
                files += self._inside(text, path)
            elif is_modelfile_name(path.name):
                raise self._error("FROM", text, "this is a Modelfile", "Name the model that it builds on.")
            else:
                files.append(path)
        for text in modelfile.drafts:
            path = self._expanded(text)
            if not mode_of(path):
                raise self._error("DRAFT", text, "there is no such file", nearest_file(path))
            if os.path.realpath(path) in places:
                raise self._error("DRAFT", text, f"DRAFT must not reference the same local path as FROM: {path}")
        return files

    def _inside(self, text: str, folder: Path) -> list[Path]:
        """The GGUF files of a folder, where Ollama would use them."""
        for patterns, kind in (
            (("model*.safetensors", "*/model*.safetensors", "consolidated*.safetensors"), "safetensors"),
            (("pytorch_model*.bin", "consolidated*.pth"), "PyTorch"),
            ((f"*{SUFFIX}",), "GGUF"),
            (("*.bin",), "PyTorch"),
        ):
            named = (path for pattern in patterns for path in folder.glob(pattern) if not path.name.startswith("."))
            found = sorted(path for path in named if path.is_file())
            if kind == "PyTorch":
                found = [path for path in found if _begins(path, _ZIP)]
            if found and kind == "GGUF":
                for path in found:
                    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
                        hint = f"It links to a file outside the directory. Name that file: FROM {path}"
                        raise self._error("FROM", text, f"insecure path: {path}", hint)
                return list(dict.fromkeys(model_file(path).path for path in found))
            if found:
                problem = f"the weights in this directory are in {kind} format, which llama.cpp does not read"
                raise self._error("FROM", text, problem, "Convert them to GGUF, and name that file.")
        raise self._error("FROM", text, "no Modelfile or safetensors files found", "Name a .gguf file.")

    def weights(self, files: Sequence[Path], notes: list[str]) -> Path | None:
        """The model among `files`; None where there is none."""
        models: list[Path] = []
        for path in files:
            kind = _kind_of(path)
            if kind == "adapter":
                self.adapters.append(path)
            elif kind == "projector":
                notes.append(f"{path.name} is a projector for images in Ollama, and is not used here.")
            else:
                models.append(path)
        if len(models) > 1:
            named = ", ".join(path.name for path in models)
            raise ModelfileError(f"{self._path}: FROM names several models: {named}.", "Keep one of them.")
        return models[0] if models else None

    def adapter(self, modelfile: Modelfile) -> Path | None:
        """The file that ADAPTER names; None where there is no such line."""
        text = modelfile.adapter
        if not text:
            return None
        path = self._expanded(text)
        if not mode_of(path):
            raise self._error("ADAPTER", text, "there is no such file", nearest_file(path))
        if path.is_dir():
            problem = "llama.cpp does not read adapters in safetensors format"
            raise self._error("ADAPTER", text, problem, "Convert it with llama.cpp's convert_lora_to_gguf.py.")
        if _kind_of(path) != "adapter":
            raise self._error("ADAPTER", text, "this is not a LoRA adapter", "Name a GGUF file of the type adapter.")
        return path


def _kind_of(path: Path) -> str:
    """The kind of a GGUF file: `model`, `adapter` or `projector`."""
    metadata = read_header(path).metadata
    kind, architecture = metadata.get("general.type"), metadata.get("general.architecture")
    if kind == "adapter":
        return "adapter"
    sees = f"{architecture}.vision.block_count" in metadata and f"{architecture}.block_count" not in metadata
    return "projector" if kind in ("projector", "mmproj") or architecture == "clip" or sees else "model"


def read_store_model(manifest: Manifest) -> tuple[Path, Recipe]:
    """The weights of a model of Ollama and its recipe, without its template where Ollama uses that of the GGUF file.

    Raises:
        ModelFileError: As `read_layers`.
    """
    weights, recipe = read_layers(manifest)
    if not recipe.template:
        return weights, recipe
    # Imported late, so that the first paint does not wait for the template engine.
    from workbench.modelfile.template import prefers_jinja

    jinja = get_text(read_header(weights).metadata, "tokenizer.chat_template") or ""
    return weights, replace(recipe, template="") if prefers_jinja(recipe.template, jinja) else recipe


def _begins(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


def _not_honoured(modelfile: Modelfile) -> Iterator[str]:
    if modelfile.renderer:
        unused = " TEMPLATE is not used, as in Ollama." if modelfile.template else ""
        yield f"RENDERER {modelfile.renderer} is ignored. {INSTEAD_OF_RENDERER}{unused}"
    if modelfile.parser:
        yield f"PARSER {modelfile.parser} is ignored: the answer is shown as the model writes it."
    for draft in modelfile.drafts:
        yield f"DRAFT {draft} is ignored: speculative decoding is not supported."
    if modelfile.requires and is_newer(modelfile.requires):
        yield f"REQUIRES {modelfile.requires} is newer than the supported version of Ollama, {FOLLOWED}."
