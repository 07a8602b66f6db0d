"""The lanes of a race side by side, as many as fit, painted one after the other while they write."""

from __future__ import annotations

from textual import on
from textual.containers import Horizontal

from workbench.lab.race.race import Race
from workbench.ui.race.lane import LaneColumn, LaneScroll

LEAST_LANE = 34
"""Terminal columns that a lane needs. Lanes without room are off-screen until they are gone to."""


class LaneBoard(Horizontal):
    """Shows the lanes of a race."""

    def __init__(self, race: Race) -> None:
        super().__init__(id="race-lanes")
        self.race = race
        self.tied = True
        """Whether all lanes scroll together."""
        self.diff = False
        """Whether the texts are shown word by word against the reference."""
        self._first = 0
        """The index of the first lane on the screen."""
        self._next = 0
        """The index, among the lanes on the screen, of the one that is painted next."""

    @property
    def columns(self) -> list[LaneColumn]:
        return list(self.query(LaneColumn))

    @property
    def place(self) -> str:
        """Which lanes are on the screen, such as `← 2-3/3`; empty where all are."""
        shown = [index for index, column in enumerate(self.columns) if column.display]
        if not shown or len(shown) == len(self.columns):
            return ""
        first, last, count = shown[0] + 1, shown[-1] + 1, len(self.columns)
        lanes = f"{first}-{last}/{count}" if last > first else f"{first}/{count}"
        return f"{'← ' if first > 1 else ''}{lanes}{' →' if last < count else ''}"

    def column_of(self, scroll: LaneScroll) -> LaneColumn:
        return next(column for column in self.columns if column.scroll is scroll)

    @property
    def _entered(self) -> int | None:
        """The index of the lane that has the focus; None where none has."""
        focused = self.screen.focused
        return next((index for index, column in enumerate(self.columns) if column.scroll is focused), None)

    def arrange_lanes(self) -> None:
        """Show as many lanes as fit, the one that has the focus among them."""
        columns, entered = self.columns, self._entered
        room = max(1, min(len(columns), self.screen.size.width // LEAST_LANE))
        if entered is not None:
            self._first = max(entered - room + 1, min(self._first, entered))
        self._first = max(0, min(self._first, len(columns) - room))
        for index, column in enumerate(columns):
            column.display = self._first <= index < self._first + room
            column.set_class(index == self._first + room - 1, "-last")

    def step(self, step: int) -> bool:
        """Go to the next lane or the one before, wherever it is; from the prompt, to the first or the last one.

        Returns whether there is one.
        """
        columns, entered = self.columns, self._entered
        index = (0 if step > 0 else len(columns) - 1) if entered is None else entered + step
        if not 0 <= index < len(columns):
            return False
        # A lane that is not displayed cannot take the focus.
        columns[index].display = True
        self.screen.set_focus(columns[index].scroll)
        return True

    def paint(self) -> None:
        """Paint all lanes on the screen."""
        for index, column in enumerate(self.columns):
            if column.display:
                self._paint_lane(index, column)

    def paint_next(self) -> bool:
        """Paint one lane, so that a key never waits for all; returns whether one was left in this round."""
        shown = [(index, column) for index, column in enumerate(self.columns) if column.display]
        self._next = (self._next + 1) % (len(shown) + 1)
        if self._next == len(shown):
            return False
        self._paint_lane(*shown[self._next])
        return True

    def _paint_lane(self, index: int, column: LaneColumn) -> None:
        race, reference = self.race, self.race.reference
        answer = reference.answer if reference is not None else None
        against = None
        if self.diff and index and column.lane.question >= 0 and answer is not None:
            against = answer.message().content
        column.show(race.questions, race.divergence(column.lane), against, reference)

    def on_descendant_focus(self) -> None:
        self.arrange_lanes()
        self.call_after_refresh(self.paint)

    @on(LaneScroll.Scrolled)
    def _scroll_all(self, event: LaneScroll.Scrolled) -> None:
        if not self.tied or not event.scroll.has_focus:
            return
        for column in self.columns:
            if column.scroll is not event.scroll and column.display:
                column.scroll.scroll_to(y=event.scroll.scroll_y, animate=False)
