"""The live figures as styled lines: what the panel and the status strip show, computed without any widget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from rich.cells import cell_len
from textual.content import Content, Span

from workbench.core.events import PromptProgress
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import EngineInfo, ModelEntry
from workbench.ui.kit import figures as fmt
from workbench.ui.workspace.machine_watch import MachineView
from workbench.ui.kit.sanitize import clean_line

GRAPH_ROWS = 2
SHORT_NAME = 22
"""Columns for the model on a narrow screen."""
WARN_AT = 0.80
CRITICAL_AT = 0.95
_BLOCKS = " ▁▂▃▄▅▆▇█"
_DIGITS = {
    "0": ("┏━┓", "┃ ┃", "┗━┛"),
    "1": (" ╻ ", " ┃ ", " ╹ "),
    "2": ("╺━┓", "┏━┛", "┗━╸"),
    "3": ("╺━┓", " ━┫", "╺━┛"),
    "4": ("╻ ╻", "┗━┫", "  ╹"),
    "5": ("┏━╸", "┗━┓", "╺━┛"),
    "6": ("┏━╸", "┣━┓", "┗━┛"),
    "7": ("╺━┓", "  ┃", "  ╹"),
    "8": ("┏━┓", "┣━┫", "┗━┛"),
    "9": ("┏━┓", "┗━┫", "╺━┛"),
    ".": (" ", " ", "•"),
    ",": (" ", " ", "╹"),
    fmt.DASH: ("   ", "╺━╸", "   "),
}


@dataclass(frozen=True, slots=True)
class Ranked:
    """A line that is left out where there is no room: the highest rank goes first, rank 1 never."""

    rank: int
    content: Content


@dataclass(frozen=True, slots=True)
class Readings:
    """Everything that the panel shows."""

    info: EngineInfo | None = None
    loading: str = ""
    """The model that is being loaded; empty where none is."""
    metrics: AnswerMetrics | None = None
    """The figures of the answer that streams, or of the last one."""
    live_tps: float | None = None
    """Decode speed over the last second; None where nothing streams."""
    history: tuple[float, ...] = ()
    """Decode speeds in the order of time."""
    progress: PromptProgress | None = None
    context_used: int | None = None
    machine: MachineView = field(default_factory=MachineView)
    meters_key: str = ""
    """The key that shows what is wrong."""
    needs_reload: bool = False
    streaming: bool = False

    @property
    def decode_tps(self) -> float | None:
        """The speed to show: live while an answer streams, that of the whole answer after it."""
        if self.streaming:
            return self.live_tps
        return self.metrics.decode_tps if self.metrics else None

    @property
    def prompt_tokens(self) -> tuple[int | None, int | None]:
        """Cached and all tokens of the prompt."""
        if self.metrics is None:
            return None, None
        return self.metrics.cached_tokens, self.metrics.prompt_tokens


@lru_cache(maxsize=1024)
def styled(*parts: tuple[str, str]) -> Content:
    """Texts with their component classes, one after the other.

    The same parts give the same object, so that a line that stays as it is is neither made nor compared again.
    """
    spans: list[Span] = []
    length = 0
    for text, style in parts:
        if style and text:
            spans.append(Span(length, length + len(text), style))
        length += len(text)
    return Content("".join(text for text, _ in parts), spans)


def bar(fraction: float | None, width: int, style: str = "gauge--bar") -> Content:
    """A thin bar, exact to half a cell."""
    if fraction is None:
        return styled(("─" * width, "gauge--track"))
    halves = round(max(0.0, min(1.0, fraction)) * width * 2)
    full, half = divmod(halves, 2)
    text = "━" * full + ("╸" if half else "")
    return styled((text, style), ("─" * (width - len(text)), "gauge--track"))


def level(fraction: float | None) -> str:
    """The component class of a bar that is this full."""
    if fraction is None or fraction < WARN_AT:
        return "gauge--bar"
    return "gauge--critical" if fraction >= CRITICAL_AT else "gauge--warn"


def graph(values: Sequence[float], width: int, rows: int = GRAPH_ROWS) -> list[Content]:
    """The newest `width` values as columns, scaled to the highest of them."""
    shown = values[-width:]
    top = max(shown, default=0.0)
    steps = rows * 8
    heights = [max(1, round(value / top * steps)) if top > 0 else 1 for value in shown]
    lines: list[Content] = []
    for row in reversed(range(rows)):
        text = "".join(_BLOCKS[max(0, min(8, height - row * 8))] for height in heights)
        ground = " " if row else "▁"
        lines.append(styled((ground * (width - len(text)), "gauge--track"), (text, "gauge--graph")))
    return lines


def sparkline(values: Sequence[float | None], width: int) -> Content:
    """The newest `width` shares, 0 to 1, as columns of one row; a gap where one is not known."""
    shown = values[-width:]
    text = "".join(" " if value is None else _BLOCKS[max(1, min(8, round(value * 8)))] for value in shown)
    return styled(("▁" * (width - len(text)), "gauge--track"), (text, "gauge--graph"))


def digits(text: str) -> list[str]:
    """`text` in letters of three rows."""
    glyphs = [_DIGITS.get(character, ("   ",) * 3) for character in text]
    return ["".join(glyph[row] for glyph in glyphs) for row in range(3)]


def figure_row(label: str, value: str, width: int, note: str = "") -> Content:
    """A label on the left, its figure on the right."""
    room = max(1, width - len(label) - len(value) - len(note))
    return styled((label, "gauge--label"), (" " * room, ""), (value, "gauge--value"), (note, "gauge--label"))


def heading_row(title: str, width: int, right: str = "", style: str = "gauge--label") -> Content:
    """A heading on the left, and what goes with it on the right."""
    gap = max(1, width - cell_len(title) - cell_len(right))
    return styled((title, "gauge--heading"), (" " * gap, ""), (right, style))


def short_label(model: ModelEntry, room: int = SHORT_NAME) -> str:
    """Name and quantization in few columns; it is the quantization that people compare."""
    name, quant = clean_line(model.name), clean_line(model.quant or "")
    room -= len(quant) + 1 if quant else 0
    return f"{name if len(name) <= room else name[: max(0, room - 1)] + '…'} {quant}".rstrip()


def joined(parts: Sequence[tuple[tuple[str, str], ...]], width: int) -> Content:
    """Groups of styled texts with a bar between them, as many as there is room for."""
    shown: list[tuple[str, str]] = []
    length = 0
    for part in parts:
        size = sum(len(text) for text, _ in part)
        gap = 3 if shown else 0
        if length + gap + size > width:
            break
        if gap:
            shown.append((" │ ", "gauge--track"))
        shown += part
        length += gap + size
    return styled(*shown)
