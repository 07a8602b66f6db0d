"""What people install is the wheel, and the tests run from the checkout: the two must not come apart."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def files_below(folder, *suffixes):
    return {
        path.relative_to(ROOT / folder).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not path.name.startswith(".") and (not suffixes or path.suffix in suffixes)
    }


@pytest.mark.parametrize("folder", ["themes", "sample_modelfiles"])
def test_the_wheel_carries_the_folders_beside_the_package(wheel, folder):
    names = {name.removeprefix(f"workbench/{folder}/") for name in wheel.namelist()}
    wanted = files_below(folder)
    assert wanted
    assert wanted <= names


def test_the_wheel_carries_every_module_and_style_sheet(wheel):
    assert {f"workbench/{name}" for name in files_below("workbench", ".py", ".tcss")} <= set(wheel.namelist())


def test_the_wheel_carries_the_licence_and_nothing_of_the_tests(wheel):
    names = wheel.namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "scripts"))]
