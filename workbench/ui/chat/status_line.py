"""The status line: what the program is doing, and how to stop it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.content import Content

from workbench.core.telemetry import Alarm
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, cut_line, styled, wrap
from workbench.ui.machine.lines import ALARM_SECONDS
from workbench.ui.widgets.lines import Lines
from workbench.ui.widgets.transient import SAY_SECONDS, TransientText
from workbench.ui.workspace.answer_run import AnswerRun
from workbench.ui.workspace.model_slot import Load
from workbench.ui.workspace.workspace import Workspace

BAR_WIDTH = 16
MOST_ROWS = 3
"""Rows of a long message."""
_VALUE, _LABEL = "gauge--value", "gauge--label"


class StatusLine(Lines):
    """One row below the transcript."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {_VALUE, _LABEL, "gauge--bar", "gauge--track", "gauge--warn"}

    def __init__(self, workspace: Workspace, key_for: Callable[[str], str]) -> None:
        super().__init__(widget_id="status")
        self._workspace = workspace
        self._key_for = key_for
        self._message = TransientText(self, self.show)
        self._alarm: Alarm | None = None
        self.idle: Callable[[], Content] = lambda: Content("")
        """The line while there is nothing else to say."""

    def show(self) -> None:
        """Show the current message, else the running work, else what needs attention."""
        width = self.content_size.width or self.app.size.width
        message = self._message.text
        # What is said is read to its end; the running work stays on one row.
        self.set_lines(wrap(message, width)[:MOST_ROWS] if message else [cut_line(self._line(), width)])

    def _line(self) -> Content:
        workspace = self._workspace
        if workspace.slot.load is not None:
            return self._loading_line(workspace.slot.load)
        if workspace.answering is not None:
            return self._answering_line(workspace.answering)
        if self._alarm is not None and not self._workspace.machine.view.holds(self._alarm):
            self._alarm = None
        if self._alarm is not None:
            return self._alarm_line(self._alarm)
        if workspace.needs_reload:
            key = self._key_for("chat.reload")
            return styled(("● ", "gauge--warn"), ("The settings need a reload: ", ""), (key, _VALUE))
        return self.idle()

    def say(self, text: str, seconds: float = SAY_SECONDS, refusal: Callable[[], str] | None = None) -> None:
        """Show a message for some seconds; one that begins with a `refusal`, only as long as that is given."""
        line = styled((clean_line(text), _VALUE))
        if refusal is None or not (why := refusal()):
            self._message.say(line, seconds)
        else:
            self._message.say(line, seconds, lambda: refusal() == why)

    def clear(self) -> None:
        """Drop the message, without drawing."""
        self._message.clear()

    def show_alarm(self, alarm: Alarm) -> None:
        """Show an alarm over everything else for some seconds; while it is active, it stays until dismissed."""
        machine = self._workspace.machine
        if alarm.severity != "info":
            self._alarm = alarm
        if machine.view.holds(alarm):
            self._message.say(self._alarm_line(alarm), ALARM_SECONDS, lambda: machine.view.holds(alarm))
        else:
            self._message.say(self._alarm_line(alarm), ALARM_SECONDS)

    @property
    def has_alarm(self) -> bool:
        return self._alarm is not None

    def dismiss_alarm(self) -> bool:
        """Dismiss the alarm that is shown. Returns whether there was one."""
        shown, self._alarm = self._alarm is not None, None
        if shown:
            self._message.clear()
            self.show()
        return shown

    def _alarm_line(self, alarm: Alarm) -> Content:
        """An alarm, the number of the others, and the keys that list and hide them."""
        others = self._workspace.machine.view.others(alarm)
        style = "gauge--label" if alarm.severity == "info" else "gauge--warn"
        count = ((f"+{others}", style), (" more: ", _LABEL)) if others else ()
        what = " lists them  " if others else " more  "
        keys = (self._key_for("app.meters"), _VALUE), (what, _LABEL), (self._key_for("chat.stop"), _VALUE)
        tail = styled(*count, *keys, (" hides it", _LABEL))
        # A long text is cut, the keys after it are not.
        room = max(20, self.size.width - tail.cell_length - 5)
        return styled(("▲ ", style), (cut(alarm.text, room), _VALUE), ("   ", "")) + tail

    def _stop_hint(self) -> Content:
        return styled(("   ", ""), (self._key_for("chat.stop"), _VALUE), (" stops", _LABEL))

    def _loading_line(self, load: Load) -> Content:
        label = clean_line(load.label)
        if load.cancel.is_set:
            return styled((f"Stopping the load of {label}…", _LABEL))
        waits = "  your message waits for it" if self._workspace.queued is not None else ""
        progress = bar(load.fraction, BAR_WIDTH) + styled((f" {load.fraction:4.0%}", _VALUE))
        return styled((f"Loading {label}  ", _VALUE)) + progress + self._stop_hint() + styled((waits, _LABEL))

    def _answering_line(self, run: AnswerRun) -> Content:
        if run.stopping:
            return styled(("Stopping…", _LABEL))
        answer, progress = run.answer, run.answer.progress
        if answer.phase == "prefill" and progress is not None:
            computed, todo = progress.done - progress.cached, progress.total - progress.cached
            share = computed / todo if todo > 0 else 1.0
            rate = computed * 1e9 / progress.lane_ns if computed > 0 and progress.lane_ns > 0 else None
            amount = f" {progress.done:,} of {progress.total:,} tokens"
            figures = styled((amount, _VALUE), (f"  {fmt.rate(rate)} tok/s", _LABEL))
            return styled(("Reading the prompt  ", _VALUE)) + bar(share, BAR_WIDTH) + figures + self._stop_hint()
        if answer.phase == "decode":
            text = f"{fmt.counted(answer.meter.tokens, 'token')}  {fmt.rate(answer.meter.live_tps())} tok/s"
            word = "Thinking  " if answer.is_thinking else "Writing  "
            now = ((f"  {self._key_for('chat.answer_now')}", _VALUE), (" answers now", _LABEL))
            return (
                styled((word, _VALUE), (text, _LABEL))
                + self._stop_hint()
                + styled(*now if run.can_end_thoughts else ())
            )
        return styled(("Waiting for the first token…", _VALUE)) + self._stop_hint()
