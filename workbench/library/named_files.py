"""The files that FROM, ADAPTER and DRAFT of a Modelfile name, as Ollama reads them: relative to its folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from workbench.core.errors import ModelfileError
from workbench.core.user_path import expanded
from workbench.gguf.names import SUFFIX
from workbench.gguf.reader import read_header
from workbench.library.entries import printable
from workbench.library.folders import mode_of, model_file
from workbench.library.references import nearest_file
from workbench.modelfile.meaning import Modelfile
from workbench.modelfile.source import is_modelfile_name

_MAGIC = {"PyTorch": b"PK\x03\x04", "GGUF": b"GGUF"}


class NamedFiles:
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

    def draft(self, modelfile: Modelfile) -> str:
        """The file that DRAFT names; empty where there is no such line. The last one counts."""
        return str(self._expanded(modelfile.drafts[-1])) if modelfile.drafts else ""

    def _inside(self, text: str, folder: Path) -> list[Path]:
        """The GGUF files of a folder, where Ollama would use them."""
        for patterns, kind in (
            (("model*.safetensors", "*/model*.safetensors", "consolidated*.safetensors"), "safetensors"),
            (("pytorch_model*.bin", "consolidated*.pth"), "PyTorch"),
            ((f"*{SUFFIX}",), "GGUF"),
            (("*.bin",), "GGUF"),
            (("*.bin",), "PyTorch"),
        ):
            named = (path for pattern in patterns for path in folder.glob(pattern) if not path.name.startswith("."))
            found = sorted(path for path in named if path.is_file())
            if patterns == ("*.bin",) or kind == "PyTorch":
                found = [path for path in found if _begins(path, _MAGIC[kind])]
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


def _begins(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False
