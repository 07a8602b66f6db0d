"""The parts of the chat screen, and how they are kept up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from textual.app import App
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import Worker, WorkerCancelled, WorkerFailed

from workbench.core.errors import WorkbenchError
from workbench.ui.chat.stats_panel import StatsView, panel_lines, strip_lines
from workbench.ui.chat.status_line import StatusLine
from workbench.ui.chat.welcome import Welcome, ways_to_a_model
from workbench.ui.prompt.completion import Suggestions
from workbench.ui.prompt.prompt import Prompt
from workbench.ui.services import Services
from workbench.ui.transcript.answer import AnswerTurn
from workbench.ui.transcript.notice import Notice
from workbench.ui.transcript.swap_card import SwapCard
from workbench.ui.transcript.transcript import Transcript
from workbench.ui.transcript.turns import TurnLines, UserTurn
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.workspace.choice_logs import ChoiceLogs
from workbench.ui.workspace.workspace import Workspace

Result = TypeVar("Result")

WIDE, WIDEST = 100, 170
"""Columns from which there is room for the panel, and for one of twice the width."""
BUSY_SECONDS = 0.25
"""How often the figures are read while something runs."""
FIRST_KEYS = (
    ("prompt.send", "send"),
    ("prompt.newline", "new line"),
    ("chat.models", "choose a model; the conversation continues with it"),
    ("app.settings", "system prompt, sampling, context, threads"),
    ("chat.messages", "enter a message: ask again, edit, copy, undo"),
    ("chat.stop", "stop an answer or a load"),
    ("app.palette", "every action by its name"),
    ("app.help", "help, and all keys"),
)


class ChatView:
    """The widgets of the chat screen, which show the workspace; `screen` holds them and runs the workers."""

    def __init__(
        self, screen: Screen[None], services: Services, workspace: Workspace, key_for: Callable[[str], str]
    ) -> None:
        self._screen = screen
        self.services = services
        self.workspace = workspace
        self._looked_ns = 0
        self._swap_card: SwapCard | None = None
        self._queued: UserTurn | None = None
        self.key_for = key_for
        self.panel = StatsView("panel", lambda figures, size: panel_lines(figures, size.width, size.height))
        self.strip = StatsView("strip", lambda figures, size: strip_lines(figures, size.width))
        self.strip.display = False
        self.transcript = Transcript()
        self.status = StatusLine(workspace, key_for)
        self.suggestions = Suggestions(widget_id="suggestions")
        self.prompt = Prompt()
        self.transcript.folds = self.prompt.pastes.folds
        self.prompt.scrolled = lambda: (self.transcript,)
        self.show_thoughts = True
        """Whether the thoughts of models are open."""
        self.labels: dict[str, str] = {}
        """The labels of models, by their references."""
        self.choices = ChoiceLogs(lambda: workspace.conversation)

    def compose(self) -> Iterator[Widget]:
        # No container holds these: each one would be drawn below all that it holds, with every paint.
        yield from (self.panel, self.transcript, self.status, self.suggestions, self.prompt, self.strip, KeyBar())

    def run(
        self, work: Coroutine[Any, Any, Result], group: str, description: str, *, exclusive: bool = False
    ) -> Worker[Result]:
        return self._screen.run_worker(
            work, group=group, description=description, exclusive=exclusive, exit_on_error=False
        )

    async def stop(self, worker: Worker[None] | None, seconds: float | None = None) -> None:
        """Stop the answer or the load of `worker`, and wait for its end, but not longer than `seconds`."""
        if worker is not None and not worker.is_finished:
            self.workspace.stop()
            with suppress(WorkerFailed, WorkerCancelled, TimeoutError):
                await asyncio.wait_for(worker.wait(), seconds)

    @property
    def app(self) -> App[object]:
        return self._screen.app

    def start(self) -> None:
        self._busy_timer = self._screen.set_interval(BUSY_SECONDS, self._tick, pause=True)

    # The layout

    def fit_width(self, columns: int) -> None:
        """Show the panel where there is room for it, else the strip."""
        self.panel.set_class(columns >= WIDEST, "-wide")
        wide = columns >= WIDE
        if wide != self.panel.display:
            self.panel.display, self.strip.display = wide, not wide
            self._screen.call_after_refresh(self.look)

    async def add_above_status(self, widget: Widget) -> None:
        await self._screen.mount(widget, before=self.status)

    # The figures

    @property
    def busy(self) -> bool:
        return self.workspace.answering is not None or self.workspace.slot.loading

    def begin_work(self) -> None:
        """Read the figures often from now on; an earlier message and a replay no longer matter."""
        self.stop_replay()
        self.status.clear()
        self._busy_timer.resume()

    def end_work(self) -> None:
        """Read the figures only when the meters change, unless something else still runs."""
        if self.busy:
            self._busy_timer.resume()
        else:
            self._busy_timer.pause()
        self.look()

    def _tick(self) -> None:
        # The last paint of an answer may have shown the figures already.
        if self._unread_seconds() > BUSY_SECONDS * 1.5:
            self.look()

    def look_if_due(self) -> None:
        """Show the figures together with a paint of the answer: one drawing of the screen instead of two."""
        self.workspace.sample_speed()
        if self._unread_seconds() >= BUSY_SECONDS:
            self.look()

    def _unread_seconds(self) -> float:
        """Seconds since the figures were read, on the engine's clock: the graph shows when they were."""
        return (self.workspace.clocks.now_ns() - self._looked_ns) / 1e9

    def look(self) -> None:
        """Show the current figures and the status line."""
        self._looked_ns = self.workspace.clocks.now_ns()
        self.workspace.sample_speed()
        readings = replace(self.workspace.readings(), meters_key=self.key_for("app.meters"))
        self.panel.show(readings)
        self.strip.show(readings)
        self.status.show()

    # The transcript

    def welcome(self, hint: str = "", *, without_model: bool = False) -> None:
        """Show the first keys in an empty conversation; `without_model`, the ways to one too."""
        keys = [(self.key_for(name), text) for name, text in FIRST_KEYS[-2 if without_model else 0 :]]
        welcome = next(iter(self.transcript.query(Welcome)), None)
        if welcome is None and self.transcript.children:
            return
        welcome = welcome or Welcome()
        welcome.show(keys, hint, ways_to_a_model((), self.key_for) if without_model else ())
        if not welcome.is_attached:
            self.transcript.mount(welcome)
        if without_model:
            self.run(self._find_ways(welcome), "ways", "look for models")

    async def _find_ways(self, welcome: Welcome) -> None:
        with suppress(WorkbenchError):
            welcome.show_ways(ways_to_a_model(await self.services.catalog.models(), self.key_for))

    def add(self, widget: Widget, topic: str = "") -> None:
        """Add to the end of the transcript; with a `topic`, `Transcript.clear` removes it again."""
        self._screen.query(Welcome).remove()
        widget.set_class(bool(topic), f"-{topic}")
        self.transcript.add(widget)

    def add_error(self, error: WorkbenchError, source: str = "") -> None:
        """Add the notice of an error; log it too, where a source is named, which is its topic."""
        if source:
            self.services.logs.add("error", source, str(error))
        self.add(Notice.of(error), source)

    def add_queued(self) -> None:
        """Add the message that waits for the model, if there is one."""
        if (text := self.workspace.queued) is not None:
            self._queued = self.transcript.user_turn(text)
            self.add(self._queued)

    def remove_queued(self) -> None:
        if self._queued is not None:
            self._queued.remove()

    def add_swap(self) -> None:
        """Add the card of the last swap, if there was one; the next answer completes it."""
        swap = self.workspace.swaps.swap
        self._swap_card = None if swap is None else SwapCard(swap)
        if self._swap_card is not None:
            self.add(self._swap_card, "load")

    def update_swap(self) -> None:
        if self._swap_card is not None and (swap := self.workspace.swaps.swap) is not None:
            self._swap_card.show(swap)

    @property
    def focused_turn(self) -> TurnLines | None:
        focused = self._screen.focused
        return focused if isinstance(focused, TurnLines) else None

    def think(self, shown: bool) -> None:
        self.show_thoughts = shown
        for turn in self.transcript.query(AnswerTurn):
            turn.show_thoughts(shown)
        self.status.say("Thinking is shown." if shown else "Thinking is folded.")

    @property
    def replaying(self) -> bool:
        return any(each.group == "replay" and not each.is_finished for each in self._screen.workers)

    def stop_replay(self) -> bool:
        """Stop the replay of an answer. Returns whether one ran."""
        running = self.replaying
        self._screen.workers.cancel_group(self._screen, "replay")
        return running

    async def show_conversation(self) -> None:
        self.stop_replay()
        tree = self.workspace.conversation.tree
        await self.transcript.show_tree(tree, self.labels, self.choices.of, show_thoughts=self.show_thoughts)
        self.add_queued()

    async def redraw(self, focus: int = 0) -> None:
        """Show the conversation and the figures again, and focus the message `focus`; 0 for none."""
        await self.show_conversation()
        if not self.workspace.conversation.tree.leaf:
            self.welcome()
        self.look()
        if (turn := self.transcript.turn_of(focus)) is not None:
            turn.focus()
        elif self.focused_turn is None:
            self.prompt.focus()
