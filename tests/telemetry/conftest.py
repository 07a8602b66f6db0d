from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from tests.telemetry.stub import GIB, Play, compile_stub
from workbench.telemetry.nvml import NvmlSource


@pytest.fixture(scope="session")
def stub_library(tmp_path_factory) -> Path:
    """The stub, for another process by LD_LIBRARY_PATH."""
    return compile_stub(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="session")
def old_stub_library(tmp_path_factory) -> Path:
    """The stub without the functions that old drivers lack."""
    return compile_stub(tmp_path_factory.mktemp("old_nvml"), "-DOLD_DRIVER")


@pytest.fixture
def play(stub_library, tmp_path, monkeypatch) -> Play:
    """The stub, loaded into this process, to be found by its name."""
    # The library of a machine with an NVIDIA driver would be found first.
    ctypes.CDLL(str(stub_library), ctypes.RTLD_GLOBAL)
    monkeypatch.setenv("FAKE_NVML_FILE", str(tmp_path / "nvml.txt"))
    return Play(tmp_path / "nvml.txt")


@pytest.fixture
def nvml(play):
    """A source that reads the stub; closed afterwards, so that the next test finds the library as it was."""
    source = NvmlSource(pids_are_foreign=lambda: False, system_memory=lambda: (128 * GIB, 100 * GIB))
    yield source
    if source._nvml is not None:
        source._forget()
