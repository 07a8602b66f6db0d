"""Writing a file, and how it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core.errors import ModelFileError
from workbench.gguf.check import check_loadable
from workbench.gguf.reader import read_header


def write(folder: Path, content: bytes, name: str = "model.gguf") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def refusal(path: Path) -> ModelFileError:
    with pytest.raises(ModelFileError) as caught:
        read_header(path)
    assert str(path) in caught.value.message or repr(str(path)) in caught.value.message
    return caught.value


def refusal_to_load(path: Path) -> ModelFileError:
    with pytest.raises(ModelFileError) as caught:
        check_loadable(path)
    return caught.value
