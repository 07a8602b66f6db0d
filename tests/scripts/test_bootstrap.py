from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WHEELS = "https://wheels.example/whl"


@pytest.fixture
def bootstrap():
    from scripts import bootstrap

    return bootstrap


@pytest.fixture
def checkout(tmp_path):
    """As much of a checkout as setting up looks at."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    package = Path("workbench/telemetry/doctor")
    (tmp_path / package).mkdir(parents=True)
    (tmp_path / "scripts").mkdir()
    inits = [folder / "__init__.py" for folder in (package, *package.parents[:2])]
    for file in (*inits, package / "cuda_wheels.py", "scripts/bootstrap.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def tools(folder, *names, **scripts):
    """A folder for the search path: these tools of the system, and these shell scripts."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(shutil.which(name))
    for name, text in scripts.items():
        script = folder / name
        script.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        script.chmod(0o755)
    return str(folder)


def make(checkout, path, *arguments, python=""):
    environment = {"PATH": path, "HOME": str(checkout), "PYTHON": python}
    return subprocess.run(
        [shutil.which("make"), *arguments], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )


def machine(nvcc="", driver="", capabilities=""):
    """What the tools of a made-up machine print."""

    def run(*command):
        match command:
            case ("nvcc", *_):
                return f"Cuda compilation tools, release {nvcc}, V{nvcc}.1" if nvcc else ""
            case ("nvidia-smi",):
                return f"| Driver Version: 550.54   CUDA Version: {driver}     |" if driver else ""
        return capabilities

    return run


@pytest.mark.parametrize(
    ("machine_has", "index"),
    [
        ({}, "cu124"),
        ({"driver": "12.4", "capabilities": "8.9\n"}, "cu124"),
        ({"driver": "12.8", "capabilities": "12.0\n"}, "cu125"),
        ({"driver": "13.1", "capabilities": "9.0\n8.6\n"}, "cu130"),
        ({"driver": "13.5", "capabilities": "7.0\n"}, "cu125"),
        ({"driver": "13.5", "nvcc": "12.2", "capabilities": "9.0\n"}, "cu122"),
        ({"driver": "12.0", "capabilities": "8.6\n"}, "cu118"),
        ({"nvcc": "13.2"}, "cu132"),
    ],
)
def test_the_cuda_index_is_the_newest_that_the_machine_takes(bootstrap, machine_has, index):
    assert bootstrap.wheel_index("cuda", run=machine(**machine_has)) == index


def test_no_cuda_index_fits_an_old_toolkit_on_a_new_card(bootstrap):
    with pytest.raises(bootstrap.SetupError, match=r"No prebuilt wheel fits CUDA 12\.0"):
        bootstrap.wheel_index("cuda", run=machine(driver="12.0", capabilities="9.0\n"))


@pytest.mark.parametrize(
    ("backend", "index"),
    [("", ""), ("source", ""), ("cpu", "cpu"), ("metal", "metal"), ("vulkan", "vulkan"), ("rocm", "rocm72")],
)
def test_each_backend_has_its_index(bootstrap, backend, index):
    assert bootstrap.wheel_index(backend, run=machine()) == index


def test_a_named_cuda_index_wins_and_is_checked(bootstrap):
    assert bootstrap.wheel_index("cuda", "cu121", run=machine(driver="13.0")) == "cu121"
    with pytest.raises(bootstrap.SetupError, match="choose one of cu118, "):
        bootstrap.wheel_index("cuda", "cu999", run=machine())


def test_an_unknown_backend_names_the_known_ones(bootstrap):
    with pytest.raises(bootstrap.SetupError, match="cpu, cuda, metal, rocm, vulkan, source"):
        bootstrap.wheel_index("cudda", run=machine())


def test_a_prebuilt_wheel_is_never_replaced_by_a_build(bootstrap):
    wanted = bootstrap.Stamp("/x", "3.11", "", dev=False, backend="vulkan", demo=True)
    (step,) = bootstrap.plan(wanted, "", "vulkan", WHEELS)
    line = " ".join(step.arguments)
    assert f"--extra-index-url {WHEELS}/vulkan --only-binary llama-cpp-python --editable" in line
    assert not step.compiles


def test_changing_the_backend_installs_the_binding_again(bootstrap):
    wanted = bootstrap.Stamp("/x", "3.11", "", dev=True, backend="cuda", demo=True)
    change, install = bootstrap.plan(wanted, "source", "cu124", WHEELS)
    assert "--force-reinstall" in change.arguments
    assert change.arguments[-1].startswith("llama-cpp-python>=")
    assert install.arguments[-1].endswith("[dev]")


