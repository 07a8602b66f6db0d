"""Run all benchmarks, or the named ones, one after the other, each in its own process.

    python -m benchmarks [llama_bench tui_speed …]

The tables go to standard output, the lines of JSON to build/benchmarks.jsonl. `python -m benchmarks.report` inserts
them into docs/performance.md.
"""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.common import ROOT, log

SCRIPTS = (
    "startup",
    "first_paint",
    "idle",
    "drawing",
    "escape",
    "telemetry",
    "tui_speed",
    "llama_bench",
    "between_decodes",
    "bench_parity",
    "quality",
    "quality_intervals",
    "race_fairness",
    "engine_host",
    "race_keys",
    "markup",
    "quantize",
    "library_scan",
    "models_keys",
    "sessions_scale",
    "checkpoints",
    "remote_overhead",
    "stream_keys",
    "sweep_cost",
    "batching",
    "busy_machine",
    "formats",
    "pull",
    "serve",
)

ARGUMENTS = {"tui_speed": ("--lock",)}


def main() -> int:
    """Run them; gives 1 where one failed or did not meet its bar."""
    names = sys.argv[1:] or [name for name in SCRIPTS if (ROOT / "benchmarks" / f"{name}.py").exists()]
    if unknown := sorted(set(names) - set(SCRIPTS)):
        log(f"There is no {', '.join(unknown)}: choose from {', '.join(SCRIPTS)}.")
        return 2
    broken = []
    for name in names:
        log(f"\n{name}")
        command = [sys.executable, "-m", f"benchmarks.{name}", *ARGUMENTS.get(name, ())]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        lines = done.stdout.splitlines()
        found = next((line for line in reversed(lines) if line.startswith("{")), None)
        print(f"\n## {name}\n\n" + "\n".join(line for line in lines if line is not found), flush=True)
        if found is None or done.returncode:
            broken.append(name)
            continue
        if not json.loads(found)["met"]:
            broken.append(name)
    if broken:
        log(f"\nfailed, or a bar was not met: {', '.join(broken)}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
