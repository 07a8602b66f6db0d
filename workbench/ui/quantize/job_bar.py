"""The row that shows the progress of the quantization that runs."""

from __future__ import annotations

from textual.content import Content

from workbench.core.units import duration_text
from workbench.gguf.quantization import QuantizeProgress
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.text import cut, styled
from workbench.ui.quantize.queue import QueuedQuantization


def speed_text(progress: QuantizeProgress | None) -> str:
    """How much of the source is read per second."""
    speed = progress.bytes_per_second if progress else None
    return f"{fmt.size(round(speed))}/s" if speed is not None else fmt.DASH


def job_label(queued: QueuedQuantization, width: int) -> str:
    """The model and its quantization; a long name is cut before the quantization."""
    kind = queued.work.kind.name
    return f"{cut(queued.label.removesuffix(f' {kind}'), max(6, width - len(kind) - 1))} {kind}"


def job_line(queued: QueuedQuantization, key: str, waiting: int, width: int) -> Content:
    """A job in one row, with the key that shows all jobs."""
    more = f" · {waiting} waiting" if waiting else ""
    end = f" {key} "
    if queued.state == "running":
        return _running_line(queued, end, more, width)
    room = width - len(more) - len(end)
    if queued.state == "done" and queued.result is not None:
        said = f" is ready: {fmt.size(queued.result.size_bytes)} in {duration_text(queued.result.seconds)}{more}"
        name = job_label(queued, min(40, room - len(said) + len(more) - 14))
        return styled(
            (" ✓ ", "job--done"), (name, "job--name"), (f"{said} ", ""), (f"{end}Enter", "job--key"), (" loads it", "")
        )
    name = job_label(queued, min(40, room // 2))
    if queued.state == "failed" and queued.error is not None:
        said = f" failed: {cut(queued.error.message, max(10, room - len(name) - 14))} "
        return styled((" ✗ ", "job--failed"), (name, "job--name"), (said, "job--failed"), (end, "job--key"))
    said = " waits" if queued.state == "waiting" else " was stopped and left no file behind"
    return styled((" · ", ""), (name, "job--name"), (f"{said}{more} ", ""), (end, "job--key"))


def _running_line(queued: QueuedQuantization, end: str, more: str, width: int) -> Content:
    progress = queued.progress
    fraction = progress.fraction if progress else 0.0
    left = f"  {duration_text(progress.seconds_left if progress else None)} left"
    percent = f" {100 * fraction:3.0f} %"
    # What there is no room for is left out, the least important first; the bar takes the rest.
    for details in (f"  {speed_text(progress)}{left}{more}", f"{left}{more}", left, ""):
        name = job_label(queued, 36 if width >= 100 else 24)
        room = width - len(f" ▸ {name}  {percent}{details} {end}")
        if room >= 10:
            break
    line = styled((" ▸ ", "job--run"), (f"{name}  ", "job--name")) + bar(fraction, max(4, min(40, room)), "job--bar")
    return line + styled((percent, "job--name"), (f"{details} ", ""), (end, "job--key"))
