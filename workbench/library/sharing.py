"""One model file for several programs: by links into their stores, and by joining the copies that they have."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from workbench.core.errors import ParameterError, TargetError, WorkbenchError
from workbench.core.models import ModelEntry
from workbench.core.sharing import Destination, Joining, ModelSharing, Removal
from workbench.core.units import size_text
from workbench.library.folders import model_file
from workbench.library.huggingface import HUGGING_FACE
from workbench.library.links import EFFECTS, Way, link_file, same_file
from workbench.library.lmstudio import LM_STUDIO, models_folders
from workbench.library.ollama import OLLAMA, ollama_stores
from workbench.library.places import Places
from workbench.library.removal import TITLES, removal_of, remove_files

OWN = "own"
_STEP = 8 * 2**20
_BLOB = re.compile(r"(?:sha256[-:])?[0-9a-f]{40,64}")
_FOLDER = re.compile(r'[/<>:"\\|?*\x00-\x1f]')
"""What LM Studio does not take in the name of a folder."""


@dataclass(frozen=True, slots=True)
class LibrarySharing(ModelSharing):
    """Shares the models of this machine."""

    places: Places
    own: Path
    """The models folder of this program."""
    to_ollama: Callable[[Path, str], str]
    """Creates a model of a name in the Ollama that runs, from a blob of its store; gives its name there."""
    to_hub: Callable[[Path, str, str], tuple[Path, Way]]
    """Links a file into Hugging Face's cache: the file, its SHA-256 and its repository; gives the link in the cache."""

    @override
    def destinations(self, model: ModelEntry) -> Sequence[Destination]:
        programs = (LM_STUDIO, OLLAMA, HUGGING_FACE, OWN)
        taken = {place.source for place in model.places}
        return [self._destination(model, each, taken) for each in programs]

    def _destination(self, model: ModelEntry, program: str, taken: set[str]) -> Destination:
        title = TITLES.get(program, "the models folder of this program")
        if program in taken:
            return Destination(program, title, problem="it is there")
        try:
            return Destination(program, title, str(self._target(model, program)))
        except WorkbenchError as error:
            return Destination(program, title, problem=error.message)

    def _target(self, model: ModelEntry, program: str) -> Path:
        """Where the first file will be; for Ollama and Hugging Face the folder of their stores."""
        path = _path_of(model)
        if program == OLLAMA:
            if len(model_file(path).paths) > 1:
                raise TargetError("Ollama takes no split models.", "Join the parts: llama-gguf-split --merge")
            return _ollama_store(self.places) / "blobs"
        if program == HUGGING_FACE:
            if not _repository_of(model):
                raise TargetError("nothing says which repository it came from", "Name it: --as USER/REPO")
            return Path(_repository_of(model))
        if program == LM_STUDIO:
            folder = next(iter(models_folders(self.places)))
            if not folder.is_dir():
                raise TargetError(f"{folder} does not exist: LM Studio has no models of this user.", "Start it once.")
            publisher, _, repository = (_repository_of(model) or f"workbench/{model.name}").partition("/")
            return folder / _folder_name(publisher) / _folder_name(repository) / file_name(model, path)
        return (self.own if program == OWN else Path(program)) / file_name(model, path)

    @override
    def share(self, model: ModelEntry, program: str, name: str = "") -> Sequence[str]:
        path = _path_of(model)
        if program == OLLAMA:
            return self._share_with_ollama(model, path, name)
        if program == HUGGING_FACE:
            repository = name or _repository_of(model)
            if repository.count("/") != 1:
                raise ParameterError(f"{model.label}: which repository is it from?", "Name it: --as USER/REPO")
            link, way = self.to_hub(path, _sha256(path), repository)
            return [*_said(link, way)]
        first = self._target(model, program)
        said: list[str] = []
        for part in _with_pictures(path):
            target = first if part == path else first.with_name(part.name)
            if not same_file(part, target):
                said += _said(target, link_file(part, target))
        return said or [f"{first} is the same file already."]

    def _share_with_ollama(self, model: ModelEntry, path: Path, name: str) -> Sequence[str]:
        blob = self._target(model, OLLAMA) / f"sha256-{_sha256(path)}"
        way = None
        if not blob.exists():
            way = link_file(path, blob)
        try:
            created = self.to_ollama(blob, name or _ollama_name(model))
        except WorkbenchError:
            if way is not None:
                # No manifest names it, and Ollama would delete it at its next start.
                blob.unlink(missing_ok=True)
            raise
        return [f"`ollama run {created}` runs it.", *(_said(blob, way) if way else ())]

    # Copies

    @override
    def copies(self, model: ModelEntry) -> Joining:
        path = _path_of(model)
        keep, seen, lines, freed = path.resolve(), [path.resolve()], [], 0
        joinable: list[str] = []
        for place in model.places:
            other = Path(place.path).resolve()
            if not other.is_file() or any(same_file(other, each) for each in seen):
                continue
            seen.append(other)
            if len(model_file(path).paths) > 1:
                lines.append(f"{other} is split, and stays a copy.")
            elif other.stat().st_dev != keep.stat().st_dev:
                lines.append(f"{other} is on another disk, and stays a copy.")
            else:
                joinable.append(str(other))
                freed += other.stat().st_size if other.stat().st_nlink == 1 else 0
        return Joining(str(keep), tuple(joinable), freed, tuple(lines))

    @override
    def join(self, joining: Joining) -> Sequence[str]:
        keep = Path(joining.keep)
        wanted, said = _sha256(keep), []
        for text in joining.paths:
            other = Path(text)
            if _sha256(other) != wanted:
                raise TargetError(f"{other} and {keep} differ.", "One may be damaged: `workbench verify` tells.")
            beside = other.with_name(f".workbench-{secrets.token_hex(6)}.tmp")
            size = other.stat().st_size
            way = link_file(keep, beside)
            try:
                beside.replace(other)
            except OSError as error:
                beside.unlink(missing_ok=True)
                raise TargetError(f"{other} cannot be replaced: {error.strerror or error}.") from error
            said += [f"{size_text(size)} came free.", *_said(other, way)]
        return said

    # Deleting

    @override
    def removal(self, model: ModelEntry) -> Removal:
        return removal_of(model, self.own)

    @override
    def remove(self, removal: Removal) -> None:
        roots = {self.own, *models_folders(self.places)}
        remove_files(removal, lambda folder: folder in roots or not roots & set(folder.parents))


