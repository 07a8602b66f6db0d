from __future__ import annotations

from pathlib import Path

import pytest

from workbench.ui.dialogs.typed_models import completed, models_at, typed_address, typed_path


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://a:1#M", "http://a:1#M"), ("localhost:8080", "http://localhost:8080"),
        ("10.0.0.7:11434 ", "http://10.0.0.7:11434"), ("gpu.lan:8000/v1", "http://gpu.lan:8000/v1"),
        ("Qwen:Q4_K_M", ""), ("qwen2.5:7b", ""), ("q8_0", ""), ("", ""),
    ],
)  # fmt: skip
def test_an_address_is_typed_with_or_without_http(text: str, address: str) -> None:
    assert typed_address(text) == address


@pytest.mark.parametrize("text", ["/m", "~/m", "./m", "../m", "C:\\m", "m.gguf"])
def test_a_path_is_told_from_a_name(text: str) -> None:
    assert typed_path(text) is not None
    assert typed_path("qwen q4") is None
    assert typed_path("hf.co/org/name") is None


def test_a_path_is_completed_and_a_folder_listed(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for name in ("sea-F16.gguf", "sea-Q8_0.gguf", "Modelfile", "notes.txt"):
        (tmp_path / "models" / name).write_text("x")
    assert completed(f"{tmp_path}/mo") == f"{tmp_path}/models/"
    assert completed(f"{tmp_path}/models/s") == f"{tmp_path}/models/sea-"
    assert completed(f"{tmp_path}/models/sea-F") == f"{tmp_path}/models/sea-F16.gguf"
    for text in (f"{tmp_path}/models/n", f"{tmp_path}/none/x"):
        assert completed(text) == text
    assert [model.name for model in models_at(tmp_path / "models")] == ["Modelfile", "sea-F16", "sea-Q8_0"]
    (one,) = models_at(tmp_path / "models" / "sea-F16.gguf")
    assert one.ref == one.path == str(tmp_path / "models" / "sea-F16.gguf")
    assert models_at(tmp_path / "none") == []
