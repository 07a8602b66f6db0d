"""Insert the last result of each benchmark into docs/performance.md.

    python -m benchmarks && python -m benchmarks.report

On the page a result is between `<!-- measured: NAME -->` and `<!-- end -->`. A benchmark without a new result keeps the
old one.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from typing import Any

from benchmarks.common import RESULTS, ROOT, format_table

PAGE = ROOT / "docs" / "performance.md"
_PART = re.compile(r"(<!-- measured: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def last_results() -> dict[str, dict[str, Any]]:
    """The last line of each benchmark."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    return {found["benchmark"]: found for found in map(json.loads, lines)}


def rendered(found: dict[str, Any]) -> str:
    """A result as Markdown."""
    bars = [
        (
            bar["what"],
            f"{bar['value']:.3g} {bar['unit']}".strip(),
            f"{'≥' if bar['at_least'] else '≤'} {bar['bar']:g} {bar['unit']}".strip(),
            "yes" if (bar["value"] >= bar["bar"] if bar["at_least"] else bar["value"] <= bar["bar"]) else "**no**",
        )
        for bar in found["bars"]
    ]
    rows = []
    for label, arms in found["samples"].items():
        prefix = "" if label == found["benchmark"] else f"{label} "
        for arm, values in arms.items():
            rows.append((f"{prefix}{arm}", statistics.median(values), min(values), max(values), len(values)))
    for arm, ratio in found.get("ratios", {}).items():
        rows.append((f"{arm}, against headless", ratio, "", "", ""))
    machine = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    took = ", ".join(
        (
            f"{machine['date'][:10]}, `python -m benchmarks.{found['benchmark']}`: {machine['cpu']}",
            f"{machine['cores']} cores, {machine['memory_gib']:.0f} GiB",
            f"{machine['system'].partition(' ')[0]}, Python {machine['python']}",
            versions,
        )
    )
    disturbed = found["disturbed_rounds"]
    if disturbed:
        took += f"; other programs computed too in {disturbed} of the rounds"
    return (
        f"{format_table(('promise', 'found', 'bar', 'kept'), bars)}\n"
        f"{format_table(('arm', 'median', 'lowest', 'highest', 'n'), rows)}\n{took}.\n"
    )


def main() -> int:
    """Write the page; gives the exit status."""
    results = last_results()

    def part(match: re.Match[str]) -> str:
        found = results.get(match["name"])
        return match[0] if found is None else f"{match[1]}\n{rendered(found)}\n{match[3]}"

    PAGE.write_text(_PART.sub(part, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {', '.join(results) or 'nothing was measured yet'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
