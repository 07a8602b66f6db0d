from __future__ import annotations

import pytest

from tests.snapshots.test_screens import SIZES, SnapCompare, after_start, ask
from tests.ui.drive import app_on
from tests.ui.fakes import FakeClock, models
from workbench.core.models import ModelEntry
from workbench.engine.scripted import WELCOME, Pace, Script, ScriptedHost, ScriptedModel
from workbench.ui.app import WorkbenchApp

OLLAMA, VLLM = "http://127.0.0.1:11434", "http://gpu-box:8000"
SHORT = (
    "Ollama gives this model a context of 4096 tokens, of the 131072 that it was trained for. Set num_ctx for a longer "
    "one."
)
LLAMA = ModelEntry(
    f"{OLLAMA}#llama3.2:3b", "llama3.2:3b", "Q4_K_M", None, 2_019_393_189, 3_200_000_000, "llama",
    context_length=131_072, source="Ollama 127.0.0.1:11434", loaded=True, digest="a80c4f17" * 8,
)  # fmt: skip
QWEN = ModelEntry(
    f"{OLLAMA}#qwen3:0.6b", "qwen3:0.6b", "Q8_0", None, 655_000_000, 596_000_000, "qwen3",
    context_length=40_960, source="Ollama 127.0.0.1:11434", loaded=False,
)  # fmt: skip
LARGE = ModelEntry(
    f"{VLLM}#Qwen/Qwen3-32B-AWQ", "Qwen/Qwen3-32B-AWQ", context_length=40_960, source="vLLM gpu-box:8000", loaded=True
)
SERVED = [
    ScriptedModel(
        LLAMA,
        (Script.of(WELCOME, "They ask for a greeting, so I greet."),),
        Pace(prefill_tps=900, decode_tps=64),
        context=4096,
        warnings=(SHORT,),
        measured_by="client",
        backend="Ollama",
    ),
    ScriptedModel(QWEN, (Script.of("Hi."),)),
    ScriptedModel(LARGE, (Script.of("Hi."),)),
]


def with_servers() -> WorkbenchApp:
    """A model of a server is open, and others are available."""
    clock = FakeClock()
    host = ScriptedHost([*SERVED, *models()], clock=clock, sleep=clock.sleep)
    return app_on(host, clock, f"{OLLAMA}#llama3.2:3b")


@pytest.mark.parametrize("size", SIZES)
def test_a_chat_with_a_server(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    assert snap_compare(with_servers(), terminal_size=size, run_before=ask)


@pytest.mark.parametrize("size", SIZES)
def test_models_of_servers_in_the_picker(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    assert snap_compare(with_servers(), terminal_size=size, run_before=after_start(["ctrl+o"]))


@pytest.mark.parametrize("size", SIZES)
def test_a_model_of_a_server_on_the_models_screen(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    assert snap_compare(with_servers(), terminal_size=size, run_before=after_start(["f4"]))
