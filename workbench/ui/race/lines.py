"""What the race screen works on and what it shows, without any widget."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content, Span

from workbench.core.parameters import PARAMETERS, changed_values, get_value
from workbench.lab.race.divergence import Piece, word_difference
from workbench.lab.race.race import Lane, LaneSpec, Race
from workbench.lab.race.report import LaneResult, RaceResult, ratio
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.sanitize import clean, clean_line
from workbench.ui.kit.text import cut, padded, short_label, styled

MARKS = {
    "waiting": ("○", "waits"),
    "loading": ("◌", "loads"),
    "ready": ("○", "ready"),
    "writing": ("●", "writes"),
    "done": ("✓", "done"),
    "stopped": ("■", "stopped"),
    "failed": ("✗", "failed"),
}
"""How the state of a lane is shown: by a sign and a word, never by colour alone."""
_QUESTION, _THOUGHT, _PARTED, _ADDED, _MISSING, _DIM = (
    "lane--question",
    "lane--thought",
    "lane--parted",
    "lane--added",
    "lane--missing",
    "lane--dim",
)


def own_settings(spec: LaneSpec, reference: LaneSpec) -> list[str]:
    """In which settings a lane differs from the reference."""
    mine, theirs = (changed_values(each.sampling, each.load) for each in (spec, reference))
    names = [name for name in PARAMETERS if mine.get(name) != theirs.get(name)]
    return [f"{name}={get_value(spec.sampling, spec.load, name)}" for name in names]


def head_lines(lane: Lane, width: int, reference: Lane | None) -> list[Content]:
    """What stands above a lane: its name and state, what it is, and its figures."""
    is_reference = lane is reference
    model = lane.model
    sign, word = MARKS[lane.state] if lane.running or lane.state != "waiting" else ("○", "idle")
    state = f" {sign} {word}"
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
        facts.append(clean(lane.info.backend))
    if lane.info is not None and lane.info.memory is not None:
        facts.append(f"mem {fmt.size(lane.info.memory.total_bytes)}")
    own = own_settings(lane.spec, reference.spec) if reference is not None else []
    second = styled((cut("  ".join([*own, *facts]) or fmt.DASH, width), _DIM))
    if lane.state == "loading":
        return [first, second, bar(lane.load_fraction, width), Content("")]
    return [first, second, *_figures(lane, width)]


def _figures(lane: Lane, width: int) -> list[Content]:
    meter = lane.answer.meter if lane.answer else None
    metrics = meter.metrics(percentiles=False) if meter else None
    live = meter.live_tps() if meter and lane.state == "writing" else None
    speed = live or (metrics.decode_tps if metrics else None)
    ttft = fmt.milliseconds(metrics.ttft_ms if metrics else None)
    prefill = fmt.rate(metrics.prefill_tps if metrics else None)
    tokens = fmt.count(meter.tokens if meter else None)
    unit = " token" if meter and meter.tokens == 1 else " tokens"
    by = "" if metrics is None or speed is None or metrics.source == "engine" else f" {metrics.source}"
    rate = ((fmt.rate(speed), "lane--figure"), (f" tok/s{by}  ", _DIM))
    third = styled(*rate, (tokens, "lane--value"), (unit, _DIM))
    fourth = styled(("TTFT ", _DIM), (ttft, "lane--value"), ("  prefill ", _DIM), (prefill, "lane--value"))
    return [_cropped(third, width), _cropped(fourth, width)]


def _cropped(line: Content, width: int) -> Content:
    return line if line.cell_length <= width else line[:width]


def warning_lines(lane: Lane, width: int) -> list[Content]:
    """What the user ought to know of a lane's model, such as what of its Modelfile is not honoured."""
    recipe = lane.model.recipe if lane.model is not None else None
    warnings = lane.info.warnings if lane.info is not None else recipe.notes if recipe is not None else ()
    return [line for text in warnings for line in _wrapped(f"▲ {clean_line(text)}", width, "lane--warn")]


def history_lines(lane: Lane, questions: Sequence[str], width: int) -> list[Content]:
    """The questions before the last one, and what the lane answered."""
    lines: list[Content] = []
    for question, answer in zip(questions[: lane.question], lane.answers, strict=False):
        lines += [
            *question_lines(question, width),
            *_wrapped(clean(answer.outcome.message.content), width),
            Content(""),
        ]
    return lines


def question_lines(question: str, width: int) -> list[Content]:
    """A question, as it stands above its answer."""
    text = f"› {clean_line(question)}"
    rows = Content(text, [Span(0, len(text), _QUESTION)]).wrap(width)
    return [*rows[:3], *([styled(("  …", _QUESTION))] if len(rows) > 3 else [])]


