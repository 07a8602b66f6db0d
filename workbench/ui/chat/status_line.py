"""What the program is doing, in one line."""

from __future__ import annotations

from textual.content import Content

from workbench.core.events import PromptProgress
from workbench.core.telemetry import Alarm
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, styled
from workbench.ui.workspace.answer_run import Answering
from workbench.ui.workspace.model_slot import Load

BAR_WIDTH = 16


def _hint(stop_key: str) -> Content:
    return styled(("   ", ""), (stop_key, "gauge--value"), (" stops", "gauge--label"))


def alarm_line(alarm: Alarm, others: int, list_key: str, stop_key: str, width: int) -> Content:
    """Something is wrong with the machine.

    Args:
        alarm: What is told.
        others: How many alarms hold besides.
        list_key: The key that lists all of them with what to do.
        stop_key: The key that hides the line.
        width: Columns.
    """
    style = "gauge--label" if alarm.severity == "info" else "gauge--warn"
    value, label = "gauge--value", "gauge--label"
    count = ((f"+{others}", style), (" more: ", label)) if others else ()
    what = " lists them  " if others else " more  "
    tail = styled(*count, (list_key, value), (what, label), (stop_key, value), (" hides it", label))
    # The keys that lead to the rest of a long text must not be cut off with it.
    room = max(20, width - tail.cell_length - 5)
    return styled(("▲ ", style), (cut(alarm.text, room), value), ("   ", "")) + tail


def loading_line(load: Load, stop_key: str, *, queued: bool) -> Content:
    """A model is being loaded."""
    if load.cancel.is_set:
        return styled((f"Stopping the load of {clean_line(load.label)}…", "gauge--label"))
    waits = styled(("  your message goes out when it is there", "gauge--label")) if queued else Content("")
    return Content("").join(
        [
            styled((f"Loading {clean_line(load.label)}  ", "gauge--value")),
            bar(load.fraction, BAR_WIDTH),
            styled((f" {load.fraction:4.0%}", "gauge--value")),
            _hint(stop_key),
            waits,
        ]
    )


def _prefill_rate(progress: PromptProgress) -> str:
    computed = progress.done - progress.cached
    return fmt.rate(computed * 1e9 / progress.lane_ns) if computed > 0 and progress.lane_ns > 0 else fmt.DASH


def answering_line(answering: Answering, stop_key: str) -> Content:
    """An answer is being made."""
    if answering.stopping:
        return styled(("Stopping…", "gauge--label"))
    progress = answering.answer.progress
    if answering.answer.phase == "prefill" and progress is not None:
        todo = progress.total - progress.cached
        share = (progress.done - progress.cached) / todo if todo > 0 else 1.0
        return Content("").join(
            [
                styled(("Reading the prompt  ", "gauge--value")),
                bar(share, BAR_WIDTH),
                styled(
                    (f" {progress.done:,} of {progress.total:,} tokens", "gauge--value"),
                    (f"  {_prefill_rate(progress)} tok/s", "gauge--label"),
                ),
                _hint(stop_key),
            ]
        )
    if answering.answer.phase == "decode":
        text = f"{answering.answer.meter.tokens:,} tokens  {fmt.rate(answering.answer.meter.live_tps())} tok/s"
        return styled(("Writing  ", "gauge--value"), (text, "gauge--label")) + _hint(stop_key)
    return styled(("Waiting for the first token…", "gauge--value")) + _hint(stop_key)
