"""The file of the settings that are kept for models."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core.errors import ConfigError
from workbench.core.models import ModelEntry
from workbench.store.config.models import ModelSettingsFile

SMALL = ModelEntry("a", 'A "model" v1.5', "Q4_K_M")
LARGE = ModelEntry("b", 'A "model" v1.5', "Q8_0")
OTHER = ModelEntry("c", "Other")


@pytest.fixture
def kept(tmp_path: Path) -> ModelSettingsFile:
    return ModelSettingsFile(tmp_path / "config" / "models.toml")


def test_values_are_kept_for_all_quantizations_of_a_model(kept: ModelSettingsFile) -> None:
    assert kept.of(SMALL) == {}
    assert kept.forget(SMALL) == ()
    kept.keep(SMALL, {"temperature": 0.2, "stop": ("a", "b"), "system": "Be\nbrief.", "use_mmap": False})
    kept.keep(LARGE, {"num_ctx": 4096})
    kept.keep(OTHER, {"num_ctx": 1024})
    everything = {"temperature": 0.2, "stop": ("a", "b"), "system": "Be\nbrief.", "use_mmap": False, "num_ctx": 4096}
    assert kept.of(SMALL) == kept.of(LARGE) == everything
    assert kept.forget(LARGE, ["stop", "top_k"]) == ("stop",)
    assert kept.of(SMALL).keys() == everything.keys() - {"stop"}
    kept.forget(SMALL)
    assert (kept.of(SMALL), kept.of(OTHER)) == ({}, {"num_ctx": 1024})


def test_a_quantization_may_have_its_own_in_the_file(kept: ModelSettingsFile, tmp_path: Path) -> None:
    path = tmp_path / "config" / "models.toml"
    path.parent.mkdir()
    path.write_text('# mine\n["Other"]\nnum_ctx = 1024 # enough\n\n["Other:Q8_0"]\nnum_ctx = 512\n')
    small = ModelEntry("c", "Other", "Q8_0")
    assert (kept.of(OTHER), kept.of(small)) == ({"num_ctx": 1024}, {"num_ctx": 512})
    kept.keep(small, {"num_ctx": 256, "top_k": 3})
    assert (kept.of(OTHER), kept.of(small)) == ({"num_ctx": 1024, "top_k": 3}, {"num_ctx": 256, "top_k": 3})
    assert "# mine" in path.read_text()
    assert "# enough" in path.read_text()


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("[Other]\ntop_k = 3\ntemperatur = 1\n", "temperature", None),
        ("[Other]\ntop_k = 3\nsystem = 1\n", "system cannot be 1", None),
        ("[Other]\ntop_k = 3\nmin_p = 7\n", "min_p cannot be 7", None),
        ("other = 3\n[Other]\ntop_k = 3\n", "other is no table", None),
        ("[Other]\ntop_k 3\n", "not valid TOML", 2),
    ],
)
def test_mistakes_in_the_file_are_reported_and_the_rest_applies(
    kept: ModelSettingsFile, tmp_path: Path, text: str, message: str, line: int | None
) -> None:
    path = tmp_path / "config" / "models.toml"
    path.parent.mkdir()
    path.write_text(text)
    [problem] = kept.problems()
    assert message in problem.message
    assert (problem.file, problem.line) == (str(path), line)
    assert kept.of(OTHER) == ({} if line else {"top_k": 3})
    if line:
        with pytest.raises(ConfigError, match="was not changed"):
            kept.keep(OTHER, {"top_k": 1})
        assert path.read_text() == text


def test_wrong_values_are_refused(kept: ModelSettingsFile) -> None:
    with pytest.raises(ConfigError, match="min_p cannot be 7"):
        kept.keep(OTHER, {"top_k": 1, "min_p": 7})
    assert kept.of(OTHER) == {}