def test_a_build_is_announced_with_its_length(bootstrap):
    wanted = bootstrap.Stamp("/x", "3.11", "", dev=False, backend="source", demo=True)
    (step,) = bootstrap.plan(wanted, "", "", WHEELS)
    assert step.compiles
    assert "minute" in step.saying


def test_no_python_that_is_new_enough_is_one_sentence(checkout, tmp_path):
    old = 'case "$2" in *version_info*) exit 1;; esac; echo "old Python was used" >&2; exit 3'
    path = tools(tmp_path / "bin", "sh", "sed", python3=old)
    result = make(checkout, path, "run")
    assert result.returncode
    assert "workbench needs Python 3.11 or newer: install it" in result.stderr
    assert "old Python was used" not in result.stderr
    assert not (checkout / ".venv").exists()


def test_no_compiler_is_one_sentence_before_anything_is_made(checkout, tmp_path):
    path = tools(tmp_path / "bin", "sh", python3=f'exec "{sys.executable}" "$@"')
    result = make(checkout, path, "run")
    assert result.returncode
    assert "there is no C++ compiler: install one" in result.stderr
    assert not (checkout / ".venv").exists()
    assert make(checkout, path, "run", "BACKEND=cpu", "DRY_RUN=1").returncode == 0


@pytest.fixture
def venv(checkout, bootstrap, monkeypatch):
    """An empty `.venv` with a Python, in a checkout that bootstrap sets up."""
    folder = checkout / ".venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(bootstrap, "ROOT", checkout)
    monkeypatch.setattr(bootstrap, "VENV", folder)
    monkeypatch.setattr(bootstrap, "PYTHON", folder / "bin" / "python")
    monkeypatch.setattr(bootstrap, "STAMP", folder / "stamp.json")
    monkeypatch.setattr(bootstrap, "LOG", checkout / "build" / "setup.log")
    return folder


@pytest.fixture
def set_up(venv, bootstrap, monkeypatch, capfd):
    """Runs bootstrap with steps that do nothing; returns what each step was for."""
    ran = []
    monkeypatch.setattr(bootstrap, "execute", lambda step: ran.append(purpose(bootstrap, step)) or 0)
    monkeypatch.setattr(bootstrap, "has_compilers", lambda: True)

    def run(*arguments):
        ran.clear()
        monkeypatch.setattr(sys, "argv", ["bootstrap.py", "--wheels", WHEELS, *arguments])
        assert bootstrap.main() == 0
        return list(ran)

    return run


def purpose(bootstrap, step):
    arguments = " ".join(step.arguments)
    words = {
        "-m venv": "environment", "--editable": "program", bootstrap.DEMO_MODEL: "demo", bootstrap.TRIAL: "trial",
        "cache remove": "forget", "--force-reinstall": "llama.cpp",
    }  # fmt: skip
    return next(name for word, name in words.items() if word in arguments)


ALL = ["environment", "program", "demo", "trial"]


