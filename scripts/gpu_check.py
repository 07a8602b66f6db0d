"""Try the program on a device: `scripts/gpu_check.sh` builds llama.cpp for it and runs this.

Every part runs in a process of its own and has a limit; what fails is a line of the result. Where a GPU was used, the
results go into docs/gpu.md; those of a processor or a software device stay in the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from workbench.core.telemetry import GpuSample
from workbench.telemetry.sampler import system_sampler

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gpu.md"
BEGIN, END = "<!-- measured: gpu_check -->\n", "<!-- end -->"
METERS_S = 60.0
"""How long the meters are watched at least, while the other parts run."""
PROMPT = "Tell a long story of two ships that meet at sea. " * 12
Result = dict[str, Any]
Row = Sequence[object]


class Check:
    """Runs the parts one after the other until the time is over."""

    def __init__(self, folder: Path, model: Path, seconds: float, layers: Sequence[int], small: bool) -> None:
        self._folder = folder
        self._model = str(model)
        self._until = time.monotonic() + seconds
        self._layers = layers
        # A processor or a software device computes a few tokens in a second.
        self._prompt, self._answer, self._repeats = (32, 8, 1) if small else (512, 128, 5)
        self.found: dict[str, Result] = {}

    def run_all(self) -> None:
        """Run every part."""
        for name, run in (
            ("doctor", self._doctor), ("offload", self._offload), ("bench", self._bench), ("race", self._race),
        ):  # fmt: skip
            self._part(name, run)

    def _part(self, name: str, run: Callable[[], Result]) -> None:
        began = time.monotonic()
        try:
            self.found[name] = run()
        except (RuntimeError, subprocess.TimeoutExpired, ValueError, LookupError) as error:
            self.found[name] = {"failed": str(error)[-300:]}
        self.found[name]["seconds"] = round(time.monotonic() - began, 1)
        print(f"{name}: {self.found[name]}"[:400], flush=True)

    def _ask(self, *command: str, most_s: float = 120) -> str:
        left = min(most_s, self._until - time.monotonic())
        if left < 1:
            raise RuntimeError("no time was left for it")
        done = subprocess.run(command, capture_output=True, text=True, timeout=left, check=False)
        if done.returncode:
            raise RuntimeError(f"status {done.returncode}: {done.stdout[-200:]}{done.stderr[-200:]}")
        return done.stdout

    def _workbench(self, *arguments: str, most_s: float = 120) -> str:
        return self._ask(sys.executable, "-m", "workbench.cli.main", *arguments, most_s=most_s)

    def _doctor(self) -> Result:
        report = json.loads(self._workbench("doctor", "--json"))
        kept = ("backends", "devices", "gpus", "sources", "driver", "findings")
        return {name: report[name] for name in kept} | {"build": report["llama_cpp"], "memory": report["memory"]}

    def _offload(self) -> Result:
        rows = []
        for layers in self._layers:
            command = (sys.executable, "-m", "scripts.gpu_probe", self._model, str(layers), str(self._answer))
            try:
                rows.append(json.loads(self._ask(*command).splitlines()[-1]))
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                rows.append({"asked": layers, "failed": str(error)[-300:]})
        return {"rows": rows}

    def _bench(self) -> Result:
        options = ("-p", str(self._prompt), "-n", str(self._answer), "-r", str(self._repeats), "-ngl", "99")
        ours = self._workbench("bench", self._model, *options, "--json")
        program = str(self._folder / "objects" / "bin" / "llama-bench")
        theirs = self._ask(program, "-m", self._model, *options, "-o", "jsonl")
        kept = ("n_prompt", "n_gen", "samples_ts", "joules_per_token", "disturbances", "gpu_layers")
        lines = {
            name: [json.loads(line) for line in text.splitlines() if line.startswith("{")]
            for name, text in (("workbench", ours), ("llama-bench", theirs))
        }
        return {
            name: [{key: row[key] for key in kept if key in row} for row in rows if "samples_ts" in row]
            for name, rows in lines.items()
        }

    def _race(self) -> Result:
        lanes = (self._model,) * 3
        options = ("--prompt", PROMPT, "--max-tokens", str(self._answer), "--json", "--set", "num_ctx=2048")
        report = json.loads(self._workbench("compare", *lanes, *options))
        kept = ("ttft_ms", "prefill_tps", "decode_tps", "first_divergence", "peak_bytes", "backend")
        return {"lanes": [{key: lane.get(key) for key in kept} for lane in report["lanes"]]}


def meters(samples: Sequence[Any], seconds: float) -> Result:
    """What the sampler of this process has seen meanwhile."""
    gpus: dict[str, list[GpuSample]] = {}
    for sample in samples:
        for gpu in sample.gpus:
            gpus.setdefault(gpu.gpu.name or gpu.gpu.key, []).append(gpu)
    gaps = [(after.at_ns - before.at_ns) / 1e9 for before, after in pairwise(samples)]

    def most(name: str, found: Sequence[GpuSample]) -> float | None:
        return max((value for each in found if (value := getattr(each, name)) is not None), default=None)

    figures = ("memory_total", "memory_used", "memory_own", "gpu_percent", "temperature_c", "power_w", "clock_mhz")
    return {
        "seconds": round(seconds, 1),
        "samples": len(samples),
        "longest_gap_s": round(max(gaps, default=0.0), 2),
        "gpus": {
            name: {figure: most(figure, found) for figure in figures}
            | {"joules": _joules(found), "absent": dict(found[-1].absent)}
            for name, found in gpus.items()
        },
    }


def _joules(found: Sequence[GpuSample]) -> float | None:
    counted = [each.energy_mj for each in found if each.energy_mj is not None]
    return (counted[-1] - counted[0]) / 1e3 if len(counted) > 1 else None


def on_gpu(doctor: Mapping[str, Any]) -> bool:
    """Whether the devices are GPUs, and not software."""
    gpus = [device for device in doctor.get("devices", ()) if device["kind"] in {"gpu", "integrated"}]
    software = {finding["subject"] for finding in doctor.get("findings", ()) if finding["id"] == "software-device"}
    return bool(gpus) and not any(device["name"] in software for device in gpus)


def report_lines(found: Mapping[str, Any]) -> list[str]:
    """The results as Markdown."""
    facts = found["machine"]
    lines = [f"{facts['date']}, {facts['device']}, {facts['system']}, Python {facts['python']}; "
             f"built in {facts['build_seconds']} s, checked in {facts['seconds']:.0f} s.", ""]  # fmt: skip
    lines += _failures(found)
    lines += _offload(found["offload"].get("rows", ()))
    lines += _bench(found["bench"])
    lanes = found["race"].get("lanes", ())
    lines += _table(["race of three, lane", "first token, ms", "prefill, tokens/s", "decode, tokens/s"], [
        (index, *(_figure(lane[name]) for name in ("ttft_ms", "prefill_tps", "decode_tps")))
        for index, lane in enumerate(lanes, 1)
    ])  # fmt: skip
    seen = found["meters"]
    lines += [
        f"The meters: {seen['samples']} samples in {seen['seconds']} s, the longest gap {seen['longest_gap_s']} s."
    ]
    for name, figures in seen["gpus"].items():
        told = ", ".join(
            f"{key.replace('_', ' ')} {_figure(value)}" for key, value in figures.items() if key != "absent"
        )
        lines.append(f"{name}, at most: {told}; not reported: {', '.join(figures['absent']) or 'nothing'}.")
    findings = found["doctor"].get("findings", ())
    return [*lines, "", *(f"- doctor, {each['severity']}: {each['text']}" for each in findings)]


def _failures(found: Mapping[str, Any]) -> list[str]:
    failed = {name: part["failed"] for name, part in found.items() if isinstance(part, dict) and "failed" in part}
    return [f"**{name} failed**: {text}" for name, text in failed.items()] + [""] * bool(failed)


def _offload(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    headings = ("layers asked", "got", "estimate on devices, MiB", "taken, MiB", "off", "prefill, tokens/s",
                "decode, tokens/s", "Escape in a prompt, ms")  # fmt: skip
    told = []
    for row in rows:
        if "failed" in row:
            told.append((row["asked"], f"failed: {row['failed']}", *[""] * 6))
            continue
        estimated, taken = row["estimated"], row["taken"]
        off = f"{100 * (estimated / taken - 1):+.1f} %" if taken else ""
        sizes = (f"{estimated / 2**20:.1f}", f"{taken / 2**20:.1f}", off)
        told.append((row["asked"], row["got"], *sizes,
                     *(_figure(row[name]) for name in ("prefill_tps", "decode_tps", "escape_ms"))))  # fmt: skip
    return _table(headings, told)


def _bench(found: Mapping[str, Any]) -> list[str]:
    def speeds(name: str) -> dict[str, float]:
        return {
            f"pp{row['n_prompt']}" if row["n_prompt"] else f"tg{row['n_gen']}": statistics.median(row["samples_ts"])
            for row in found.get(name, ())
        }

    ours, theirs = speeds("workbench"), speeds("llama-bench")
    joules = [row.get("joules_per_token") for row in found.get("workbench", ())]
    rows = [
        (test, _figure(ours[test]), _figure(theirs.get(test)),
         f"{ours[test] / theirs[test]:.3f}" if theirs.get(test) else "", _figure(energy))
        for test, energy in zip(ours, joules, strict=True)
    ]  # fmt: skip
    return _table(("test", "workbench, tokens/s", "llama-bench, tokens/s", "ratio", "J per token"), rows)


def _figure(value: float | None) -> str:
    return "—" if value is None else f"{value:,.1f}" if abs(value) < 1e5 else f"{value / 2**20:,.0f} MiB"


def _table(headings: Row, rows: Sequence[Row]) -> list[str]:
    def line(cells: Row) -> str:
        return f"| {' | '.join(map(str, cells))} |"

    return [line(headings), line(["---"] * len(headings)), *map(line, rows), ""]


def main() -> int:
    """Check, and write what was found; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--backend", required=True)
    parser.add_argument("--seconds", type=float, default=420.0)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    os.environ["WORKBENCH_HOME"] = str(options.folder.absolute() / "home")
    began = time.monotonic()
    sampler = system_sampler()
    sampler.start()
    is_cuda = options.backend == "cuda"
    model = options.model or options.folder / "random.gguf"
    if not model.exists():
        from scripts.gpu_model import write

        write(model, large=is_cuda)
    grid = (0, 4, 8, 17) if is_cuda else (0, 2, 99) if options.backend == "vulkan" else (0,)
    check = Check(options.folder, model, options.seconds - 10, grid, small=not is_cuda)
    check.run_all()
    while is_cuda and time.monotonic() - began < METERS_S:
        time.sleep(1)
    seconds = time.monotonic() - began
    doctor = check.found["doctor"]
    seconds_file = options.folder / "build-seconds"
    names = [device["description"] for device in doctor.get("devices", ()) if device["kind"] != "cpu"]
    found = check.found | {
        "meters": meters(sampler.history(), seconds),
        "machine": {
            "date": datetime.now(UTC).date().isoformat(),
            "device": ", ".join(names) or "no device",
            "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "build_seconds": seconds_file.read_text().strip() if seconds_file.exists() else "?",
            "seconds": seconds,
        },
    }
    (options.folder / "result.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    text = "\n".join(report_lines(found)) + "\n"
    (options.folder / "result.md").write_text(text, encoding="utf-8")
    print(text)
    if on_gpu(doctor):
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        PAGE.write_text(before + BEGIN + text + END + rest.partition(END)[2], encoding="utf-8")
        print(f"Written into {PAGE.relative_to(ROOT)}.")
    else:
        print("No GPU was used: docs/gpu.md stays as it is.")
    return int(any("failed" in part for part in check.found.values()))


if __name__ == "__main__":
    sys.exit(main())
