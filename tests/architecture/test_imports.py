"""What a command loads decides how fast it starts, and what can break in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"httpx", "llama_cpp", "numpy", "pynvml", "textual"}
CORE = sorted(path.stem for path in (ROOT / "workbench" / "core").glob("*.py"))


def modules_after(code, *arguments):
    """The top-level modules that a fresh interpreter has loaded once it has run `code`."""
    report = (
        "import json, sys\n"
        "try:\n"
        f"    exec({code!r})\n"
        "except SystemExit as end:\n"
        "    assert end.code in (0, None), end.code\n"
        "sys.stderr.write('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", report, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_asking_for_help_loads_nothing_heavy(argument):
    loaded = modules_after("from workbench.cli.main import main; sys.exit(main())", argument)
    assert "workbench" in loaded
    assert not loaded & HEAVY


def test_core_needs_the_standard_library_alone():
    bare = modules_after("pass")
    loaded = modules_after("; ".join(f"import workbench.core.{name}" for name in CORE if name != "__init__"))
    assert loaded - bare - sys.stdlib_module_names == {"workbench"}


@pytest.mark.parametrize(
    "room",
    ["engine", "engine.llama", "gguf", "lab", "library", "modelfile", "processes", "store", "telemetry", "ui"],
)
def test_a_room_can_be_looked_at_without_loading_llama_cpp(room):
    assert not modules_after(f"import workbench.{room}") & {"llama_cpp", "pynvml"}


@pytest.mark.parametrize("room", ["core", "engine", "gguf", "lab", "library", "modelfile", "store", "telemetry"])
def test_no_room_below_the_screen_names_textual(room):
    for path in (ROOT / "workbench" / room).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import textual" not in text, path
        assert "from textual" not in text, path
