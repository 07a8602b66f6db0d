"""The conversation, one turn below the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.message import Message
from textual.widget import AwaitMount, Widget

from workbench.core.alternatives import ChoiceLog
from workbench.core.tree import Tree
from workbench.ui.keys import key
from workbench.ui.kit.text import styled
from workbench.ui.prompt.pastes import Folds, middle
from workbench.ui.transcript.answer import AnswerTurn
from workbench.ui.transcript.turns import TurnLines, UserTurn
from workbench.ui.widgets.lines import Lines, expect_growth

SHOWN_TURNS = 40
"""Turns of a resumed conversation that are shown at first."""


class Earlier(Lines, can_focus=True):
    """A row in place of the earlier turns that are not shown."""

    DEFAULT_CSS = """
    Earlier {
        margin: 1 0 0 0;
        padding: 0 2;

        & > .turn--note {
            color: $text-primary;
        }

        &:focus {
            background: $panel;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"turn--note"}
    BINDINGS: ClassVar[list[BindingType]] = [
        key("turn.earlier", "enter", "Show", "Show earlier turns of the conversation.", action="load"),
    ]

    FOCUS_ON_CLICK = False

    @dataclass
    class Wanted(Message):
        """Enter or a click asked for the earlier turns."""

        earlier: Earlier

    def __init__(self, count: int) -> None:
        super().__init__(classes="earlier")
        self._lines = [styled((f"↑ {count} earlier turns: click, or press Enter here", "turn--note"))]

    def on_click(self) -> None:
        self.action_load()

    def action_load(self) -> None:
        self.post_message(self.Wanted(self))


class Transcript(VerticalScroll, can_focus=False):
    """Scrolls to the end as long as the user has not scrolled away from it."""

    def __init__(self) -> None:
        super().__init__(id="transcript")
        self._older: list[Widget] = []
        self.folds: Folds = middle
        """Finds the folded parts of a message."""

    @property
    def _overflows(self) -> bool:
        """Whether there is more than fits, and it ends with what is new: a welcome is read from its beginning."""
        only_welcome = len(self.children) == 1 and self.children[0].id == "welcome"
        return self.virtual_size.height > self.size.height and not only_welcome

    def watch_virtual_size(self) -> None:
        """Stay at the end as soon as the content overflows; content that fits stands at the top."""
        if self._overflows != self.is_anchored:
            self.anchor(self._overflows)
            if not self._overflows:
                self.scroll_home(animate=False, immediate=True)

    def add(self, *widgets: Widget) -> AwaitMount:
        """Add widgets at the end, and scroll to them."""
        mounted = self.mount(*widgets)
        if self._overflows:
            self.anchor()
        return mounted

    def clear(self, topic: str) -> None:
        """Remove what was added on a topic since the last turn: what comes next stands in its place."""
        for widget in reversed(self.children):
            if isinstance(widget, TurnLines):
                break
            if widget.has_class(f"-{topic}"):
                widget.remove()

    def user_turn(self, text: str) -> UserTurn:
        return UserTurn(text, self.folds(text))

    def enter(self) -> bool:
        """Focus the last message, or the one above the focused one. Returns whether there is any."""
        turns = list(self.query(TurnLines))
        if not turns:
            return False
        focused = self.screen.focused
        turns[max(0, turns.index(focused) - 1) if focused in turns else -1].focus()
        return True

    def follow(self, following: bool) -> None:
        """Start or stop following a growing answer; its scroll bar would change with every row, and is hidden."""
        self.set_class(following, "-following")

    def make_room(self, rows: int) -> None:
        """Prepare the layout for the growth of the last turn."""
        if rows and self._overflows:
            expect_growth(self, rows)

    async def show_tree(
        self,
        tree: Tree,
        labels: Mapping[str, str],
        choices_of: Callable[[int], ChoiceLog | None] = lambda _: None,
        *,
        show_thoughts: bool,
    ) -> None:
        """Show another conversation: its last turns, and the earlier ones on demand."""
        places = tree.places()
        widgets: list[Widget] = []
        for node in tree.path():
            turn = node.turn
            widget: TurnLines
            if turn.message.role == "assistant":
                widget = AnswerTurn.of(turn, labels, show_thoughts=show_thoughts)
                if (log := choices_of(node.number)) is not None:
                    widget.shade(log)
            else:
                widget = self.user_turn(turn.message.content)
            widget.put(node.number, places[node.number])
            widgets.append(widget)
        self._older, shown = widgets[:-SHOWN_TURNS], widgets[-SHOWN_TURNS:]
        await self.remove_children()
        if self._older:
            await self.mount(Earlier(len(self._older)))
        await self.add(*shown)

    async def on_earlier_wanted(self, event: Earlier.Wanted) -> None:
        """Show more of the earlier turns without moving the visible ones."""
        event.stop()
        more, self._older = self._older[-SHOWN_TURNS:], self._older[:-SHOWN_TURNS]
        self.release_anchor()
        first = self.children[1] if len(self.children) > 1 else None
        await self.mount(*more, after=event.earlier)
        await event.earlier.remove()
        if self._older:
            await self.mount(Earlier(len(self._older)), before=0)
        if first is not None:
            self.scroll_to_widget(first, animate=False, top=True)

    def _turns(self) -> list[TurnLines]:
        return [child for child in self.children if isinstance(child, TurnLines)]

    def turn_of(self, number: int) -> TurnLines | None:
        """The turn of a message; None where it is not shown."""
        return next((child for child in self._turns() if child.number == number), None)

    async def keep_to(self, number: int) -> None:
        """Remove the turns after a message; all of them where the number is 0."""
        last = self.turn_of(number)
        if last is None:
            self._older = []
            await self.remove_children()
        else:
            await self.remove_children(self.children[self.children.index(last) + 1 :])

    def put_places(self, tree: Tree) -> None:
        """Update the message numbers and branches of the shown turns."""
        places = tree.places()
        for turn, node in zip(reversed(self._turns()), reversed(tree.path()), strict=False):
            turn.put(node.number, places[node.number])

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return container.width
