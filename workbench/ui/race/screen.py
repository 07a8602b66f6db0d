"""One prompt, several models, side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.getters import query_one
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, TextArea
from textual.worker import Worker, WorkerState

from workbench.core.errors import WorkbenchError
from workbench.core.models import ModelEntry
from workbench.core.parameters import with_values
from workbench.lab.race.race import MOST_LANES, Lane, LaneSpec, Race
from workbench.lab.race.report import FORMS, as_json, result_of
from workbench.ui.dialogs.export import Export, ExportDialog, free_path
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import styled
from workbench.ui.kit.transient import SAY_SECONDS, TransientText
from workbench.ui.machine.lines import machine_line
from workbench.ui.prompt.prompt import Prompt
from workbench.ui.race.lane import LaneColumn, LaneScroll, RaceLines
from workbench.ui.race.lines import summary_lines
from workbench.ui.race.setup import Terms, conversation_of, proposed, room_for_more
from workbench.ui.services import Services
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.workspace.workspace import Workspace

PAINT_SECONDS = 0.05
"""How often something is drawn while lanes write: one lane, or the table."""
EXPORTS = {
    ".md": "Markdown    a table and the answers, to read",
    ".json": "JSON        everything",
    ".csv": "CSV         the figures, a row for each lane",
}
"""How a race is written, by the suffix of the file."""
LEAST_LANE = 34
"""Columns that a lane needs; what has no room is beside the screen, and shown when it gets the focus."""


class RaceScreen(Screen[None]):
    """The lanes beside each other, the table under them, and the prompt.

    Args:
        services: What the program works with.
        desk: The conversation of the chat: its model and settings are what a race begins with.
        key_for: Tells the key that a binding has.
    """

    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#prompt"
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="race.stop", tooltip="Stop all lanes; what was written stays."),
        Binding("ctrl+o", "add", "Add lane", id="race.add", tooltip="Let another model into the race."),
        Binding("f6", "greedy", "Greedy", id="race.greedy",
                tooltip="The most likely token always, or sampled with the settings of the chat and one seed for all."),
        Binding("f9", "solo", "Solo", id="race.solo",
                tooltip="Let the lanes write one after the other, or side by side."),
        Binding("f7", "export", "Export", id="race.export", tooltip="Write the race as Markdown, JSON or CSV."),
        Binding("ctrl+t", "tie", "Tie", id="race.tie", show=False, tooltip="Scroll all lanes together, or each alone."),
        Binding("ctrl+n", "new", "New race", id="race.new", tooltip="Begin a new race; this one is kept."),
    ]
    # fmt: on

    lanes = query_one("#race-lanes", Horizontal)
    table = query_one("#race-table", RaceLines)
    state = query_one("#race-state", RaceLines)
    prompt = query_one(Prompt)

    class Continue(Message):
        """The user goes on in the chat with what was said in a lane.

        Args:
            lane: The lane.
            questions: What was asked.
        """

        def __init__(self, lane: Lane, questions: list[str]) -> None:
            super().__init__()
            self.lane = lane
            self.questions = questions

    def __init__(self, services: Services, desk: Workspace, key_for: Callable[[str], str]) -> None:
        super().__init__(id="race")
        self._services = services
        self._desk = desk
        self._key_for = key_for
        self._race = self._new_race()
        self._race_id = services.races.new_id()
        self._greedy = True
        self._solo = False
        self._tied = True
        self._diff = False
        self._first = 0
        """The index of the first lane that is on the screen."""
        self._said = TransientText(self, partial(self.call_after_refresh, self._paint))
        self._dirty = False
        self._part = 0
        """What was drawn last while lanes write: the place of a lane, or the number of lanes for the table."""

    def compose(self) -> ComposeResult:
        """Lanes, table, state, prompt and keys."""
        yield Horizontal(id="race-lanes")
        yield RaceLines(widget_id="race-table")
        yield RaceLines(widget_id="race-state")
        yield Prompt()
        yield KeyBar()

    def on_mount(self) -> None:
        """Propose the quantizations of the open model."""
        self.prompt.placeholder = "Ask all lanes…"
        self._painter = self.set_interval(PAINT_SECONDS, self._paint_part, pause=True)
        self._propose()

    def _new_race(self) -> Race:
        return Race(self._services.engines, self._services.adviser, (), on_event=self._take)

    @property
    def running(self) -> bool:
        """Whether any lane loads or writes."""
        return self._race.running

    @property
    def _terms(self) -> Terms:
        conversation = self._desk.conversation
        return Terms(conversation.load, conversation.sampling, conversation.system, self._greedy)

    @property
    def _columns(self) -> list[LaneColumn]:
        return list(self.query(LaneColumn))

    def _take(self, _lane: Lane, _event: object) -> None:
        if not self._dirty and self.is_mounted:
            self._dirty = True
            self._painter.resume()

    @work(group="lanes", exit_on_error=False, description="propose lanes")
    async def _propose(self) -> None:
        model = self._desk.model
        try:
            models = await self._services.catalog.models() if model is not None else ()
        except WorkbenchError as error:
            self.say(str(error))
            models = ()
        for entry in proposed(model, models):
            await self._add(entry)
        self._show()

    async def _add(self, entry: ModelEntry, instead: LaneColumn | None = None) -> None:
        """Let a model in; into the place of another lane, or at the end."""
        if instead is not None:
            await self._replace(instead, self._terms.spec(entry))
            return
        lane = await self._race.add(self._terms.spec(entry))
        await self.lanes.mount(LaneColumn(lane))
        self._show()

    async def _replace(self, column: LaneColumn, spec: LaneSpec) -> None:
        """Put another lane in the place of one."""
        had_focus = column.scroll.has_focus
        new = LaneColumn(await self._race.swap(column.lane, spec))
        await self.lanes.mount(new, after=column)
        await column.remove()
        if had_focus:
            new.scroll.focus()
        self._show()

    # What is shown

    def on_resize(self) -> None:
        """Show as many lanes as there is room for."""
        self.call_after_refresh(self._show)

    @on(LaneColumn.Placed)
    def _lane_placed(self) -> None:
        self.call_after_refresh(self._paint)

    def _show(self) -> None:
        """Draw everything."""
        columns = self._columns
        room = max(1, min(len(columns), self.size.width // LEAST_LANE))
        self._first = max(0, min(self._first, len(columns) - room))
        for index, column in enumerate(columns):
            column.display = self._first <= index < self._first + room
            column.set_class(index == self._first + room - 1, "-last")
        self.call_after_refresh(self._paint)

    def _paint_part(self) -> None:
        """Draw the next lane, or the table: a key never waits for all lanes."""
        if not self._race.running:
            self._paint()
            return
        self._dirty = False
        shown = [(index, column) for index, column in enumerate(self._columns) if column.display]
        self._part = (self._part + 1) % (len(shown) + 1)
        with self.app.batch_update():
            if self._part < len(shown):
                self._paint_lane(*shown[self._part])
            else:
                self._paint_table()

    def _paint(self) -> None:
        """Draw everything."""
        self._dirty = False
        with self.app.batch_update():
            for index, column in enumerate(self._columns):
                if column.display:
                    self._paint_lane(index, column)
            self._paint_table()
        if not self._race.running:
            self._painter.pause()

    def _paint_lane(self, index: int, column: LaneColumn) -> None:
        race, reference = self._race, self._race.reference
        answer = reference.answer if reference is not None else None
        against = None
        if self._diff and index and column.lane.question >= 0 and answer is not None:
            against = answer.message().content
        column.show(race.questions, race.divergence(column.lane), against, reference)

    def _paint_table(self) -> None:
        race = self._race
        width = max(20, self.table.size.width)
        self.table.set_lines(summary_lines(race, result_of(race), width) if race.lanes else [])
        self._paint_state()

    def on_machine_changed(self) -> None:
        """Show what the meters say now."""
        self._paint_state()

    def _paint_state(self) -> None:
        state = self._state_line()
        room = self.state.size.width - state.cell_length - 3
        meters = machine_line(self._desk.machine.view, room)
        gap = " " * (3 + room - meters.cell_length) if meters else ""
        self.state.set_lines([state + styled((gap, "")) + meters])

    def _state_line(self) -> Content:
        race = self._race
        if self._said.text:
            return self._said.text
        if len(race.lanes) < 2:
            add = self._key_for("race.add")
            return styled(
                ("A race needs two models: ", "lane--value"), (add, "lane--figure"), (" adds one.", "lane--value")
            )
        parts = ["greedy" if self._greedy else "sampled, one seed for all", "solo" if self._solo else "side by side"]
        if race.in_turn:
            parts.append("not all fit in memory: loaded and asked one after the other")
        hidden = sum(not column.display for column in self._columns)
        if hidden:
            parts.append(f"{hidden} more beside the screen (Tab)")
        if self._diff:
            parts.append("word by word against lane 1")
        if not self._tied:
            parts.append("scrolling not tied")
        return styled((" · ".join(parts), "lane--dim"))

    def say(self, text: str, seconds: float = SAY_SECONDS) -> None:
        """Say something for a moment."""
        self._said.say(styled((clean_line(text), "lane--value")), seconds)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Bring a lane that gets the focus onto the screen."""
        for index, column in enumerate(self._columns):
            if column.scroll is event.widget:
                shown = sum(each.display for each in self._columns)
                if index < self._first or index >= self._first + shown:
                    self._first = index if index < self._first else index - shown + 1
                    self._show()

    def on_key(self, event: events.Key) -> None:
        """Typing goes to the prompt, where a lane has no use for the key."""
        typing = isinstance(self.focused, Input | TextArea)
        if event.character and event.is_printable and not typing and event.key not in self.active_bindings:
            event.stop()
            self.prompt.focus()
            self.prompt.insert(event.character)

    @on(LaneScroll.Scrolled)
    def _scroll_all(self, event: LaneScroll.Scrolled) -> None:
        if not self._tied or not event.scroll.has_focus:
            return
        for column in self._columns:
            if column.scroll is not event.scroll and column.display:
                column.scroll.scroll_to(y=event.scroll.scroll_y, animate=False)

    # The race

    @on(Prompt.Submitted)
    def _submit(self, event: Prompt.Submitted) -> None:
        if len(self._race.lanes) < 2:
            self.say(f"A race needs two models: {self._key_for('race.add')} adds one. Your text stays here.")
        elif self._race.running:
            self.say(f"The lanes are busy: {self._key_for('race.stop')} stops them. Your text stays here.")
        else:
            self._ask(self.prompt.take(event.shown))

    @work(group="race", exit_on_error=False, description="race")
    async def _ask(self, question: str) -> None:
        race = self._race
        race.solo = self._solo
        for lane in race.lanes:
            if not lane.spec.own_sampling:
                lane.spec = replace(lane.spec, sampling=self._terms.lane_sampling)
        await race.weigh()
        race.ask(question)
        self._painter.resume()
        await race.finished()
        self._show()
        document = {"questions": list(race.questions), **as_json(result_of(race))}
        try:
            await self._services.races.keep(self._race_id, document)
        except WorkbenchError as error:
            self.say(str(error), 8.0)

    def action_stop(self) -> None:
        """Stop all lanes; where none runs, go back to the prompt."""
        if self._race.running:
            self._race.stop()
        else:
            self.prompt.focus()

    def action_add(self) -> None:
        """Choose another model."""
        if not room_for_more(self._race):
            self.say(f"A race has {MOST_LANES} lanes at most: throw one out first.")
            return
        self._pick(None)

    def _pick(self, instead: LaneColumn | None) -> None:
        from workbench.ui.dialogs.model_picker import ModelPicker

        services = self._services

        def chosen(model: ModelEntry | None) -> None:
            if model is not None:
                self.run_worker(self._add(model, instead), group="lanes", exit_on_error=False, description="add a lane")

        self.app.push_screen(
            ModelPicker(services.catalog, self._desk.model, services.no_model_hint, services.servers), chosen
        )

    def action_greedy(self) -> None:
        """Choose between greedy and sampled answers."""
        self._greedy = not self._greedy
        self._show()

    def action_solo(self) -> None:
        """Choose between one after the other and side by side."""
        self._solo = not self._solo
        self._show()

    def action_tie(self) -> None:
        """Choose between scrolling together and each alone."""
        self._tied = not self._tied
        self._show()

    @work(group="race", exit_on_error=False, description="new race")
    async def action_new(self) -> None:
        """Throw all questions away, and keep the lanes."""
        await self._race.close()
        entries = [lane.model for lane in self._race.lanes if lane.model is not None]
        await self.lanes.remove_children()
        self._race, self._race_id = self._new_race(), self._services.races.new_id()
        for entry in entries:
            await self._add(entry)
        self.prompt.focus()

    def action_export(self) -> None:
        """Write the race to a file."""
        if not self._race.questions:
            self.say("There is nothing to export yet.")
            return
        question = self._race.questions[-1]
        dialog = ExportDialog("the race", EXPORTS, self._services.export_folder, f"race {question}")
        self.app.push_screen(dialog, self._take_export)

    def _take_export(self, export: Export | None) -> None:
        if export is not None:
            self._export(export)

    @work(group="export", exit_on_error=False, description="export the race")
    async def _export(self, export: Export) -> None:
        text = FORMS[export.form](result_of(self._race))
        try:
            self.say(f"Written to {await self._services.races.write(export.path, text)}", 8.0)
        except WorkbenchError as error:
            self.say(str(error), 8.0)

    # One lane

    @on(LaneScroll.Asked)
    def _lane_asked(self, event: LaneScroll.Asked) -> None:
        column = next(column for column in self._columns if column.scroll is event.scroll)
        match event.what:
            case "stop":
                self._race.stop(column.lane)
            case "remove":
                self._remove(column)
            case "swap":
                self._pick(column)
            case "tune":
                self._tune(column)
            case "diff":
                self._diff = not self._diff
                self._show()
            case "next" | "previous":
                self._go_to_difference(column, 1 if event.what == "next" else -1)
            case "continue":
                self._continue(column.lane)
            case "export":
                self._export_lane(column.lane)

    @work(group="lanes", exit_on_error=False, description="remove a lane")
    async def _remove(self, column: LaneColumn) -> None:
        await self._race.remove(column.lane)
        await column.remove()
        self._show()

    def _tune(self, column: LaneColumn) -> None:
        """Give a lane settings of its own; it answers again what was asked."""
        from workbench.ui.dialogs.settings import Settings, SettingsDialog

        spec = column.lane.spec

        def chosen(settings: Settings | None) -> None:
            if settings is not None:
                sampling, load = with_values(spec.sampling, spec.load, settings.values)
                own = spec.own_sampling or sampling != spec.sampling
                tuned = replace(spec, system=settings.system, sampling=sampling, load=load, own_sampling=own)
                if tuned != spec:
                    work = self._replace(column, tuned)
                    self.run_worker(work, group="lanes", exit_on_error=False, description="change a lane")

        self.app.push_screen(SettingsDialog(spec.system, spec.sampling, spec.load), chosen)

    def _go_to_difference(self, column: LaneColumn, step: int) -> None:
        if self._race.reference is column.lane:
            self.say("This is the reference: the differences are in the other lanes.")
            return
        if not self._diff:
            self._diff = True
            self._paint()
        rows = column.text.differences
        here = round(column.scroll.scroll_y)
        further = [row for row in rows if (row > here if step > 0 else row < here)]
        if not further:
            self.say("There is no further difference." if rows else "The two texts are the same.")
            return
        column.scroll.release_anchor()
        column.scroll.scroll_to(y=further[0] if step > 0 else further[-1], animate=False)

    def _continue(self, lane: Lane) -> None:
        if lane.running or not lane.answers:
            self.say("This lane has no answer to go on from yet.")
        else:
            self.post_message(self.Continue(lane, list(self._race.questions)))

    @work(group="export", exit_on_error=False, description="export a lane")
    async def _export_lane(self, lane: Lane) -> None:
        conversation = conversation_of(lane, self._race.questions)
        session = conversation.session("", lane.info.model if lane.info else None)
        path = free_path(self._services.export_folder, f"{lane.label} {session.title}", ".modelfile")
        try:
            self.say(f"Written to {await self._services.sessions.export(session, 'modelfile', path)}", 8.0)
        except WorkbenchError as error:
            self.say(str(error), 8.0)

    async def leave(self) -> None:
        """Stop everything, and give the memory back."""
        await self._race.close()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Work that failed in a way that nobody foresaw is told, and does not end the program."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            error = event.worker.error
            self._services.logs.add("error", "race", f"{event.worker.description}: {error!r}")
            self.say(f"{event.worker.description} failed: {type(error).__name__}. The log has the details.", 8.0)
