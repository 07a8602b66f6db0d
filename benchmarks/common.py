"""Common parts of the scripts: interleaved runs, paired ratios, facts about the machine, and printing.

Two figures from different moments on a shared machine can differ by more than the effect of interest. So arms that are
compared run in rounds, every arm once a round and in reversed order in every second round (ABBA), and the verdict is
the median of the ratios within the rounds.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import platformdirs
import psutil

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
WORKBENCH = str(BIN / "workbench")
RESULTS = ROOT / "build" / "benchmarks.jsonl"
"""The lines of JSON of all runs, the newest last."""

QUIET_PERCENT = 8.0
"""Other programs' use of the whole machine, in per cent, from which a run counts as disturbed."""
QUIET_PATIENCE_S = 20.0
"""How long a run waits for an idle machine before it starts all the same."""
QUIET_ALTOGETHER_S = 60.0
"""How long all the runs of a comparison wait."""


def cache_folder() -> Path:
    """The folder of built tools and models; `WORKBENCH_BENCH_CACHE` moves it."""
    chosen = os.environ.get("WORKBENCH_BENCH_CACHE")
    folder = Path(chosen) if chosen else platformdirs.user_cache_path("workbench-bench", appauthor=False)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep_bytecode() -> None:
    """Have started programs cache their bytecode, as every installed program does.

    Where the environment forbids it, they would compile every module at each start, and libraries would not.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(cache_folder() / "bytecode"))


def physical_cores() -> int:
    """The default number of compute threads of `workbench` and llama-bench."""
    return psutil.cpu_count(logical=False) or os.cpu_count() or 1


def parser(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that every script has."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=rounds, help="how often every arm runs (default: %(default)s)")
    options.add_argument(
        "--threads", type=int, default=physical_cores(), help="threads that compute (default: %(default)s)"
    )
    return options


def log(text: str) -> None:
    """Print progress; standard output is for the result."""
    print(text, file=sys.stderr, flush=True)


def wait_until_quiet(within_s: float = QUIET_PATIENCE_S) -> float:
    """Wait until nothing computes, at most so long; returns the seconds that it took."""
    began = time.monotonic()
    while psutil.cpu_percent(interval=0.3) > QUIET_PERCENT and time.monotonic() < began + within_s:
        pass
    return time.monotonic() - began


class Disturbance:
    """Measures the CPU time of other programs, and of the virtual machine's host, inside a `with` block."""

    percent = 0.0
    """Processor time that was not this script's or its children's, in per cent of the whole machine."""

    def __enter__(self) -> Disturbance:
        self._began = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        wall, busy, own = (now - then for now, then in zip(self._read(), self._began, strict=True))
        self.percent = max(0.0, 100 * (busy - own) / (wall * (psutil.cpu_count() or 1)))

    @staticmethod
    def _read() -> tuple[float, float, float]:
        times = psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0) - getattr(times, "guest", 0)
        own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                own += sum(child.cpu_times()[:4])
        return time.monotonic(), busy, own


@dataclass
class Samples:
    """The figures of the arms of a comparison, by round."""

    values: dict[str, list[float]] = field(default_factory=dict)
    disturbed: int = 0
    """Rounds in which other programs were computing."""

    def median(self, arm: str) -> float:
        """The median of an arm's values."""
        return statistics.median(self.values[arm])

    def spread(self, arm: str) -> tuple[float, float]:
        """The lowest and the highest value of an arm."""
        return min(self.values[arm]), max(self.values[arm])

    def ratios(self, arm: str, reference: str) -> list[float]:
        """The ratio of an arm's value to the reference's, in each round."""
        pairs = zip(self.values[arm], self.values[reference], strict=True)
        return [value / against for value, against in pairs]

    def ratio(self, arm: str, reference: str) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios(arm, reference))


