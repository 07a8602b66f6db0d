from __future__ import annotations

import sys
from pathlib import Path

import pytest

from workbench.store.paths import Paths, find_paths


def test_one_variable_moves_everything(tmp_path):
    home = tmp_path / "nowhere yet"
    paths = find_paths({"WORKBENCH_HOME": str(home)})
    assert paths == Paths(home / "config", home / "data", home / "state", home / "cache")
    assert all(path.is_relative_to(home) for path in paths.as_dict().values())
    assert not home.exists()


def test_the_names_of_files():
    paths = Paths(Path("c"), Path("d"), Path("s"), Path("x"))
    assert paths.config_file == Path("c/config.toml")
    assert paths.themes_dir == Path("c/themes")
    assert paths.exports_dir == Path("d/exports")
    assert paths.models_dir == Path("d/models")
    assert paths.log_file == Path("s/workbench.log")


def test_a_relative_home_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_paths({"WORKBENCH_HOME": "here"}).config_dir == tmp_path / "here" / "config"


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert find_paths({"WORKBENCH_HOME": "~/bench"}).data_dir == tmp_path / "bench" / "data"


@pytest.mark.skipif(sys.platform != "linux", reason="XDG is for Linux")
@pytest.mark.parametrize("unset", [{}, {"WORKBENCH_HOME": ""}])
def test_xdg_places_on_linux(tmp_path, monkeypatch, unset):
    for name in ("CONFIG", "DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    paths = find_paths(unset)
    assert paths.config_file == tmp_path / "CONFIG" / "workbench" / "config.toml"
    assert paths.data_dir == tmp_path / "DATA" / "workbench"
    assert paths.state_dir == tmp_path / ".local" / "state" / "workbench"
    assert paths.cache_dir == tmp_path / "CACHE" / "workbench"


def test_the_environment_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    assert find_paths().config_dir == tmp_path / "config"