def answer_lines(lane: Lane, divergence: int | None, width: int) -> list[Content]:
    """The last answer of a lane, with the place marked at which it leaves the reference."""
    if lane.answer is None:
        return []
    message = lane.answer.message()
    thoughts, text = clean(message.reasoning), clean(message.content)
    whole = thoughts + text
    spans = [Span(0, len(thoughts), _THOUGHT)] if thoughts else []
    if divergence is not None and divergence <= len(lane.ends):
        written = message.reasoning + message.content
        start = len(clean(written[: lane.ends[divergence - 1] if divergence else 0]))
        end = len(clean(written[: lane.ends[divergence]])) if divergence < len(lane.ends) else start
        # Where a token is blank, or missing, the character after it or before it shows the place.
        if not whole[start:end].strip():
            start, end = (start, start + 1) if start < len(whole) else (max(0, len(whole) - 1), len(whole))
        spans.append(Span(start, end, _PARTED))
    lines = Content(whole, spans).wrap(width) if whole else []
    if lane.error is not None:
        lines += [Content(""), *_wrapped(clean(str(lane.error)), width, "lane--bad")]
    return lines


def difference_lines(reference: str, text: str, width: int) -> tuple[list[Content], list[int]]:
    """A text word by word against the reference, and the lines on which differences begin."""
    pieces = word_difference(clean(reference), clean(text))
    content = "".join(piece.text for piece in pieces)
    spans, starts = [], []
    place = 0
    for piece in pieces:
        end = place + len(piece.text)
        if piece.kind != "same":
            spans.append(Span(place, end, _ADDED if piece.kind == "added" else _MISSING))
            starts.append(place)
        place = end
    lines = Content(content, spans).wrap(width)
    return lines, _rows_of(pieces, lines, starts)


def _rows_of(pieces: Sequence[Piece], lines: Sequence[Content], starts: Sequence[int]) -> list[int]:
    """The rows on which these places of the text are, each row once."""
    text = "".join(piece.text for piece in pieces)
    rows: list[int] = []
    place, found = 0, iter(starts)
    wanted = next(found, None)
    for row, line in enumerate(lines):
        # Wrapping takes blanks off the ends of lines: the text is followed from word to word.
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
    return list(content.wrap(width))


COLUMNS = (
    ("lane", 0),
    ("TTFT", 9),
    ("prefill", 9),
    ("decode", 9),
    ("x", 7),
    ("size", 8),
    ("memory", 8),
    ("parts at", 11),
)
"""The columns of the table, and their widths; the first one takes what is left."""
WIDE = 110
"""Columns from which size and memory are told in bytes, too, and not as ratios alone."""
WITH_BYTES = {"size": 16, "memory": 16}
"""How wide their columns are then."""
LEAST_COLUMNS = {"prefill": 90, "size": 76}
"""How wide the table must be for a column to be in it; the lanes themselves show what is left out."""


def summary_lines(race: Race, result: RaceResult, width: int) -> list[Content]:
    """The table under the lanes: every lane against the reference."""
    widths = dict(COLUMNS) | (WITH_BYTES if width >= WIDE else {})
    columns = [(name, size) for name, size in widths.items() if width >= LEAST_COLUMNS.get(name, 0)]
    rest = max(12, width - sum(size for _, size in columns) - 1)
    heading = "".join(padded(name, size or rest, right=bool(size)) for name, size in columns)
    lines = [styled((f" {heading}", "lane--heading"))]
    return lines + [_summary_row(race, result, lane, columns, rest) for lane in result.lanes]


def _summary_row(
    race: Race, result: RaceResult, lane: LaneResult, columns: Sequence[tuple[str, int]], rest: int
) -> Content:
    reference, metrics = result.lanes[0], lane.metrics
    note = "".join(f" {mark}" for mark in result.marks(lane.lane))
    room = max(8, rest - max(11, len(note) + 1))
    label = short_label(lane.info.model, room) if lane.info else cut(lane.label, room)
    parts = "reference" if lane.lane == 0 else fmt.count(lane.first_divergence)
    if lane.lane and lane.first_divergence is None:
        same = lane.info is None or race.comparable(race.lanes[lane.lane])
        parts = fmt.DASH if same else "other vocab"
    speed = ratio(metrics.decode_tps, reference.metrics.decode_tps)
    with_bytes = dict(columns)["memory"] == WITH_BYTES["memory"]
    texts = {
        "TTFT": fmt.milliseconds(metrics.ttft_ms),
        "prefill": fmt.rate(metrics.prefill_tps),
        "decode": fmt.rate(metrics.decode_tps),
        "x": fmt.DASH if speed is None else f"{speed:.2f}x",
        "size": _against(lane.size_bytes, reference.size_bytes, with_bytes),
        "memory": _against(lane.peak_bytes, reference.peak_bytes, with_bytes),
        "parts at": parts,
    }
    cells: list[tuple[str, str]] = [(" ", "")]
    for name, size in columns:
        if name == "lane":
            cells += [(label, "lane--name"), (padded(note, max(0, rest - len(label))), "lane--good")]
        else:
            style = "lane--figure" if name == "decode" else "lane--value"
            cells.append((padded(texts[name], size, right=True), style))
    return styled(*cells)


def _against(size: int | None, reference: int | None, with_bytes: bool) -> str:
    """A size in bytes against that of the reference, and where there is room, the size itself."""
    times = ratio(size, reference)
    words = [fmt.size(size)] if with_bytes or times is None else []
    return " ".join(words + ([] if times is None else [f"{times:.2f}x"]))
