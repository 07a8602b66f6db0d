"""The status line: what the program is doing, and how to stop it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.content import Content

from workbench.core.events import PromptProgress
from workbench.core.telemetry import Alarm
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, styled
from workbench.ui.kit.transient import SAY_SECONDS, TransientText
from workbench.ui.machine.lines import ALARM_SECONDS
from workbench.ui.widgets.lines import Lines
from workbench.ui.workspace.answer_run import AnswerRun
from workbench.ui.workspace.model_slot import Load
from workbench.ui.workspace.workspace import Workspace

BAR_WIDTH = 16


class StatusLine(Lines):
    """One row below the transcript.

    Args:
        workspace: The state to show.
        key_for: Returns the key of a binding id.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "gauge--value", "gauge--label", "gauge--bar", "gauge--track", "gauge--warn",
    }  # fmt: skip

    def __init__(self, workspace: Workspace, key_for: Callable[[str], str]) -> None:
        super().__init__(widget_id="status")
        self._workspace = workspace
        self._key_for = key_for
        self._message = TransientText(self, self.show)
        self._alarm: Alarm | None = None

    def show(self) -> None:
        """Show the current message, else the running work, else what needs attention."""
        self.set_lines([self._line()])

    def _line(self) -> Content:
        workspace, stop = self._workspace, self._key_for("chat.stop")
        if self._message.text:
            return self._message.text
        if workspace.slot.load is not None:
            return loading_line(workspace.slot.load, stop, queued=workspace.queued is not None)
        if workspace.answering is not None:
            return answering_line(workspace.answering, stop)
        if self._alarm is not None:
            return self._alarm_line(self._alarm)
        if workspace.needs_reload:
            key = self._key_for("chat.reload")
            return styled(("● ", "gauge--warn"), ("The settings need a reload: ", ""), (key, "gauge--value"))
        return Content("")

    def say(self, text: str, seconds: float = SAY_SECONDS) -> None:
        """Show a message for some seconds."""
        self._message.say(styled((clean_line(text), "gauge--value")), seconds)

    def clear(self) -> None:
        """Drop the message, without drawing."""
        self._message.clear()

    def show_alarm(self, alarm: Alarm) -> None:
        """Show an alarm over everything else for some seconds; while it is active, it stays until dismissed."""
        if alarm.severity != "info":
            self._alarm = alarm
        elif self._alarm is not None and not self._workspace.machine.view.holds(self._alarm):
            self._alarm = None
        self._message.say(self._alarm_line(alarm), ALARM_SECONDS)

    def dismiss_alarm(self) -> bool:
        """Dismiss the alarm that is shown. Returns whether there was one."""
        shown, self._alarm = self._alarm is not None, None
        if shown:
            self._message.clear()
            self.show()
        return shown

    def _alarm_line(self, alarm: Alarm) -> Content:
        others = self._workspace.machine.view.others(alarm)
        return alarm_line(alarm, others, self._key_for("app.meters"), self._key_for("chat.stop"), self.size.width)


def _hint(stop_key: str) -> Content:
    return styled(("   ", ""), (stop_key, "gauge--value"), (" stops", "gauge--label"))


def alarm_line(alarm: Alarm, others: int, list_key: str, stop_key: str, width: int) -> Content:
    """An alarm of the machine.

    Args:
        alarm: The alarm.
        others: How many other alarms are active.
        list_key: The key that lists all of them with their remedies.
        stop_key: The key that hides the line.
        width: Columns.
    """
    style = "gauge--label" if alarm.severity == "info" else "gauge--warn"
    value, label = "gauge--value", "gauge--label"
    count = ((f"+{others}", style), (" more: ", label)) if others else ()
    what = " lists them  " if others else " more  "
    tail = styled(*count, (list_key, value), (what, label), (stop_key, value), (" hides it", label))
    # A long text is cut, the keys after it are not.
    room = max(20, width - tail.cell_length - 5)
    return styled(("▲ ", style), (cut(alarm.text, room), value), ("   ", "")) + tail


def loading_line(load: Load, stop_key: str, *, queued: bool) -> Content:
    """A model is being loaded."""
    if load.cancel.is_set:
        return styled((f"Stopping the load of {clean_line(load.label)}…", "gauge--label"))
    waits = styled(("  your message goes out when it is ready", "gauge--label")) if queued else Content("")
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


def answering_line(run: AnswerRun, stop_key: str) -> Content:
    """An answer is being generated."""
    if run.stopping:
        return styled(("Stopping…", "gauge--label"))
    answer, progress = run.answer, run.answer.progress
    if answer.phase == "prefill" and progress is not None:
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
    if answer.phase == "decode":
        text = f"{answer.meter.tokens:,} tokens  {fmt.rate(answer.meter.live_tps())} tok/s"
        return styled(("Writing  ", "gauge--value"), (text, "gauge--label")) + _hint(stop_key)
    return styled(("Waiting for the first token…", "gauge--value")) + _hint(stop_key)
