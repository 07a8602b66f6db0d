from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core.errors import UnknownModelError
from workbench.core.models import ModelEntry, Place
from workbench.library.references import name_elsewhere


def entry(path: Path, source: str, name: str, quant: str | None = "Q8_0") -> ModelEntry:
    return ModelEntry(
        "x", "x", quant, str(path), places=(Place("models", "/other", "x"), Place(source, str(path), "x", name))
    )


@pytest.mark.parametrize(
    ("source", "name", "quant", "naming", "said"),
    [
        ("ollama", "llama3.2:3b", "Q4_K_M", "ollama", "llama3.2:3b"),
        ("huggingface", "bart/Tiny-GGUF", "Q4_K_M", "hf", "hf.co/bart/Tiny-GGUF:Q4_K_M"),
        ("lmstudio", "bart/Tiny-GGUF", None, "hf", "hf.co/bart/Tiny-GGUF"),
        ("ollama", "hf.co/bart/Tiny-GGUF:Q8_0", "Q8_0", "hf", "hf.co/bart/Tiny-GGUF:Q8_0"),
        ("ollama", "llama3.2:3b", "Q4_K_M", "hf", None),
        ("huggingface", "bart/Tiny-GGUF", "Q4_K_M", "ollama", None),
    ],
)
def test_names(tmp_path: Path, source: str, name: str, quant: str | None, naming, said: str | None) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"")
    link = tmp_path / "link.gguf"
    link.symlink_to(blob)
    models = [entry(tmp_path / "another", source, "another"), entry(link, source, name, quant)]
    if said is None:
        with pytest.raises(UnknownModelError) as caught:
            name_elsewhere(str(blob), naming, models)
        assert str(blob) in caught.value.message
        assert caught.value.hint
    else:
        assert name_elsewhere(str(blob), naming, models) == said
