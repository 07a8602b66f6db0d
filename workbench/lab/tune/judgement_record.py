"""What a judgement of speculation has found: its pairs, the sentence, and the drafts; as JSON and Markdown."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

from workbench.core.bench import BenchMachine, Sample
from workbench.core.parameters import Value
from workbench.core.speculation import OFF, SpeculationFigures
from workbench.core.statistics import FEWEST_PAIRS, Comparison, compare
from workbench.core.units import figure_text
from workbench.lab.bench.measure import mark
from workbench.lab.bench.report import build_line, markdown

Verdict = Literal["on", "off", "noisy", "unproved"]


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """One prompt, answered without drafts and with them, one right after the other."""

    prompt: str
    """Its first words."""
    off_tps: float
    on_tps: float
    figures: SpeculationFigures
    same_text: bool
    samples: tuple[Sample, Sample]

    @property
    def ratio(self) -> float:
        """Above 1, drafts are faster."""
        return self.on_tps / self.off_tps


@dataclass(frozen=True, slots=True)
class JudgementRecord:
    """The results so far."""

    model: str
    ref: str
    speculation: str
    today: str
    """Today's value of `speculation`."""
    pairs: tuple[JudgedPair, ...] = ()
    machine: BenchMachine | None = None
    notes: tuple[str, ...] = ()

    @property
    def comparison(self) -> Comparison | None:
        """The speed with drafts compared with that without; None before the first pair."""
        if not self.pairs:
            return None
        return compare([each.off_tps for each in self.pairs], [each.on_tps for each in self.pairs])

    @property
    def figures(self) -> SpeculationFigures:
        """What was drafted in all answers."""
        return reduce(SpeculationFigures.plus, (each.figures for each in self.pairs), SpeculationFigures())

    @property
    def disturbed(self) -> int:
        """Pairs that something disturbed."""
        marked = mark([sample for each in self.pairs for sample in each.samples])
        return sum(bool(one.disturbed or other.disturbed) for one, other in zip(marked[::2], marked[1::2], strict=True))

    @property
    def verdict(self) -> Verdict:
        """Whether to have it on; `unproved` where there are too few pairs."""
        found = self.comparison
        if found is None or found.verdict == "few":
            return "unproved"
        return "on" if found.verdict == "faster" else "noisy" if found.verdict == "noisy" else "off"

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        found, is_on = self.comparison, self.today == self.speculation
        if found is None or found.low is None or found.high is None or self.verdict == "unproved":
            return f"{self.speculation}: fewer than {FEWEST_PAIRS} pairs prove nothing."
        ends = f"{found.ratio:.2f}x, 95 % interval {found.low:.2f} to {found.high:.2f}, {found.pairs} pairs"
        ends += f" ({self.disturbed} disturbed)" if self.disturbed else ""
        advice = {
            "on": "keep it on" if is_on else "turn it on",
            "off": "turn it off" if is_on else "leave it off",
            "noisy": "too noisy to say",
        }
        return f"{self.speculation}: {ends}: {advice[self.verdict]}."

    @property
    def drafts_text(self) -> str:
        """How good the drafts were, in words."""
        found = self.figures
        if found.acceptance is None or found.mean_length is None:
            return "Nothing was drafted."
        places = ", ".join(f"{share:.0%}" for share in found.by_position)
        text = (
            f"{found.acceptance:.0%} of {found.draft_n:,} drafted tokens were right; a step with a draft wrote "
            f"{found.mean_length:.1f} tokens; right up to each place: {places}."
        )
        differ = sum(not each.same_text for each in self.pairs)
        return f"{text} {differ} answers have another text: sums are rounded differently." if differ else text

    @property
    def state(self) -> str:
        """The sentence with the drafts and the notes."""
        return " ".join([self.sentence, self.drafts_text, *self.notes])

    @property
    def values(self) -> dict[str, Value]:
        """The load parameter to keep for the model; none where today's is right."""
        wanted = {"on": self.speculation, "off": OFF}.get(self.verdict)
        is_on = self.today == self.speculation
        return {} if wanted is None or is_on == (wanted != OFF) else {"speculation": wanted}

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments of `workbench` that keep it; none where there is nothing to keep."""
        return ("settings", self.ref, *(f"--set=speculation={value}" for value in self.values.values()))[
            : 3 * bool(self.values)
        ]


COLUMNS = ("prompt", "off", "with drafts", "ratio", "drafts right", "a step")


def pair_cells(number: int, pair: JudgedPair) -> tuple[str, ...]:
    """The pair of this number, from 1, a cell for each of `COLUMNS`; speeds in tokens/s."""
    found = pair.figures
    right = "" if found.acceptance is None else f"{found.acceptance:.0%} of {found.draft_n}"
    figures = (f"{pair.off_tps:.1f}", f"{pair.on_tps:.1f}", f"{pair.ratio:.2f}x")
    return (f"{number}. {pair.prompt}", *figures, right, figure_text(found.mean_length, ".1f"))


def as_json(record: JudgementRecord) -> dict[str, Any]:
    """The fields of `--json`. Speeds are in tokens/s, ratios are of drafts to none."""
    found = record.comparison
    return {
        "model": record.model,
        "speculation": record.speculation,
        "verdict": record.verdict,
        "sentence": record.sentence,
        "ratio": None if found is None else found.ratio,
        "interval": None if found is None or found.low is None else [found.low, found.high],
        "disturbed": record.disturbed,
        "pairs": [
            {"prompt": each.prompt, "off_tps": each.off_tps, "on_tps": each.on_tps, "same_text": each.same_text}
            | each.figures.document
            for each in record.pairs
        ],
        **record.figures.document,
        "keep": record.values,
        "command": shlex.join(("workbench", *record.command)) if record.command else None,
        "notes": list(record.notes),
        "build_commit": None if record.machine is None else record.machine.build_commit,
    }


def as_markdown(record: JudgementRecord) -> str:
    """The judgement for people, as Markdown that a terminal can show."""
    lines = [f"# {record.model}: speculation = {record.speculation}", ""]
    lines += [
        markdown(COLUMNS, [pair_cells(*each) for each in enumerate(record.pairs, 1)]),
        "",
        record.sentence,
        record.drafts_text,
    ]
    lines += record.notes
    if record.command:
        lines += ["", f"    {shlex.join(('workbench', *record.command))}"]
    if record.machine is not None:
        lines += ["", build_line(record.machine)]
    return "\n".join(lines) + "\n"
