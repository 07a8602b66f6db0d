"""Reading model files while llama.cpp's thread is busy."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from workbench.engine.files import LocalFiles
from workbench.engine.llama import devices
from workbench.engine.llama.plan import Gpu, Machine


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads in which llama.cpp was asked for the machine."""
    asked: list[str] = []

    def look() -> Machine:
        asked.append(threading.current_thread().name)
        return Machine(2, 8_000, 6_000, (Gpu("CUDA0", 900),), frozenset({"Q4_0"}))

    monkeypatch.setattr(devices, "look_at_machine", look)
    return asked


async def test_only_its_own_thread_asks_llama_cpp(threads: list[str], demo_path: Path) -> None:
    local = LocalFiles()
    room = await local.room()
    assert (room.host.free_bytes, [gpu.name for gpu in room.gpus]) == (6_000, ["CUDA0"])
    await local.fit_model(demo_path)
    await local.fit_model(demo_path)
    assert threads == ["llama.cpp", "llama.cpp"]
