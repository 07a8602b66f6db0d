"""What a tuning has found: its trials, the comparison that proves the best, and the sentence; as JSON and Markdown."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import Any, Literal

from workbench.core.bench import BenchMachine, BenchSettings, BenchTest
from workbench.core.bench_loading import as_load_settings
from workbench.core.load_settings import LoadSettings
from workbench.core.parameters import Value
from workbench.core.units import figure_text
from workbench.lab.bench.pairs import DuelRecord
from workbench.lab.bench.plan import LOAD_PARAMETERS
from workbench.lab.bench.report import build_line, markdown
from workbench.lab.tune.goal import measured_settings
from workbench.lab.tune.levers import TuneFacts, changes
from workbench.lab.tune.trials import Trial

Verdict = Literal["better", "already best", "noisy", "unproved"]
"""`unproved`: it was stopped before the pairs."""


@dataclass(frozen=True, slots=True)
class TuneRecord:
    """The results so far."""

    model: str
    ref: str
    facts: TuneFacts
    machine: BenchMachine | None
    today: LoadSettings
    start: BenchSettings
    """Today's settings, or the nearest that meet the limits."""
    best: BenchSettings
    """The fastest that was found; where the verdict is another than `better`, `start` stays."""
    trials: tuple[Trial, ...] = ()
    """In the order in which they were tried, today's first."""
    final: DuelRecord | None = None
    """The best beside today's settings; where those are the best, the nearest other beside them."""
    rivals: DuelRecord | None = None
    """The second best beside the best."""
    running: bool = False
    notes: tuple[str, ...] = ()
    min_ctx: int = 0
    """The context length that was asked for; 0 for today's."""

    @property
    def verdict(self) -> Verdict:
        """What was found."""
        found = None if self.final is None else self.final.comparison
        if found is None or found.verdict == "few":
            return "unproved"
        if found.verdict == "faster":
            return "better"
        return "noisy" if found.verdict == "noisy" else "already best"

    @property
    def changes(self) -> tuple[str, ...]:
        """What the best changes, in words."""
        return changes(self.best, self.start, self.facts)

    @property
    def chosen(self) -> BenchSettings:
        """The settings to load the model with."""
        return self.best if self.verdict == "better" else self.start

    @property
    def values(self) -> dict[str, Value]:
        """The load parameters to keep for the model; none where today's settings are the best."""
        before, now = measured_settings(self.today), self.chosen
        load = as_load_settings(now, BenchTest(n_prompt=1))
        found: dict[str, Value] = {
            name: getattr(load, name) for name, of in LOAD_PARAMETERS.items() if getattr(before, of) != getattr(now, of)
        }
        if self.today.num_ctx < self.min_ctx:
            found["num_ctx"] = self.min_ctx
        return found

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments of `workbench` that keep the best for the model; none where there is nothing to keep."""
        sets = [word for name, value in self.values.items() for word in ("--set", f"{name}={_written(value)}")]
        return ("settings", self.ref, *sets) if sets else ()

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        found = None if self.final is None else self.final.comparison
        words = " and ".join(self.changes)
        if found is None or found.low is None or found.high is None or self.verdict == "unproved":
            if not words:
                return "Nothing is proved to be faster than your settings so far."
            trial = next((each for each in self.trials if each.settings == self.best), None)
            by = "" if trial is None or trial.ratio is None else f" ({trial.ratio:.2f}x in short runs)"
            return f"So far {words} looks faster{by}; no pairs have proved it."
        disturbed = 0 if self.final is None else self.final.disturbed
        ends = f"{found.ratio:.2f}x, 95 % interval {found.low:.2f} to {found.high:.2f}, {found.pairs} pairs"
        ends += f" ({disturbed} disturbed)" if disturbed else ""
        if self.verdict == "better":
            return f"{words}: {ends}; all else made no difference that could be seen."
        if self.verdict == "noisy":
            return f"Too noisy to say: {words} was {ends}. Nothing is changed."
        own = self.start == measured_settings(self.today)
        best = "Your settings are already best." if own else "Nothing else that meets the limits is faster."
        return f"{best} The nearest other, {words}, was {ends}."

    @property
    def state(self) -> str:
        """The sentence with its notes."""
        return " ".join([self.sentence, *self.notes])


def _written(value: Value) -> str:
    return (
        ",".join(value) if isinstance(value, tuple) else str(value).lower() if isinstance(value, bool) else str(value)
    )


def as_json(record: TuneRecord) -> dict[str, Any]:
    """The fields of `--json`. Speeds are in tokens/s, ratios are of the best's speed to today's."""
    found = None if record.final is None else record.final.comparison
    return {
        "model": record.model,
        "test": record.facts.work.label,
        "verdict": record.verdict,
        "sentence": record.sentence,
        "ratio": None if found is None else found.ratio,
        "interval": None if found is None or found.low is None else [found.low, found.high],
        "pairs": 0 if found is None else found.pairs,
        "disturbed": 0 if record.final is None else record.final.disturbed,
        "best": asdict(record.best),
        "baseline": asdict(measured_settings(record.today)),
        "keep": record.values,
        "command": shlex.join(("workbench", *record.command)) if record.command else None,
        "trials": [asdict(trial) for trial in record.trials],
        "notes": list(record.notes),
        "build_commit": None if record.machine is None else record.machine.build_commit,
    }


TRIAL_COLUMNS = ("", "tokens/s", "to today's", "runs", "")


def trial_cells(trial: Trial) -> tuple[str, ...]:
    """What is known of a trial, a cell for each of `TRIAL_COLUMNS`."""
    name = "; ".join(trial.changes) or "your settings"
    state = trial.reason or ("" if trial.state in ("today", "measured") else trial.state)
    return (
        name,
        figure_text(trial.speed, ".1f") + " *" * bool(trial.disturbed),
        figure_text(trial.ratio, ".3f", "x"),
        str(trial.runs) if trial.runs else "",
        state,
    )


def as_markdown(record: TuneRecord) -> str:
    """The tuning for people, as Markdown that a terminal can show."""
    lines = [f"# {record.model}: {record.facts.work.label}", ""]
    lines += [markdown(TRIAL_COLUMNS, [trial_cells(each) for each in record.trials]), ""]
    if any(trial.disturbed for trial in record.trials):
        lines.append("* something disturbed some of its runs")
    for name, duel in (("second best", record.rivals), ("pairs", record.final)):
        if duel is not None:
            lines.append(f"{name}: {duel.comparison.sentence('A', 'B')}{_disturbed(duel)}")
    lines += ["", record.sentence, *record.notes]
    if record.command:
        lines += ["", f"    {shlex.join(('workbench', *record.command))}"]
    if record.machine is not None:
        lines += ["", build_line(record.machine)]
    return "\n".join(lines) + "\n"


def _disturbed(duel: DuelRecord) -> str:
    return f"; {duel.disturbed} of them disturbed" if duel.disturbed else ""
