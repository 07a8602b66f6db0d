"""What is being quantized, in one row above the keys of whatever screen the user is on."""

from __future__ import annotations

from typing import ClassVar

from textual.content import Content
from textual.message import Message

from workbench.gguf.quantization import QuantizeProgress
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.text import cut, styled
from workbench.ui.quantize.queue import Order, QuantizeQueue
from workbench.ui.widgets.lines import Lines


def duration(seconds: float | None) -> str:
    """A time as clocks show it."""
    if seconds is None:
        return fmt.DASH
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def speed_text(progress: QuantizeProgress | None) -> str:
    """How fast the source is worked through."""
    speed = progress.bytes_per_second if progress else None
    return f"{fmt.size(round(speed))}/s" if speed is not None else fmt.DASH


def order_label(order: Order, width: int) -> str:
    """The model and its quantization; of a long name the end of the model is left out, never the quantization."""
    kind = order.job.kind.name
    return f"{cut(order.model, max(6, width - len(kind) - 1))} {kind}"


def order_line(order: Order, key: str, waiting: int, width: int) -> Content:
    """An order in one row, with the key that shows more of it."""
    more = f" · {waiting} waiting" if waiting else ""
    end = f" {key} "
    if order.state == "running":
        return _running_line(order, end, more, width)
    room = width - len(more) - len(end)
    if order.state == "done" and order.result is not None:
        said = f" is made: {fmt.size(order.result.size_bytes)} in {duration(order.result.seconds)}{more}"
        name = order_label(order, min(40, room - len(said) + len(more) - 14))
        return styled(
            (" ✓ ", "job--done"), (name, "job--name"), (f"{said} ", ""), (f"{end}Enter", "job--key"), (" loads it", "")
        )
    name = order_label(order, min(40, room // 2))
    if order.state == "failed" and order.error is not None:
        said = f" failed: {cut(order.error.message, max(10, room - len(name) - 14))} "
        return styled((" ✗ ", "job--failed"), (name, "job--name"), (said, "job--failed"), (end, "job--key"))
    said = " waits" if order.state == "waiting" else " was stopped; nothing is left of it"
    return styled((" · ", ""), (name, "job--name"), (f"{said}{more} ", ""), (end, "job--key"))


def _running_line(order: Order, end: str, more: str, width: int) -> Content:
    progress = order.progress
    fraction = progress.fraction if progress else 0.0
    left = f"  {duration(progress.seconds_left if progress else None)} left"
    percent = f" {100 * fraction:3.0f} %"
    # What there is no room for goes, the least important first; the bar takes what is left.
    for details in (f"  {speed_text(progress)}{left}{more}", f"{left}{more}", left, ""):
        name = order_label(order, 36 if width >= 100 else 24)
        room = width - len(f" ▸ {name}  {percent}{details} {end}")
        if room >= 10:
            break
    line = styled((" ▸ ", "job--run"), (f"{name}  ", "job--name")) + bar(fraction, max(4, min(40, room)), "job--bar")
    return line + styled((percent, "job--name"), (f"{details} ", ""), (end, "job--key"))


class JobBar(Lines):
    """Shows the order in work, else the last one that ended.

    Args:
        queue: The orders.
        key: The key that shows all of them.
    """

    DEFAULT_CSS = """
    JobBar {
        height: 1;
        background: $surface;

        & > .job--name {
            text-style: bold;
        }

        & > .job--run, & > .job--bar {
            color: $figure;
        }

        & > .gauge--track {
            color: $gauge-track;
        }

        & > .job--done {
            color: $text-success;
        }

        & > .job--failed {
            color: $text-error;
        }

        & > .job--key {
            color: $text-accent;
            text-style: bold;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "job--name", "job--run", "job--bar", "job--done", "job--failed", "job--key", "gauge--track",
    }  # fmt: skip

    class Clicked(Message):
        """The user wants to see more."""

    def __init__(self, queue: QuantizeQueue, key: str) -> None:
        super().__init__(classes="job-bar")
        self._queue = queue
        self._key = key

    def on_mount(self) -> None:
        """Show what is."""
        self.call_after_refresh(self.look)

    def on_resize(self) -> None:
        """Use the room there is."""
        self.look()

    def look(self) -> None:
        """Show how far it has come."""
        order = self._queue.running or next(iter(reversed(self._queue.orders)), None)
        if order is not None and self.size.width:
            self.set_lines([order_line(order, self._key, self._queue.waiting, self.size.width)])

    def on_click(self) -> None:
        """A click shows all of them."""
        self.post_message(self.Clicked())
