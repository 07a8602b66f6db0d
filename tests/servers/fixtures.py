"""Servers for tests of any room: a pytest plugin, which tests/conftest.py names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.servers.serving import ScriptedServer, Served


@pytest.fixture
def serve() -> Iterator[Callable[[ScriptedServer], Served]]:
    """Starts servers that end with the test: `serve(OllamaServer(Script(…))).url`."""
    # Starlette is loaded only where a test wants a server.
    from tests.servers.serving import serving

    with ExitStack() as stack:
        yield lambda server: stack.enter_context(serving(server))


@pytest.fixture(scope="session")
def llama_server(short_demo: Path) -> Iterator[str]:
    """The address of llama.cpp's own server with the demo model, which it calls `demo`."""
    from tests.servers.real import llama_server

    with llama_server(str(short_demo)) as url:
        yield url


@pytest.fixture(scope="session")
def thinking_server(demo_path: Path) -> Iterator[str]:
    """llama.cpp's own server with the demo model, and Qwen 3.5's chat template, which opens thoughts."""
    from tests.servers.real import llama_server

    template = Path(__file__).parent.parent / "engine" / "templates" / "Qwen3.5-4B.jinja"
    with llama_server(str(demo_path), context=512, slots=1, template=template.read_text(encoding="utf-8")) as url:
        yield url


@pytest.fixture(scope="session")
def python_server(short_demo: Path) -> Iterator[str]:
    """The address of llama-cpp-python's server with the demo model, which it calls `demo`."""
    from tests.servers.real import python_server

    with python_server(str(short_demo)) as url:
        yield url
