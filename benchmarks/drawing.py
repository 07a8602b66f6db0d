"""The cost of drawing a token, at 400 and at 4,000 tokens of one answer, in prose and in one long code block.

The whole screen runs at 120x36 without a terminal, on the scripted engine. Around both marks tokens come at a steady
pace, and the processor time of the process is divided by their number; in between they come faster, to save time. The
figure for a mark is the median over the rounds.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from benchmarks.common import Bar, Samples, finish, log, parser, print_samples
from workbench.core.config import Config
from workbench.core.logbook import LogBook
from workbench.core.models import ModelEntry
from workbench.core.session import Session
from workbench.core.telemetry import HostSample, Situation, TelemetrySample
from workbench.engine.scripted import Pace, Script, ScriptedHost, ScriptedModel
from workbench.ui.services import Services

ROOT = Path(__file__).parents[1]
MARKS = (400, 4_000)
WINDOW = 200
"""Tokens around a mark over which its cost is measured."""
FASTER = 6
"""Factor of the pace between the marks."""
PROSE = (
    "Light from the sun is scattered by the **molecules** of the air, the short waves more than the long ones, and so "
    "the sky looks `blue` from wherever you stand. At dusk the way through the air is longer. "
)
CODE = "    total += weights[index] * table.get(key, 0.0)  # every term once\n"


HOST = HostSample(400_000_000, 5_000_000_000, 8_000_000_000, 50.0)


class Quiet:
    """Stores and measures nothing, so that only the screen is timed."""

    id = "none"

    async def create(self) -> Quiet:
        """The journal, which is this object too."""
        return self

    async def digest(self, model: ModelEntry) -> str:
        """The same for every file."""
        return ""

    async def interrupted(self) -> tuple[Session, ...]:
        """Nothing was interrupted, typed or lost before."""
        return ()

    recall = lost_drafts = interrupted

    def __getattr__(self, name: str) -> Callable[..., Awaitable[None]]:
        async def nothing(*_: object) -> None: ...

        return nothing

    active = ()

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def latest(self) -> TelemetrySample:
        """A machine that never changes."""
        return TelemetrySample(time.perf_counter_ns(), HOST, ())

    def history(self) -> list[TelemetrySample]:
        return [self.latest()]

    def events(self, after: int = 0) -> tuple[()]:
        return ()

    def look(self, situation: Situation) -> tuple[()]:
        """No alarms."""
        return ()


class Stopwatch:
    """The sleep of the scripted engine: it counts tokens, keeps the pace, and reads the processor time at the marks."""

    def __init__(self, tokens_per_second: float) -> None:
        self._rate = tokens_per_second
        self._read: dict[int, tuple[float, float]] = {}
        self.tokens = 0.0

    def _near_a_mark(self) -> bool:
        return any(mark - WINDOW <= self.tokens <= mark + WINDOW for mark in MARKS)

    async def sleep(self, seconds: float) -> None:
        """Wait, as the engine does between two batches of tokens."""
        for mark in MARKS:
            for edge in (mark - WINDOW // 2, mark + WINDOW // 2):
                if self.tokens >= edge and edge not in self._read:
                    self._read[edge] = (self.tokens, time.process_time())
        await asyncio.sleep(seconds if self._near_a_mark() else seconds / FASTER)
        self.tokens += seconds * self._rate

    def cost_ms(self, mark: int) -> float:
        """Processor time of one token at a mark, in milliseconds."""
        (first, began), (last, ended) = self._read[mark - WINDOW // 2], self._read[mark + WINDOW // 2]
        return (ended - began) * 1000 / (last - first)


def script(kind: str) -> Script:
    """An answer of a little more than the last mark."""
    text = PROSE if kind == "prose" else CODE
    script = Script.of(text * (MARKS[-1] * 2 * 8 // len(text)))
    tokens = script.answer[: MARKS[-1] + 2 * WINDOW]
    if kind == "code":
        return Script(("```", "python", "\n", *tokens))
    # A paragraph has about 120 tokens.
    parts = ("\n\n" + token.lstrip() if index % 120 == 119 else token for index, token in enumerate(tokens))
    return Script(tuple(parts))


async def measure(kind: str, rate: float) -> Mapping[int, float]:
    """The cost at each mark, in milliseconds a token."""
    from workbench.ui.app import WorkbenchApp

    watch = Stopwatch(rate)
    model = ScriptedModel(
        ModelEntry("scripted", "scripted"), (script(kind),), Pace(0, 1, 0, decode_tps=rate), context=100_000
    )
    host = ScriptedHost((model,), sleep=watch.sleep)
    quiet: Any = Quiet()
    services: Any = {each.name: quiet for each in fields(Services) if each.default is MISSING} | {
        "engines": host, "catalog": host, "make_alarms": lambda: quiet, "find_devices": lambda: None, "logs": LogBook(),
        "config": Config(), "config_problems": (), "save_config": lambda _: (), "theme_folders": (ROOT / "themes",),
        "export_folder": Path(), "keep_copy": lambda _: Path(), "session_text": lambda *_: "",
    }  # fmt: skip
    app = WorkbenchApp(Services(**services), "scripted")
    async with app.run_test(size=(120, 36)) as pilot:
        while app.workspace.engine is None:
            await pilot.pause(0.05)
        await pilot.press("g", "o", "enter")
        while app.workspace.answering is None or watch.tokens < MARKS[-1] + WINDOW:
            await asyncio.sleep(0.2)
    return {mark: watch.cost_ms(mark) for mark in MARKS}


def main() -> int:
    """Measure, and print a table and a line of JSON."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--rate", type=float, default=60.0, help="tokens a second (default: %(default)s)")
    chosen = options.parse_args()
    samples = Samples()
    for number in range(chosen.rounds):
        for kind in ("prose", "code"):
            for mark, cost in asyncio.run(measure(kind, chosen.rate)).items():
                samples.values.setdefault(f"{kind} at {mark:,}, ms/token", []).append(cost)
                log(f"  round {number + 1} of {chosen.rounds}: {kind} at {mark:,}: {cost:.3f} ms a token")
    print_samples(samples)
    bars = [
        Bar(
            f"{kind}: a token at 4,000 against one at 400",
            samples.ratio(f"{kind} at 4,000, ms/token", f"{kind} at 400, ms/token"),
            1.3,
        )
        for kind in ("prose", "code")
    ]
    return finish("drawing", bars, {"drawing": samples}, tokens_per_second=chosen.rate)


if __name__ == "__main__":
    sys.exit(main())
