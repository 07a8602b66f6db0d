"""What the screen of registries shows, as lines and rows, without widgets."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content

from workbench.core.pulls import Offer, Offers, RepositoryHit
from workbench.core.units import duration_text, size_pair
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.table import Column, Table
from workbench.ui.kit.text import DONE, FAILED, RUNS, WAITS, cut, cut_line, paragraph, styled
from workbench.ui.pull.queue import QueuedPull

_MARKS = {"waiting": WAITS, "running": RUNS, "stopped": ("‖", "rows--warning"), "done": DONE, "failed": FAILED}
INTRODUCTION = (
    "Type the name of a model, and press Enter: Hugging Face is searched for GGUF files only then.",
    "Or type what to fetch: hf.co/USER/REPO or its address lists the quantizations, and whether each fits in memory;",
    "ollama:NAME:TAG is a model of Ollama's registry.",
)


def hits_table() -> Table[RepositoryHit]:
    """The repositories that a search found."""
    return Table(
        [
            Column("repository", lambda hit: clean_line(hit.repository)),
            Column("downloads", lambda hit: fmt.count(hit.downloads), 11, right=True, style="rows--figure"),
            Column("likes", lambda hit: fmt.count(hit.likes), 7, right=True, style="rows--dim"),
            Column("updated", lambda hit: clean_line(hit.updated) or fmt.DASH, 10, style="rows--dim"),
            Column("", lambda hit: "gated" if hit.gated else "", 5, style="rows--warning"),
        ],
        indent=1,
    )


def offers_table(state_of: Callable[[Offer], str]) -> Table[Offer]:
    """The quantizations of a repository; `state_of` says where one is in the queue, or is empty."""

    def now(offer: Offer) -> Content:
        if state := state_of(offer):
            return styled((state, "rows--accent"))
        if offer.is_here:
            return styled(("✓ is here", "rows--good"))
        return styled(("✓ fits", "rows--good") if offer.fits else ("✗ too large", "rows--error"))

    return Table(
        [
            Column("quantization", lambda offer: clean_line(offer.quant), style="rows--strong"),
            Column("bits", lambda offer: fmt.bits(offer.bits_per_weight), 5, right=True),
            Column("size", lambda offer: fmt.size(offer.size_bytes), 9, right=True, style="rows--figure"),
            Column("memory", _memory, 10, right=True),
            Column("now", now, 12),
            Column("context", _context, 9, right=True),
            Column("files", _files, 18, style="rows--dim", least=70),
        ],
        indent=1,
        least_flexible=12,
    )


def _memory(offer: Offer) -> str:
    return f"{'~' if offer.estimated else ''}{fmt.size(offer.needed_bytes)}"


def _context(offer: Offer) -> str:
    return fmt.DASH if offer.largest_ctx is None else fmt.count(offer.largest_ctx) if offer.largest_ctx else "none"


def _files(offer: Offer) -> str:
    parts = fmt.counted(len(offer.files), "part") if len(offer.files) > 1 else ""
    return " ".join(filter(None, (parts, "+ pictures" if offer.mmproj else "")))


def offer_lines(offer: Offer, found: Offers, width: int, *, with_mmproj: bool, key: str) -> list[Content]:
    """What is known about the selected quantization; `key` leaves the picture encoder out, or takes it."""
    size = offer.size_bytes + (offer.mmproj_bytes if with_mmproj else 0)
    what = offer.files[0] if len(offer.files) == 1 else f"{offer.files[0]} and {len(offer.files) - 1} more"
    lines = [styled((cut(clean_line(what), max(10, width - 12)), ""), (f"  {fmt.size(size)}", "rows--figure"))]
    how = "by its header" if not offer.estimated else f"~ by size{found.header_of and f', from {found.header_of}'}"
    if not offer.fits:
        text = (
            f"It needs {fmt.size(offer.needed_bytes)} ({how}), more than is free now; it can be fetched all the same."
        )
        lines += paragraph(clean_line(text), width, 0, "rows--warning")
    else:
        context = f", with a context of up to {offer.largest_ctx:,} tokens" if offer.largest_ctx else ""
        lines += paragraph(clean_line(f"It fits in the memory that is free now{context} ({how})."), width)
    if offer.mmproj:
        does = f"is fetched with it; {key} leaves it out" if with_mmproj else f"is left out; {key} takes it"
        text = f"The picture encoder {offer.mmproj} ({fmt.size(offer.mmproj_bytes)}) {does}."
        lines += paragraph(clean_line(text), width, 0, "rows--dim")
    return lines


def job_row(job: QueuedPull, width: int) -> Content:
    """A download in one row."""
    mark, style = _MARKS[job.state]
    state = job_state(job, wide=width >= 90)
    room = max(12, width - len(state) - 7)
    name = cut(clean_line(job.label), room)
    gap = " " * max(1, width - 4 - Content(name).cell_length - len(state) - 1)
    return styled((f" {mark} ", style), (name, "rows--strong"), (gap, ""), (state, style))


def job_state(job: QueuedPull, *, wide: bool) -> str:
    """How far a download is, in words."""
    progress = job.progress
    share = f"{100 * progress.fraction:.0f} %" if progress else ""
    if job.state == "running":
        if job.cancel.is_set:
            return "  ".join(filter(None, (share, "pauses")))
        if progress is None:
            return "asks the registry"
        rate = "" if progress.rate is None else f"{fmt.size(round(progress.rate))}/s"
        left = "" if progress.seconds_left is None else f"{duration_text(progress.seconds_left)} left"
        sizes = size_pair(progress.done_bytes, progress.total_bytes) if wide else ""
        return "  ".join(filter(None, (sizes, rate, left, share)))
    words = {"waiting": "waits", "stopped": "paused", "done": "ready", "failed": "failed"}[job.state]
    size = fmt.size(job.work.size_bytes) if job.work.size_bytes else ""
    return "  ".join(filter(None, (size, share if job.state != "done" else "", words)))


def bar_line(job: QueuedPull, waiting: int, key: str, width: int) -> Content:
    """The download that runs, else the last one, for the row above the keys."""
    mark, style = _MARKS[job.state]
    style = {"rows--good": "job--done", "rows--error": "job--failed"}.get(style, "job--run")
    more = f" · {waiting} waiting" if waiting else ""
    state = f"  {job_state(job, wide=False)}{more} "
    end = f" {key} "
    name = cut(clean_line(job.label), max(8, min(36, width - len(state) - len(end) - 16)))
    line = styled((f" {mark} ", style), (f"{name}  ", "job--name"))
    room = width - line.cell_length - len(state) - len(end)
    if job.state == "running" and job.progress is not None and room >= 10:
        line += bar(job.progress.fraction, min(40, room), "job--bar")
    return cut_line(line + styled((state, ""), (end, "job--key")), width)
