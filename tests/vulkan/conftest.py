"""Tests of offloading on llama.cpp's Vulkan backend, which a software device is enough for: `make test-vulkan`.

Loading is what they test; a software device computes a few tokens in a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.reliability.toys import experts
from workbench.core.models import ModelEntry
from workbench.engine.llama.host import LlamaHost

MISSING = "llama.cpp has no two Vulkan devices here: `make test-vulkan` builds it and sets GGML_VK_VISIBLE_DEVICES=0,0"
QUANTIZE_TO_F16 = """
import sys
from llama_cpp import llama_cpp as api
source, target = sys.argv[1:]
params = api.llama_model_quantize_default_params()
params.ftype, params.allow_requantize, params.nthread = 1, True, 2
assert api.llama_model_quantize(source.encode(), target.encode(), params) == 0
"""


@pytest.fixture(scope="session", autouse=True)
def devices() -> list[str]:
    """The names of the Vulkan devices, of which there are two."""
    from workbench.engine.llama.devices import list_devices

    found = [device.name for device in list_devices() if device.backend == "Vulkan"]
    if len(found) < 2:
        pytest.skip(MISSING)
    return found


@pytest.fixture(scope="session")
def files(demo_path: Path, short_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The models that the references name."""
    folder = tmp_path_factory.mktemp("models")
    half = folder / "short-F16.gguf"
    subprocess.run([sys.executable, "-c", QUANTIZE_TO_F16, str(short_demo), str(half)], check=True, capture_output=True)
    return {"whole": demo_path, "short": short_demo, "short F16": half, "experts": experts(folder / "experts.gguf")}


@pytest.fixture
async def host(files: dict[str, Path]) -> AsyncIterator[LlamaHost]:
    """Opens the models of `files`, and paths."""
    host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=str(files.get(ref, ref))))
    yield host
    await host.shutdown()


@pytest.fixture
def workbench(demo_path: Path):
    """Runs the program in a process of its own, with the whole demo model."""

    def run(*arguments: str, limit_kib: int | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workbench.cli.main", *arguments]
        if limit_kib is not None:
            command = ["bash", "-c", f'ulimit -v {limit_kib}; exec "$@"', "bash", *command]
        environment = {**os.environ, **variables}
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)

    return run
