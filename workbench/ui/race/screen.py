"""The race screen: one prompt to several models, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.getters import query_one
from textual.message import Message

from workbench.core.errors import WorkbenchError
from workbench.lab.race.lane import Lane
from workbench.lab.race.race import Race
from workbench.lab.race.report import FORMS, document_of, result_of
from workbench.lab.race.setup import RaceTerms
from workbench.ui.dialogs.choose import ScreenSetting, choose_settings
from workbench.ui.experiment.screen import ExperimentScreen, shared_key
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import styled
from workbench.ui.machine.lines import machine_line
from workbench.ui.prompt.prompt import Prompt
from workbench.ui.quantize.queue import QueuedQuantization
from workbench.ui.race.board import LaneBoard
from workbench.ui.race.lane import LaneScroll, LaneText, RaceLines
from workbench.ui.race.lane_actions import LaneActions
from workbench.ui.race.lines import EXPORTS, GREEDY, SOLO, state_text, summary_lines
from workbench.ui.race.offer import RaceOffer
from workbench.ui.services import Services
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.transient import SAY_SECONDS, TransientText
from workbench.ui.workspace.workspace import Workspace

PAINT_SECONDS = 0.05
"""The interval at which something is drawn while lanes write: one lane, or the table."""


class RaceScreen(ExperimentScreen):
    """Races models and shows their answers."""

    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#prompt"
    STOP = "race.stop"
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        shared_key("race.stop", "Stop all lanes; what was written stays."),
        key("race.add", "ctrl+o", "Add lane", "Add another model to the race."),
        shared_key("race.settings", "Greedy or sampled, side by side or in turn, and the settings of the chat."),
        key("race.run", "f9", "Run", "Ask all lanes; so does Enter.", show=False),
        shared_key("race.export", "Write the race as Markdown, JSON or CSV."),
        key("race.tie", "ctrl+t", "Tie", "Scroll all lanes together, or each alone.", show=False),
        key("race.answer_now", "ctrl+b", "Answer now", "End the thoughts of all lanes.", show=False),
        key("race.lanes", "tab", "Lanes", "Go to the next lane; after the last, to the prompt.", action="step(1)"),
        key("race.lanes_back", "shift+tab", "Back",
            "Go to the lane before; before the first, to the prompt.", action="step(-1)", show=False),
        key("race.earlier", "ctrl+r", "Earlier", "Open an earlier race.", show=False),
        key("race.new", "ctrl+n", "New race", "Start a new race; this one is kept."),
    ]
    # fmt: on

    table = query_one("#race-table", RaceLines)
    state = query_one("#race-state", RaceLines)
    prompt = query_one(Prompt)

    @dataclass
    class Continue(Message):
        """The user continues the conversation of a lane in the chat."""

        lane: Lane
        questions: list[str]

    def __init__(self, services: Services, workspace: Workspace, key_for: Callable[[str], str]) -> None:
        super().__init__("race", services, workspace, key_for)
        self._race_id = services.races.new_id()
        self._greedy = True
        self._solo = False
        self._board = LaneBoard(self._new_race())
        self._offer = RaceOffer(services.files, key_for("race.add"))
        self._actions = LaneActions(self, self._board, self._terms, self._show)
        self._said = TransientText(self, partial(self.call_after_refresh, self._paint))
        self._dirty = False

    def compose(self) -> ComposeResult:
        yield self._offer
        yield self._board
        yield RaceLines(widget_id="race-table")
        yield RaceLines(widget_id="race-state")
        yield Prompt()
        yield KeyBar()

    def on_mount(self) -> None:
        self.prompt.placeholder = "Ask all lanes…"
        self.prompt.tab = partial(self.action_step, 1)
        self._painter = self.set_interval(PAINT_SECONDS, self._paint_part, pause=True)
        self.prompt.enter = self._accept
        self.prompt.scrolled = lambda: [column.scroll for column in self._board.columns if column.display]

    def on_screen_resume(self) -> None:
        """Propose lanes where there are none: another model may be open now."""
        if not self._race.lanes and not self._offer.making:
            self._propose()

    @work(group="propose", exclusive=True, exit_on_error=False, description="propose lanes")
    async def _propose(self) -> None:
        await self._actions.propose(self._offer)
        self._ask_waiting()

    def _ask_waiting(self) -> None:
        """Ask the question that waits for lanes, where there is one."""
        if len(self._race.lanes) > 1 and (question := self._offer.take_question()):
            self._ask(question)

    def _new_race(self) -> Race:
        return Race(self.services.engines, self.services.adviser, (), on_event=self._take)

    @property
    def _race(self) -> Race:
        return self._board.race

    @property
    def running(self) -> bool:
        return self._race.running

    def _terms(self) -> RaceTerms:
        conversation = self.workspace.general
        return RaceTerms(
            conversation.load, conversation.sampling, conversation.system, self._greedy, conversation.origins
        )

    def _take(self, _lane: Lane, _event: object) -> None:
        if not self._dirty and self.is_mounted:
            self._dirty = True
            self._painter.resume()

    # Drawing

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._show)

    @on(LaneText.Placed)
    def _lane_placed(self) -> None:
        self.call_after_refresh(self._paint)

    def _show(self) -> None:
        if self._race.lanes:
            self._offer.close()
        self._board.display = bool(self._race.lanes)
        self._board.arrange_lanes()
        self.call_after_refresh(self._paint)

    def _paint_part(self) -> None:
        """Draw the next lane, or the table."""
        if not self._race.running:
            self._paint()
            return
        self._dirty = False
        with self.app.batch_update():
            if not self._board.paint_next():
                self._paint_table()

    def _paint(self) -> None:
        self._dirty = False
        with self.app.batch_update():
            self._board.paint()
            self._paint_table()
        if not self._race.running:
            self._painter.pause()

    def _paint_table(self) -> None:
        race = self._race
        width = max(20, self.table.size.width)
        self.table.set_lines(summary_lines(race, result_of(race), width) if race.lanes else [])
        self._paint_state()

    def on_machine_changed(self) -> None:
        self._paint_state()

    def _paint_state(self) -> None:
        state = self._state_line()
        room = self.state.size.width - state.cell_length - 3
        meters = machine_line(self.workspace.machine.view, room)
        gap = " " * (3 + room - meters.cell_length) if meters else ""
        self.state.set_lines([state + styled((gap, "")) + meters])

    def _state_line(self) -> Content:
        race = self._race
        if self._said.text:
            return self._said.text
        if self._offer.display:
            return Content("")
        if len(race.lanes) < 2:
            key = (self.key_for("race.add"), "lane--figure")
            return styled(("A race needs two models: ", "lane--value"), key, (" adds one.", "lane--value"))
        text = state_text(race, self._board.place, greedy=self._greedy, solo=self._solo)
        more = ["compared with lane 1 word by word"] if self._board.diff else []
        more += [] if self._board.tied else ["each lane scrolls alone"]
        return styled((" · ".join([text, *more]), "lane--dim"))

    def say(self, text: str, seconds: float = SAY_SECONDS, holds: Callable[[], bool] = lambda: True) -> None:
        self._said.say(styled((clean_line(text), "lane--value")), seconds, holds)

    def on_key(self, event: events.Key) -> None:
        self.prompt.take_key(event)

    # The race

    @on(Prompt.Submitted)
    def _submit(self, event: Prompt.Submitted) -> None:
        offer = self._offer
        if not offer.question and (offer.looking or (offer.offer is not None and not offer.offer.refusal)):
            offer.question = self.prompt.take(event.shown)
            self.say("Your question waits for the models.")
            offer.accept(self._take_made)
        elif len(self._race.lanes) < 2:
            self.say(f"A race needs two models: {self.key_for('race.add')} adds one. Your text stays.")
        elif self._race.running:
            self.say(f"The lanes are busy: {self.key_for('race.stop')} stops them.", holds=lambda: self.running)
        else:
            self._ask(self.prompt.take(event.shown))

    @work(group="race", exit_on_error=False, description="race")
    async def _ask(self, question: str) -> None:
        race, race_id = self._race, self._race_id
        race.solo = self._solo
        terms = self._terms()
        race.set_sampling(terms.lane_sampling, terms.lane_origins)
        await race.weigh()
        race.ask(question)
        self._painter.resume()
        await race.finished()
        self._show()
        try:
            await self.services.races.keep(race_id, document_of(race))
        except WorkbenchError as error:
            self.say(str(error), 8.0)

    def _accept(self) -> None:
        self._offer.accept(self._take_made)

    async def _take_made(self, made: Sequence[QueuedQuantization]) -> None:
        if await self._actions.begin_with(self._offer, made):
            self._ask_waiting()
        else:
            self._give_back()
            self._propose()

    def _give_back(self) -> None:
        if question := self._offer.take_question():
            self.prompt.put(f"{question}\n{self.prompt.text}".strip())

    def escape_label(self) -> str:
        if self.running or self._offer.making:
            return "Stop"
        return "" if self.prompt.has_focus else "Prompt"

    def action_stop(self) -> None:
        if self._offer.making:
            self.post_message(RaceOffer.Stopped())
        elif self._race.running:
            self._race.stop()
        else:
            self._give_back()
            self.prompt.focus()

    def action_step(self, step: int) -> None:
        if not self._board.step(step):
            self.prompt.focus()

    def action_answer_now(self) -> None:
        self._actions.end_thoughts()

    def action_add(self) -> None:
        self._actions.choose(before=[self._offer.alone] if self._offer.alone is not None else [])

    def action_settings(self) -> None:
        greedy = ScreenSetting(GREEDY, int(not self._greedy), lambda index: self._set(greedy=not index))
        solo = ScreenSetting(SOLO, int(self._solo), lambda index: self._set(solo=bool(index)))
        choose_settings(self, "Settings of the race", greedy, solo)

    def _set(self, *, greedy: bool | None = None, solo: bool | None = None) -> None:
        self._greedy = self._greedy if greedy is None else greedy
        self._solo = self._solo if solo is None else solo
        self._show()

    def action_run(self) -> None:
        if not self.prompt.full_text.strip() and not self._offer.display:
            self.say("Type a question first.")
        self.prompt.action_send()

    def action_tie(self) -> None:
        self._board.tied = not self._board.tied
        self._show()

    @work(group="race", exit_on_error=False, description="new race")
    async def action_new(self) -> None:
        await self._race.close()
        models = [lane.model for lane in self._race.lanes if lane.model is not None]
        await self._board.remove_children()
        self._board.race, self._race_id = self._new_race(), self.services.races.new_id()
        await self._actions.add(*models)
        self.prompt.focus()

    @work(group="earlier", exclusive=True, exit_on_error=False, description="read the kept races")
    async def action_earlier(self) -> None:
        from workbench.ui.race.earlier import open_earlier

        await open_earlier(self, self.services.races, self.say)

    def action_export(self) -> None:
        race = self._race
        if not race.questions:
            self.say("There is nothing to export yet.")
            return
        title = f"race {race.questions[-1]}"
        self.export("the race", EXPORTS, title, lambda form: FORMS[form](result_of(race)))

    @on(LaneScroll.Asked)
    def _lane_asked(self, event: LaneScroll.Asked) -> None:
        column = self._board.column_of(event.scroll)
        if event.what in ("right", "left"):
            self._board.step(1 if event.what == "right" else -1)
        elif event.what != "continue":
            self._actions.act(event.what, column)
        elif column.lane.running or not column.lane.answers:
            self.say("This lane has no answer to continue from yet.")
        else:
            self.post_message(self.Continue(column.lane, list(self._race.questions)))

    async def leave(self) -> None:
        await self._race.close()
