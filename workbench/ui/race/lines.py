"""The race as styled lines, without any widget: heads of lanes, texts, differences and the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.content import Content, Span

from workbench.core.formats import shown_format
from workbench.core.metrics import AnswerMetrics
from workbench.core.origins import settings_text, sourced_values
from workbench.core.parameters import PARAMETERS, changed_values, get_value
from workbench.core.units import figure_text
from workbench.lab.race.divergence import word_difference
from workbench.lab.race.lane import Lane
from workbench.lab.race.race import Race
from workbench.lab.race.report import LaneResult, RaceResult, ratio, valid_text
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.sanitize import clean, clean_line
from workbench.ui.kit.table import Column, Table
from workbench.ui.kit.text import cut, cut_line, short_label, styled, wrap

STATES = {
    "waiting": "○ waits", "loading": "◌ loads", "ready": "○ ready", "writing": "● writes", "done": "✓ done",
    "stopped": "■ stopped", "failed": "✗ failed",
}  # fmt: skip
"""Each state of a lane with its sign; colour never carries meaning alone."""
GREEDY = ("greedy: always the most likely token", "sampled: with the settings of the chat, and one seed for all")
SOLO = ("side by side", "one after the other")
EXPORTS = {
    ".md": "Markdown    a table and the answers, to read",
    ".json": "JSON        everything",
    ".csv": "CSV         the figures, a row for each lane",
}
"""How a race is written, by the suffix of the file."""
_QUESTION, _THOUGHT, _PARTED = "lane--question", "lane--thought", "lane--parted"
_ADDED, _MISSING, _DIM = "lane--added", "lane--missing", "lane--dim"


def own_settings(lane: Lane, reference: Lane) -> list[str]:
    """The settings in which a lane differs from the reference."""
    mine, theirs = (changed_values(each.sampling, each.spec.load) for each in (lane, reference))
    names = [name for name in PARAMETERS if mine.get(name) != theirs.get(name)]
    values = {name: get_value(lane.sampling, lane.spec.load, name) for name in names}
    return [f"{name}={shown_format(value) if isinstance(value, str) else value}" for name, value in values.items()]


def head_lines(lane: Lane, width: int, reference: Lane | None) -> list[Content]:
    """The head of a lane: name and state, model facts, and figures."""
    is_reference = lane is reference
    model = lane.model
    state = " " + (STATES[lane.state] if lane.running or lane.state != "waiting" else "○ idle")
    style = {"failed": "lane--bad", "stopped": "lane--warn", "done": "lane--good"}.get(lane.state, "lane--dim")
    room = max(8, width - len(state) - (3 if is_reference else 1))
    name = short_label(model, room) if model else cut(lane.label, room)
    gap = " " * max(1, width - len(name) - len(state) - (2 if is_reference else 0))
    first = styled(("◆ " if is_reference else "", "lane--reference"), (name, "lane--name"), (gap, ""), (state, style))
    facts = []
    if model is not None:
        if model.bits_per_weight is not None:
            facts.append(f"{model.bits_per_weight:.2f} bpw")
        facts.append(fmt.size(model.size_bytes))
    if lane.info is not None and lane.info.measured_by != "engine":
        facts.append(clean(lane.info.where))
    if lane.info is not None and lane.info.memory is not None:
        facts.append(f"mem {fmt.size(lane.info.memory.total_bytes)}")
    own = own_settings(lane, reference) if reference is not None else []
    second = styled((cut("  ".join([*own, *facts]) or fmt.DASH, width), _DIM))
    if lane.state == "loading":
        return [first, second, bar(lane.load_fraction, width), Content("")]
    return [first, second, *_figures(lane, width)]


def _figures(lane: Lane, width: int) -> list[Content]:
    meter = lane.answer.meter if lane.answer else None
    metrics = meter.metrics(percentiles=False) if meter else AnswerMetrics()
    live = meter.live_tps() if meter and lane.state == "writing" else None
    speed = live or metrics.decode_tps
    ttft, prefill = fmt.milliseconds(metrics.ttft_ms), fmt.rate(metrics.prefill_tps)
    tokens = fmt.count(meter.tokens if meter else None)
    unit = " token" if meter and meter.tokens == 1 else " tokens"
    by = "" if speed is None or metrics.source == "engine" else f" {metrics.source}"
    rate = ((fmt.rate(speed), "lane--figure"), (f" tok/s{by}  ", _DIM))
    thoughts = f", {fmt.count(metrics.reasoning_tokens)} of thoughts" if metrics.reasoning_tokens else ""
    third = styled(*rate, (tokens, "lane--value"), (f"{unit}{thoughts}", _DIM))
    verdicts = lane.verdicts
    valid = ((f"  {verdicts.count('valid')}/{len(verdicts)}", "lane--value"), (" valid", _DIM)) if verdicts else ()
    fourth = styled(("TTFT ", _DIM), (ttft, "lane--value"), ("  prefill ", _DIM), (prefill, "lane--value"), *valid)
    return [cut_line(third, width), cut_line(fourth, width)]


def warning_lines(lane: Lane, width: int) -> list[Content]:
    """Warnings about the model of a lane, such as Modelfile directives that are ignored."""
    recipe = lane.model.recipe if lane.model is not None else None
    warnings = lane.info.warnings if lane.info is not None else recipe.notes if recipe is not None else ()
    return [line for text in warnings for line in _wrapped(f"▲ {clean_line(text)}", width, "lane--warn")]


def settings_lines(lane: Lane, width: int) -> list[Content]:
    """The parameters of a lane that were set or differ from the defaults, with where they come from."""
    text = settings_text(sourced_values(lane.sampling, lane.spec.load, lane.origins))
    return _wrapped(clean_line(text), width, _DIM) if text else []


def history_lines(lane: Lane, questions: Sequence[str], width: int) -> list[Content]:
    """The earlier questions and their answers."""
    lines: list[Content] = []
    for question, answer in zip(questions[: lane.question], lane.answers, strict=False):
        lines += [
            *question_lines(question, width),
            *_wrapped(clean(answer.outcome.message.content), width),
            Content(""),
        ]
    return lines


def question_lines(question: str, width: int) -> list[Content]:
    """A question, above its answer."""
    text = f"› {clean_line(question)}"
    rows = wrap(Content(text, [Span(0, len(text), _QUESTION)]), width)
    return [*rows[:3], *([styled(("  …", _QUESTION))] if len(rows) > 3 else [])]


def answer_lines(lane: Lane, divergence: int | None, width: int) -> list[Content]:
    """The last answer of a lane, with its first difference from the reference marked."""
    if lane.answer is None:
        return []
    message = lane.answer.message()
    thoughts, text = clean(message.reasoning), clean(message.content)
    gap = "\n\n" if thoughts and text else ""
    whole = thoughts + gap + text
    spans = [Span(0, len(thoughts), _THOUGHT)] if thoughts else []
    if divergence is not None and divergence <= len(lane.ends):
        written = message.reasoning + message.content
        start = len(clean(written[: lane.ends[divergence - 1] if divergence else 0]))
        end = len(clean(written[: lane.ends[divergence]])) if divergence < len(lane.ends) else start
        start += len(gap) * (start >= len(thoughts))
        end += len(gap) * (end > len(thoughts))
        # A blank or missing token is marked at the character next to it.
        if not whole[start:end].strip():
            start, end = (start, start + 1) if start < len(whole) else (max(0, len(whole) - 1), len(whole))
        spans.append(Span(start, end, _PARTED))
    lines = wrap(Content(whole, spans), width) if whole else []
    notice = lane.answer.outcome().notice if lane.answer.phase == "done" else ""
    if notice and lane.error is None:
        lines += [Content(""), *_wrapped(clean_line(notice), width, "lane--warn")]
    if lane.error is not None:
        lines += [Content(""), *_wrapped(clean(str(lane.error)), width, "lane--bad")]
    return lines


def difference_lines(reference: str, text: str, width: int) -> tuple[list[Content], list[int]]:
    """A text compared with the reference word by word, and the lines on which differences begin."""
    whole, spans = "", list[Span]()
    for piece in word_difference(clean(reference), clean(text)):
        if piece.kind != "same" and spans and spans[-1].end == len(whole) and not whole[-1].isspace():
            # A word and its replacement would read as one word.
            whole += " "
        if piece.kind != "same":
            spans.append(Span(len(whole), len(whole) + len(piece.text), _ADDED if piece.kind == "added" else _MISSING))
        whole += piece.text
    lines = wrap(Content(whole, spans), width)
    return lines, _rows_of(whole, lines, [span.start for span in spans])


def _rows_of(text: str, lines: Sequence[Content], starts: Sequence[int]) -> list[int]:
    """The rows of these offsets of the text, each row once."""
    rows: list[int] = []
    place, found = 0, iter(starts)
    wanted = next(found, None)
    for row, line in enumerate(lines):
        # Wrapping removes blanks at the ends of lines, so the text is matched line by line.
        shown = line.plain.strip()
        begin = text.find(shown, place) if shown else place
        end = begin + len(shown)
        while wanted is not None and wanted <= end:
            if not rows or rows[-1] != row:
                rows.append(row)
            wanted = next(found, None)
        place = max(place, end)
    return rows


def _wrapped(text: str, width: int, style: str = "") -> list[Content]:
    if not text:
        return []
    content = Content(text, [Span(0, len(text), style)] if style else [])
    return wrap(content, width)


def state_text(race: Race, place: str, *, greedy: bool, solo: bool) -> str:
    """How the lanes are asked, below them; `place` is which of them are on the screen."""
    parts = [f"lanes {place}"] if place else []
    parts += ["greedy" if greedy else "sampled, one seed for all", "solo" if solo else "side by side"]
    if race.several_engines:
        parts[-1] = "one after the other, as several processes compute"
    if race.in_turn:
        parts.append("not all fit in memory: loaded and asked one after the other")
    return " · ".join(parts)


WIDE = 110
"""Terminal columns from which size and memory are shown in bytes, beside their ratios."""


def summary_lines(race: Race, result: RaceResult, width: int) -> list[Content]:
    """The table under the lanes: every lane compared with the reference."""
    reference, with_bytes = result.lanes[0], width >= WIDE
    # Those of lanes that are not open yet are known from the library.
    entries = [lane.info.model if lane.info else race.lanes[lane.lane].model for lane in result.lanes]
    models = [entry for entry in entries if entry is not None]
    by_quant = len({model.name for model in models}) == 1 and len({model.quant for model in models}) == len(
        result.lanes
    )

    def name(lane: LaneResult) -> Content:
        marks = "".join(f" {mark}" for mark in result.marks(lane.lane))
        room = max(8, table.laid_out(width)[0][1] - max(11, len(marks) + 1))
        entry = entries[lane.lane]
        label = short_label(entry, room) if entry else cut(lane.label, room)
        if by_quant and "…" in label and entry is not None:
            label = cut(entry.quant or label, room)
        return styled((label, "lane--name"), (marks, "lane--good"))

    def times(lane: LaneResult) -> str:
        return figure_text(result.decode_ratio(lane.lane), ".2f", "x")

    def differs(lane: LaneResult) -> str:
        if lane.lane == 0:
            return "reference"
        if lane.first_divergence is not None:
            return fmt.count(lane.first_divergence)
        return "other vocab" if race.differs_in_vocabulary(race.lanes[lane.lane]) else fmt.DASH

    def beside(size: int | None, of_reference: int | None) -> str:
        """A size as a multiple of the reference; with room, the size in bytes stands before it."""
        times = ratio(size, of_reference)
        words = [fmt.size(size)] if with_bytes or times is None else []
        return " ".join(words + ([] if times is None else [f"{times:.2f}x"]))

    def value(
        title: str, cell: Callable[[LaneResult], str], columns: int, *, style: str = "lane--value", least: int = 0
    ) -> Column[LaneResult]:
        return Column(title, cell, columns, right=True, style=style, least=least)

    wide = 16 if with_bytes else 8
    columns = [
        Column("lane", name),
        value("TTFT", lambda lane: fmt.milliseconds(lane.metrics.ttft_ms), 9),
        value("prefill", lambda lane: fmt.rate(lane.metrics.prefill_tps), 9, least=90),
        value("decode", lambda lane: fmt.rate(lane.metrics.decode_tps), 9, style="lane--figure"),
        value("x", times, 7),
        value("size", lambda lane: beside(lane.size_bytes, reference.size_bytes), wide, least=76),
        value("memory", lambda lane: beside(lane.peak_bytes, reference.peak_bytes), wide),
        value("differs at", differs, 12),
    ]
    if any(lane.judged_answers for lane in result.lanes):
        columns.append(value("valid", valid_text, 9))
    table = Table(columns, indent=1, gap=0, least_flexible=12)
    return [table.header(width), *(table.row(lane, width) for lane in result.lanes)]