def interleave(arms: Mapping[str, Callable[[], Mapping[str, float]]], rounds: int, label: str = "") -> Samples:
    """Run every arm once a round, in reversed order in every second one.

    Args:
        arms: Functions by name, which return figures by name. They are kept as `ARM FIGURE`.
        rounds: The number of rounds.
        label: The name of the comparison in the progress lines.
    """
    samples = Samples()
    # Where the machine is never quiet, the runs are disturbed however long they wait.
    patience_s = QUIET_ALTOGETHER_S
    for number in range(rounds):
        order = list(arms.items())
        if number % 2:
            order.reverse()
        said, others = [], 0.0
        for name, run in order:
            patience_s -= wait_until_quiet(min(QUIET_PATIENCE_S, patience_s))
            with Disturbance() as disturbance:
                figures = run()
            others = max(others, disturbance.percent)
            for figure, value in figures.items():
                samples.values.setdefault(f"{name} {figure}", []).append(value)
                said.append(f"{name} {figure} {value:.4g}")
        samples.disturbed += others > QUIET_PERCENT
        log(f"  {label} round {number + 1} of {rounds}: {', '.join(said)} (others at most {others:.0f} %)")
    return samples


@dataclass(frozen=True)
class Bar:
    """A promise and the measured value."""

    what: str
    value: float
    bar: float
    at_least: bool = False
    """Whether higher is better."""
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether the promise is kept."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def __str__(self) -> str:
        sign, word = ("≥" if self.at_least else "≤"), ("met" if self.met else "NOT MET")
        unit = f" {self.unit}" if self.unit else ""
        return f"{word}: {self.what}: {self.value:.3g}{unit} (bar {sign} {self.bar:g}{unit})"


def format_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, the first column aligned to the left and the others to the right."""
    cells = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(2, *(len(row[column]) for row in [list(headers), *cells])) for column in range(len(headers))]

    def line(row: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |\n"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "".join(map(line, [list(headers), rule, *cells]))


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print(format_table(headers, rows), end="")


def sample_rows(samples: Samples) -> list[Sequence[object]]:
    """Median, lowest and highest of every arm, as rows of a table."""
    return [(arm, samples.median(arm), *samples.spread(arm), len(samples.values[arm])) for arm in samples.values]


def print_samples(*parts: Samples) -> None:
    """Print the arms of all parts as one table."""
    print_table(SAMPLE_HEADERS, [row for part in parts for row in sample_rows(part)])


def print_found(found: Mapping[str, Samples]) -> None:
    """Print the arms of all parts as one table, each with the name of its part."""
    print_table(
        SAMPLE_HEADERS, [(f"{name} {arm}", *row) for name, part in found.items() for arm, *row in sample_rows(part)]
    )


SAMPLE_HEADERS = ("arm", "median", "lowest", "highest", "n")


def machine() -> dict[str, object]:
    """The machine and the versions of a measurement."""
    versions = {}
    for package in ("workbench", "llama-cpp-python", "textual", "rich"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "cpu": _cpu_name(),
        "cores": physical_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
    }


def _cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def finish(name: str, bars: Sequence[Bar], samples: Mapping[str, Samples], **more: object) -> int:
    """Print the verdicts and the line of JSON, and append it to `RESULTS`; gives the exit status."""
    print()
    for bar in bars:
        print(bar)
    disturbed = sum(part.disturbed for part in samples.values())
    if disturbed:
        print(f"disturbed: {disturbed} rounds ran while other programs used this machine")
    found = {
        "benchmark": name,
        "met": all(bar.met for bar in bars),
        "bars": [
            {"what": bar.what, "value": bar.value, "bar": bar.bar, "at_least": bar.at_least, "unit": bar.unit}
            for bar in bars
        ],
        "disturbed_rounds": disturbed,
        "samples": {label: part.values for label, part in samples.items()},
        **more,
        "machine": machine(),
    }
    line = json.dumps(found, ensure_ascii=False)
    print(line, flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    return 0
