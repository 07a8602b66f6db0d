"""A screen that shows what runs: the figures, the line of activity, and what went wrong."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import replace

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.getters import query_one
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, TextArea
from textual.worker import Worker, WorkerState

from workbench.core.errors import SessionError
from workbench.core.telemetry import Alarm
from workbench.ui.chat.stats_panel import Activity, Meters, Panel, Strip
from workbench.ui.chat.status_line import alarm_line, answering_line, loading_line
from workbench.ui.chat.welcome import Welcome
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import styled
from workbench.ui.kit.transient import SAY_SECONDS, Passing
from workbench.ui.prompt.completion import Suggestions
from workbench.ui.prompt.prompt import Prompt
from workbench.ui.services import Services
from workbench.ui.transcript.notice import Notice
from workbench.ui.transcript.transcript import Transcript
from workbench.ui.transcript.turns import UserTurn
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.workspace.pacing import Clocks
from workbench.ui.workspace.workspace import Desk

WIDE = 100
"""Columns from which there is room for the panel."""
ALARM_SECONDS = 8.0
"""How long an alarm is told over what runs."""
BUSY_SECONDS = 0.25
"""How often the figures are read while something runs."""
FIRST_KEYS = (
    ("prompt.send", "send"),
    ("prompt.newline", "new line"),
    ("chat.models", "choose a model; the conversation goes on with it"),
    ("chat.settings", "system prompt, sampling, context, threads"),
    ("chat.stop", "stop an answer or a load"),
    ("app.palette", "every action by its name"),
    ("app.help", "help, and all keys"),
)


class LiveScreen(Screen[None]):
    """The parts of the chat screen, and how they are kept up to date.

    Args:
        services: What the program works with.
        clocks: What the time is read from.
        key_for: Tells the key that a binding has.
    """

    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#prompt"

    transcript = query_one(Transcript)
    prompt = query_one(Prompt)
    panel = query_one(Panel)
    activity = query_one(Activity)
    suggestions = query_one(Suggestions)

    def __init__(self, services: Services, clocks: Clocks, key_for: Callable[[str], str]) -> None:
        super().__init__(id="chat")
        self._services = services
        self._key_for = key_for
        self._said = Passing(self, self._show_activity)
        self._alarm: Alarm | None = None
        self._looked_at = 0.0
        self._queued: tuple[str, UserTurn] | None = None
        self.desk = Desk(services, self._journal_failed, clocks)

    def compose(self) -> ComposeResult:
        """Transcript, activity and prompt; the panel; the log; the keys."""
        # No container holds these: each one would be drawn below all that it holds, with every paint.
        yield Panel("panel")
        yield Transcript()
        yield Activity(widget_id="activity")
        yield Suggestions(widget_id="suggestions")
        yield Prompt()
        yield KeyBar()

    def on_mount(self) -> None:
        """Read the figures often while something runs."""
        self._busy_timer = self.set_interval(BUSY_SECONDS, self._tick, pause=True)

    def on_machine_changed(self) -> None:
        """Show what the meters say now; while something runs, that is shown with the other figures."""
        if not self._busy:
            self._look()

    def on_resize(self, event: events.Resize) -> None:
        """The panel where there is room for it, else the strip."""
        wide = event.size.width >= WIDE
        if wide == self.panel.display:
            return
        self.panel.display = wide
        if wide:
            self.query(Strip).remove()
        else:
            self.mount(Strip("strip"), after=self.prompt)
        self.call_after_refresh(self._look)

    def action_log(self) -> None:
        """Show or hide the log."""
        from workbench.ui.chat.log_pane import LogPane

        if panes := self.query(LogPane):
            panes.remove()
        else:
            self.mount(LogPane(self._services.logs), before=self.query_one(KeyBar))

    def _welcome(self, hint: str = "") -> None:
        keys = [(self._key_for(name), text) for name, text in FIRST_KEYS]
        self.transcript.mount(Welcome(keys, hint))

    def _tick(self) -> None:
        """Look at the figures, unless that was done with the last paint of the answer."""
        if time.monotonic() - self._looked_at > BUSY_SECONDS * 1.5:
            self._look_now()

    def _look_if_due(self) -> None:
        """Look at the figures together with a paint of the answer: one drawing of the screen instead of two."""
        self.desk.sample_speed()
        if time.monotonic() - self._looked_at >= BUSY_SECONDS:
            self._look_now()

    def _look_now(self) -> None:
        self._looked_at = time.monotonic()
        self.desk.sample_speed()
        self._look()

    def _look(self) -> None:
        readings = replace(self.desk.readings(), meters_key=self._key_for("app.meters"))
        with self.app.batch_update():
            # A query would match its selector against every turn of the conversation.
            for meters in self.children:
                if isinstance(meters, Meters):
                    meters.show(readings)
            self._show_activity()

    def _show_activity(self) -> None:
        stop = self._key_for("chat.stop")
        if self._said.text:
            line = self._said.text
        elif self.desk.bay.load is not None:
            line = loading_line(self.desk.bay.load, stop, queued=self._queued is not None)
        elif self.desk.answering is not None:
            line = answering_line(self.desk.answering, stop)
        elif self._alarm is not None:
            line = self._alarm_line(self._alarm)
        elif self.desk.needs_reload:
            key = self._key_for("chat.reload")
            line = styled(("● ", "gauge--warn"), ("The settings need a reload: ", ""), (key, "gauge--value"))
        else:
            line = Content("")
        self.activity.say(line)

    def say(self, text: str, seconds: float = SAY_SECONDS) -> None:
        """Say something in the line of activity for a moment."""
        self._said.say(styled((clean_line(text), "gauge--value")), seconds)

    def tell_alarm(self, alarm: Alarm) -> None:
        """Tell of a trouble of the machine, over whatever is said now; what is wrong stays until put off."""
        if alarm.severity != "info":
            self._alarm = alarm
        elif self._alarm is not None and not self.desk.machine.view.holds(self._alarm):
            self._alarm = None
        self._said.say(self._alarm_line(alarm), ALARM_SECONDS)

    def _alarm_line(self, alarm: Alarm) -> Content:
        return alarm_line(
            alarm,
            self.desk.machine.view.others(alarm),
            self._key_for("app.meters"),
            self._key_for("chat.stop"),
            self.activity.size.width,
        )

    def put_off_alarm(self) -> bool:
        """Say no more of the alarm that is told; gives whether there was one."""
        told, self._alarm = self._alarm is not None, None
        if told:
            self._said.clear()
            self._show_activity()
        return told

    def _begin_work(self) -> None:
        """Something begins to run: what was said before it no longer matters."""
        self._said.clear()
        self._busy_timer.resume()

    @property
    def _busy(self) -> bool:
        return self.desk.answering is not None or self.desk.bay.loading

    def _set_busy(self) -> None:
        """Read the figures often while something runs, and as often as the meters are read while nothing does."""
        if self._busy:
            self._busy_timer.resume()
        else:
            self._busy_timer.pause()
        self._look()

    def _add(self, *widgets: Widget) -> None:
        for welcome in self.query(Welcome):
            welcome.remove()
        self.transcript.add(*widgets)

    def _journal_failed(self, error: SessionError) -> None:
        self._services.logs.add("error", "session", str(error))
        self._add(Notice(f"The session is not being stored: {error.message}", error.hint))

    def on_key(self, event: events.Key) -> None:
        """Typing always goes to the prompt, wherever the focus is."""
        typing = isinstance(self.focused, Input | TextArea)
        if event.character and event.is_printable and not typing and event.key not in self.active_bindings:
            event.stop()
            self.prompt.focus()
            self.prompt.insert(event.character)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Work that failed in a way that nobody foresaw is told, and does not end the program."""
        if event.state is WorkerState.ERROR and (error := event.worker.error) is not None:
            lines = traceback.format_exception(error)
            for line in "".join(lines).rstrip().split("\n"):
                self._services.logs.add("error", "screen", line)
            key = self._key_for("chat.log")
            what = f"{event.worker.description} failed: {type(error).__name__}."
            self._add(Notice(f"Something went wrong that should not have: {what}", f"{key} shows the details."))
