from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.gguf_files import finish
from tests.library.stores import HuggingFaceCache, OllamaStore
from workbench.library import file_facts
from workbench.library.places import Places


def write_gguf(
    path: Path,
    *,
    name: str | None = None,
    file_type: int | None = None,
    rows: int = 4,
    fill: float = 0,
    basename: str | None = None,
    finetune: str | None = None,
    size_label: str | None = None,
    template: str = "",
) -> Path:
    """Write a sound GGUF file with one F32 tensor of `rows` times 32 weights, each of them `fill`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(2048)
    if name is not None:
        writer.add_name(name)
    if basename is not None:
        writer.add_basename(basename)
    if finetune is not None:
        writer.add_finetune(finetune)
    if template:
        writer.add_chat_template(template)
    if size_label is not None:
        writer.add_size_label(size_label)
    if file_type is not None:
        writer.add_file_type(file_type)
    writer.add_tensor("token_embd.weight", np.full((rows, 32), fill, np.float32))
    finish(writer)
    return path


@pytest.fixture
def model() -> Callable[..., Path]:
    return write_gguf


@pytest.fixture
def forbid(monkeypatch) -> Callable[[str], None]:
    """Makes folders with a name unreadable."""

    def make(name: str) -> None:
        real = os.scandir

        def scandir(path):
            if Path(path).name == name:
                raise PermissionError(13, "Permission denied")
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)

    return make


@pytest.fixture
def headers_read(monkeypatch) -> list[Path]:
    """The files whose headers were read."""
    read: list[Path] = []
    real = file_facts.read_header

    def counting(path: Path, **options):
        read.append(path)
        return real(path, **options)

    monkeypatch.setattr(file_facts, "read_header", counting)
    return read


@pytest.fixture
def weights(tmp_path: Path) -> Callable[..., bytes]:
    """The bytes of a sound GGUF file."""

    def make(**options: object) -> bytes:
        path = write_gguf(tmp_path / "made" / "weights.gguf", **options)
        data = path.read_bytes()
        path.unlink()
        return data

    return make


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home folder of a user who has none of the programs."""
    folder = tmp_path / "user"
    folder.mkdir()
    return folder


@pytest.fixture
def places(home: Path, tmp_path: Path) -> Callable[..., Places]:
    """The places of that user, with these environment variables."""

    def make(platform: str = "linux", **environ: Path | str) -> Places:
        return Places(home, {name: str(value) for name, value in environ.items()}, platform, tmp_path / "root")

    return make


@pytest.fixture
def ollama(home: Path) -> OllamaStore:
    return OllamaStore(home / ".ollama" / "models")


@pytest.fixture
def hub(home: Path) -> HuggingFaceCache:
    return HuggingFaceCache(home / ".cache" / "huggingface" / "hub")
