"""A text area in which a long paste is a chip: drawn, stepped over and deleted as one character."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.events import Click, Paste
from textual.geometry import Offset
from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult, Location, Selection

from workbench.core.prompt_text import Range
from workbench.ui.kit.graphemes import visible_character
from workbench.ui.kit.sanitize import clean
from workbench.ui.prompt.pastes import Pastes, is_long

OPEN_LIMIT = 100_000
"""Characters up to which a paste can be opened: the text area lays out all of its text with every key."""


class ChipArea(TextArea):
    """Keeps long pastes beside the text, which is wrapped and measured again with every key."""

    DEFAULT_CSS = """
    ChipArea > .area--chip {
        background: $panel;
        color: $text-accent;
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"area--chip"}

    pastes: Pastes
    """What the chips stand for."""

    @property
    def full_text(self) -> str:
        """The text with every paste in full."""
        return self.pastes.expand(self.text)

    @property
    def selected_text(self) -> str:
        return self.pastes.expand(super().selected_text)

    def scroll_cursor_visible(self, center: bool = False, animate: bool = False) -> Offset:
        # While it undoes an edit, Textual calls this before it moves the cursor, and fails if that is below the end.
        if self.cursor_location[0] >= self.document.line_count:
            return Offset()
        return super().scroll_cursor_visible(center, animate)

    def on_resize(self) -> None:
        self.call_after_refresh(self.scroll_cursor_visible)

    # Taking pastes

    def on_paste(self, event: Paste) -> None:
        """Insert a paste without its control characters, and folded where it is long."""
        event.stop()
        event.prevent_default()
        self._insert_paste(event.text)

    def action_paste(self) -> None:
        self._insert_paste(self.app.clipboard)

    def _insert_paste(self, text: str) -> None:
        text = clean(text)
        folded = self.pastes.fold(text) if is_long(text) else text
        self.replace(folded, *self.selection, maintain_selection_offset=False)

    def action_cut(self) -> None:
        """Cut the selection, with every paste in full; without one, the line."""
        before = self.text
        super().action_cut()
        if self.text != before and self.pastes.chips(cut := self.app.clipboard):
            self.app.copy_to_clipboard(self.pastes.expand(cut))

    # Unfolding

    def action_open_paste(self) -> None:
        row, column = self.cursor_location
        touching = [(row, chip) for chip in self._chips(row) if chip[0] <= column <= chip[1]]
        rows = range(self.document.line_count)
        if chips := touching or [(other, chip) for other in rows for chip in self._chips(other)]:
            self._open(*chips[-1])
        else:
            self.notify("There is no folded paste in the text.", timeout=3)

    def on_click(self, event: Click) -> None:
        row, column = self.get_target_document_location(event)
        for chip in self._chips(row):
            if chip[0] <= column < chip[1] and self.selection.is_empty:
                self._open(row, chip)
                return

    def _open(self, row: int, chip: Range) -> None:
        start, end = (row, chip[0]), (row, chip[1])
        text = self.pastes.expand(self.get_text_range(start, end))
        if len(text) > OPEN_LIMIT:
            limit = f"The paste has {len(text):,} characters; at most {OPEN_LIMIT:,} can be unfolded here."
            self.notify(f"{limit} All of it is sent.", severity="warning", timeout=6)
            return
        self.history.checkpoint()
        self.replace(text, start, end, maintain_selection_offset=False)
        self.history.checkpoint()

    # Visible characters and chips, as single characters

    def _chips(self, row: int) -> list[Range]:
        return self.pastes.chips(self.document.get_line(row)) if row < self.document.line_count else []

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        for start, end in self._chips(line_index):
            line.stylize(self.get_component_rich_style("area--chip"), start, end)
        return line

    def edit(self, edit: Edit) -> EditResult:
        """Carry out an edit, widened so that no part of a visible character or of a chip is left."""
        top, bottom = sorted((edit.from_location, edit.to_location))
        if top == bottom:
            top = bottom = self._beside(top)
        else:
            top, bottom = self._beside(top, before=True), self._beside(bottom, before=False)
        return super().edit(Edit(edit.text, top, bottom, edit.maintain_selection_offset))

    def validate_selection(self, selection: Selection) -> Selection:
        """Keep the cursor out of visible characters and chips; it moves on in its direction."""
        row, column = selection.end
        was_row, was_column = self.selection.end
        before = None if was_row != row or was_column == column else was_column > column
        end = self._beside(selection.end, before=before)
        start = end if selection.is_empty else self._beside(selection.start, before=selection.start < selection.end)
        return Selection(start, end)

    def _beside(self, location: Location, *, before: bool | None = None) -> Location:
        """The place before or after the visible character or the chip around `location`.

        The nearer one where `before` is None.
        """
        row, column = location
        line = self.document.get_line(row) if row < self.document.line_count else ""
        for start, end in (visible_character(line, column), *self._chips(row)):
            if start < column < end:
                nearer = column - start <= end - column
                column = start if (nearer if before is None else before) else end
        return row, column