def _path_of(model: ModelEntry) -> Path:
    if model.path is None:
        raise TargetError(f"{model.label} has no file on this machine.")
    if model.problem:
        raise TargetError(f"{model.label}: {model.problem}")
    return Path(model.path)


def _said(path: Path, way: Way) -> list[str]:
    return [f"{path}: a {way}, nothing was copied. That is {EFFECTS[way]}."]


def file_name(model: ModelEntry, path: Path) -> str:
    """The name for a file elsewhere: its own, unless it is that of a blob."""
    if not _BLOB.fullmatch(path.name):
        return path.name
    stem = "-".join(filter(None, (_plain(model.name.rpartition("/")[2]), model.quant)))
    return f"{stem}.gguf"


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model"


def _folder_name(name: str) -> str:
    return _FOLDER.sub("-", name)[:100].strip(" .") or "model"


def _ollama_name(model: ModelEntry) -> str:
    name = _plain(model.name.rpartition("/")[2])
    return (name if ":" in model.name or not model.quant else f"{name}:{model.quant}").lower()


def _repository_of(model: ModelEntry) -> str:
    """The repository that a model came from, by its place in a store; empty where nothing says so."""
    names = (place.name for place in model.places if place.source != OLLAMA)
    return next((name for name in names if name.count("/") == 1), "")


def _ollama_store(places: Places) -> Path:
    """Ollama's store of this user."""
    store = next(ollama_stores(places))
    if not store.is_dir():
        raise TargetError(f"{store} does not exist: Ollama has no store of this user.", "Start Ollama once.")
    return store


def _with_pictures(path: Path) -> Iterator[Path]:
    """All files of a model: its parts, and the picture encoders beside it."""
    yield from model_file(path).paths
    if not _BLOB.fullmatch(path.name):
        yield from sorted(path.parent.glob("mmproj*.gguf"))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while data := file.read(_STEP):
                digest.update(data)
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {error.strerror or error}.") from error
    return digest.hexdigest()
