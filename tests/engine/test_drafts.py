"""Which models can draft for another one, and how a draft model is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.llama.toys import write_toy
from workbench.core.errors import ParameterError, UnknownModelError
from workbench.core.models import ModelEntry
from workbench.engine.advice import draft_candidates, draft_path


def entry(path: Path, size: int) -> ModelEntry:
    return ModelEntry(path.name, path.name, path=str(path), size_bytes=size)


def test_smaller_models_of_the_same_vocabulary_can_draft(tmp_path):
    same, other = write_toy(tmp_path / "same-F32.gguf"), write_toy(tmp_path / "other-F32.gguf", ends=True)
    recurrent, damaged = write_toy(tmp_path / "mamba-F32.gguf", "mamba"), tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF")
    model = entry(write_toy(tmp_path / "large-F32.gguf", "gemma3"), 100)
    small = [entry(path, size) for path, size in ((same, 40), (same, 10), (same, 60), (other, 10), (recurrent, 10))]
    found = draft_candidates([*small, entry(damaged, 5), ModelEntry("http://server#m", "m")], model)
    assert [each.size_bytes for each in found] == [10, 40]
    assert draft_candidates(small, ModelEntry("http://server#m", "m")) == []


def test_a_draft_model_is_a_file_or_a_name_of_the_library(tmp_path):
    def resolve(ref: str) -> ModelEntry:
        if ref == "nothing":
            raise UnknownModelError("There is no model 'nothing'.", "Look again.")
        return ModelEntry(ref, ref, path=None if ref == "server" else "/models/small.gguf")

    assert draft_path(resolve, "small") == "/models/small.gguf"
    assert draft_path(resolve, str(tmp_path / "d.gguf")) == str(tmp_path / "d.gguf")
    for named, said in (("nothing", "There is no model"), ("server", "has no file here")):
        with pytest.raises(ParameterError, match=said):
            draft_path(resolve, named)
