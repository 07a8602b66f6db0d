"""The widget of the list of models: it shows a `ModelList` and rearranges it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.content import Content

from workbench.core.models import LibraryView, ModelEntry
from workbench.ui.models.model_list import ModelList
from workbench.ui.models.rows import header_row, list_row, listed_model
from workbench.ui.widgets.rows import Rows, without_keys

ARRANGEMENTS: Mapping[str, Callable[[ModelList], None]] = {
    "order": ModelList.next_order,
    "reverse": ModelList.reverse,
    "groups": ModelList.toggle_groups,
    "fold": lambda models: models.fold(folded=True),
    "unfold": lambda models: models.fold(folded=False),
    "all_folds": ModelList.toggle_all_folds,
    "source": ModelList.next_source,
}
"""The ways to rearrange the list with one key."""


class ModelBrowser(Rows, inherit_bindings=False):
    """The models in rows, with a cursor that stays on its model in every change.

    Args:
        current: Gives the model that is open in the chat.
        empty: Gives the lines in place of a list without rows, for a width.
    """

    # The space bar marks a model here.
    BINDINGS: ClassVar[list[BindingType]] = without_keys(Rows.BINDINGS, {"space"})

    def __init__(
        self, current: Callable[[], ModelEntry | None], empty: Callable[[ModelList, int], Sequence[Content]]
    ) -> None:
        super().__init__("models-list")
        self.models = ModelList()
        self._current = current
        self._empty = empty
        self._moved = False
        """Whether the user has moved the cursor or rearranged the list."""

    def show_models(self) -> None:
        """Show the list; the selected row stays at its height on the screen, if that is possible."""
        models = self.models
        rows = models.rows
        if not rows:
            lines = self._empty(models, self.room)
            self.show(len(lines), lambda index, _: lines[index])
            return
        current, grouped = self._current(), models.grouped
        self.show(
            len(rows),
            lambda index, width: list_row(listed_model(models, rows[index], current), width, grouped=grouped),
            header=header_row(models, self.room),
            choosable=True,
            cursor=models.cursor,
            hold=True,
            key=lambda index: (grouped, listed_model(models, rows[index], current)),
        )

    def update(self, view: LibraryView) -> bool:
        """Take over what a scan has found. Returns whether any row may have changed."""
        if not self.models.update(view):
            return False
        current = self._current()
        if not self._moved and not (current and self.models.select_first(current.is_same)):
            self.models.select_first(lambda _: True)
        return True

    def rearrange(self, change: Callable[[ModelList], object]) -> None:
        self._moved = True
        change(self.models)
        self.show_models()

    @on(Rows.Moved)
    def _select(self, event: Rows.Moved) -> None:
        self._moved = True
        self.models.select(event.index)