def test_what_is_set_up_is_not_set_up_again(checkout, venv, set_up):
    assert set_up() == ALL
    assert set_up() == []
    assert set_up("--dev") == ALL[1:]
    assert set_up() == [], "what the tests need stays installed"
    with (checkout / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    assert set_up() == ALL[1:]
    stamp = json.loads((venv / "stamp.json").read_text(encoding="utf-8"))
    (venv / "stamp.json").write_text(json.dumps(stamp | {"root": "/elsewhere"}), encoding="utf-8")
    assert set_up() == ALL, "an environment that was moved is made again"
    (venv / "bin" / "python").unlink()
    assert set_up() == ALL, "and so is one whose Python was removed"


def test_other_cmake_arguments_compile_again_without_a_kept_wheel(venv, set_up, bootstrap, monkeypatch):
    monkeypatch.delenv("CMAKE_ARGS", raising=False)
    ran, execute = [], bootstrap.execute
    monkeypatch.setattr(bootstrap, "execute", lambda step: ran.append(" ".join(step.arguments)) or execute(step))
    monkeypatch.setattr(bootstrap, "has_binding", lambda: True)
    assert set_up() == ALL
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_CUDA=on")
    assert set_up() == ["llama.cpp", "program", "demo"]
    assert any("--no-cache-dir --no-binary llama-cpp-python --force-reinstall" in line for line in ran)
    assert set_up() == []
    monkeypatch.delenv("CMAKE_ARGS")
    assert set_up() == [], "what was asked for earlier stays"
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_VULKAN=on")
    assert set_up() == ["llama.cpp", "program", "demo"]
    assert set_up("--backend", "cpu") == ["llama.cpp", *ALL[1:3]], "a prebuilt wheel has no arguments"
    monkeypatch.setenv("CMAKE_ARGS", "")
    assert set_up() == []
    assert set_up("--backend", "source") == ["llama.cpp", *ALL[1:]]


def test_the_first_build_has_the_cmake_arguments(venv, set_up, monkeypatch):
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_CUDA=on")
    assert set_up() == ["environment", "llama.cpp", "program", "demo"]
    stamp = json.loads((venv / "stamp.json").read_text(encoding="utf-8"))
    assert stamp["cmake_args"] == "-DGGML_CUDA=on"


def test_another_python_makes_the_environment_again(venv, set_up, bootstrap, monkeypatch):
    assert set_up() == ALL
    monkeypatch.setattr(bootstrap, "running_version", lambda: "3.99")
    assert set_up() == [], "the environment keeps its Python until another one is asked for"
    assert set_up("--chosen") == ALL
    assert set_up("--chosen") == []
    monkeypatch.setattr(bootstrap, "running_version", lambda: "3.98")
    assert set_up() == [], "which then stays"


def test_an_environment_without_a_stamp_is_completed_by_its_own_python_only(venv, set_up, bootstrap):
    version = ".".join(map(str, sys.version_info[:3]))
    config = venv / "pyvenv.cfg"
    config.write_text(f"version = {version}\ncommand = python -m venv {venv}\n", encoding="utf-8")
    assert set_up() == ALL[1:]
    (venv / "stamp.json").unlink()
    config.write_text(config.read_text(encoding="utf-8").replace(version, "3.4.5"), encoding="utf-8")
    assert set_up() == ALL


def test_make_asks_the_named_python(checkout, tmp_path):
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(shutil.which("false"))
    path = tools(tmp_path / "bin", "sh", named='echo "$@"')
    result = make(checkout, path, "setup", python="named")
    assert "--chosen --check" in result.stdout


def test_a_llama_cpp_that_crashes_is_compiled_again(venv, set_up, bootstrap, monkeypatch):
    monkeypatch.setattr(bootstrap, "crashes", lambda: True)
    assert set_up() == ["environment", "program", "demo", "forget", "llama.cpp"]


@pytest.mark.parametrize(
    ("version", "is_wrong"),
    [("12.2.0", True), ("12.4.0", False), ("13.2.0", True), ("13.3.0", False), ("14.1.0", False), ("11.4.0", True)],
)
def test_amx_is_left_out_where_gcc_miscompiles_it(bootstrap, monkeypatch, version, is_wrong):
    def gcc(*command):
        return version if command[-1] == "-dumpfullversion" else "Copyright Free Software Foundation"

    monkeypatch.setenv("CFLAGS", "-O2")
    monkeypatch.delenv("CXXFLAGS", raising=False)
    built_in = bootstrap.build_environment(gcc)
    assert built_in["CFLAGS"] == ("-O2 -U__AMX_INT8__" if is_wrong else "-O2")
    assert built_in.get("CXXFLAGS") == ("-U__AMX_INT8__" if is_wrong else None)


def test_clang_compiles_amx_as_it_is(bootstrap):
    assert not bootstrap.miscompiles_amx(lambda *_: "clang version 14.0.6")


def test_without_the_demo_model_the_program_starts_and_the_tests_do_not(checkout, bootstrap, monkeypatch, capfd):
    monkeypatch.setattr(bootstrap, "ROOT", checkout)
    monkeypatch.setattr(bootstrap, "VENV", checkout / ".venv")
    monkeypatch.setattr(bootstrap, "STAMP", checkout / "stamp.json")
    monkeypatch.setattr(bootstrap, "LOG", checkout / "build" / "setup.log")
    monkeypatch.setattr(bootstrap, "execute", lambda step: bootstrap.DEMO_MODEL in step.arguments)
    monkeypatch.setattr(bootstrap, "has_compilers", lambda: True)
    monkeypatch.setattr(sys, "argv", ["bootstrap.py"])
    assert bootstrap.main() == 0
    assert "opens without it" in capfd.readouterr().out
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "--dev"])
    assert bootstrap.main() == 1
    assert "The tests need the demo model" in capfd.readouterr().err
