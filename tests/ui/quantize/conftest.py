from __future__ import annotations

from pathlib import Path

import pytest

from tests.gguf.conftest import write_model
from tests.ui.quantize.drive import entry
from workbench.core.models import ModelEntry


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny") / "Tiny-F32.gguf", width=256, feed_forward=512)


@pytest.fixture
def model(written, tmp_path) -> ModelEntry:
    path = tmp_path / "Tiny-F32.gguf"
    path.write_bytes(written.read_bytes())
    return entry(path, "F32")
