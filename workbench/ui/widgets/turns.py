"""The turns of the transcript: what the user wrote, what a model answered, and what the program has to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content, Span
from textual.events import Click
from textual.geometry import Size

from workbench.core.errors import WorkbenchError
from workbench.ui.pasting import Range, folded_lines, middle, opened_lines
from workbench.ui.sanitize import clean, clean_line
from workbench.ui.swapping import Swap, swap_lines
from workbench.ui.widgets.lines import Lines


class TurnLines(Lines, can_focus=True):
    """One turn."""

    DEFAULT_CSS = """
    TurnLines:focus {
        background: $panel;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,c", "copy", "Copy", id="turn.copy", tooltip="Copy the text of this turn to the clipboard."),
        Binding(
            "up,k", "app.focus_previous", "Previous", id="turn.previous", show=False, tooltip="Go to the turn above."
        ),
        Binding("down,j", "app.focus_next", "Next", id="turn.next", show=False, tooltip="Go to the turn below."),
        Binding("enter,space", "fold", "Fold", id="turn.fold", tooltip="Show or hide what is folded in this turn."),
    ]

    @property
    def text(self) -> str:
        """The turn's text as it was written."""
        return ""

    def lay_out(self, width: int) -> bool:
        """Fill the lines for a width; False where nothing had to change."""
        return False

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """One row a line, at this width."""
        if self.lay_out(width):
            self.forget_drawn()
        return len(self.lines)

    def action_copy(self) -> None:
        """Copy the text."""
        self.app.copy_to_clipboard(self.text)
        self.notify("Copied.", timeout=2)

    def action_fold(self) -> None:
        """Nothing is folded in most turns."""


class UserTurn(TurnLines):
    """What the user wrote.

    Args:
        text: The message.
        folds: Which parts of it are folded; None for the middle, where it is long.
    """

    DEFAULT_CSS = """
    UserTurn {
        margin: 1 0 0 0;
        padding: 0 1;
        border-left: thick $you;
        background: $surface;

        & > .turn--note {
            color: $text-muted;
            text-style: italic;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"turn--note"}

    def __init__(self, text: str, folds: Sequence[Range] | None = None) -> None:
        super().__init__(classes="user")
        self._text = text
        self._folds = middle(text) if folds is None else folds
        self._folded = bool(self._folds)
        self._marks: frozenset[int] = frozenset()
        self._width = 0

    @property
    def text(self) -> str:
        """The turn's text as it was written."""
        return self._text

    def lay_out(self, width: int) -> bool:
        """Wrap the text."""
        if width == self._width:
            return False
        self._width = width
        if self._folded:
            self._lines, self._marks = folded_lines(self._text, self._folds, width, "turn--note")
        else:
            self._lines, self._marks = opened_lines(self._text, width, "turn--note"), frozenset()
        return True

    def action_fold(self) -> None:
        """Show all of the text, or fold what is long in it."""
        if self._folds:
            self._folded = not self._folded
            self._width = 0
            self.refresh(layout=True)

    def on_click(self, event: Click) -> None:
        """A row that stands for something opens it."""
        if event.y in self._marks:
            self.action_fold()


class Notice(Lines):
    """Something the program has to say between the turns: a title, and what to do about it."""

    DEFAULT_CSS = """
    Notice {
        margin: 1 0 0 0;
        padding: 0 1;

        & > .notice--title {
            text-style: bold;
        }

        &.-error {
            border-left: thick $error;
            background: $error 10%;
        }

        &.-warning {
            border-left: thick $warning;
            background: $warning 10%;
        }

        &.-information {
            border-left: thick $success;
            background: $success 10%;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"notice--title"}

    def __init__(self, title: str, hint: str = "", severity: str = "error") -> None:
        super().__init__(classes=f"notice -{severity}")
        self._title = clean_line(title)
        self._hint = clean(hint)

    @classmethod
    def of(cls, error: WorkbenchError) -> Notice:
        """The notice that tells of `error`."""
        return cls(error.message, error.hint)

    @property
    def text(self) -> str:
        """What it says."""
        return f"{self._title}\n{self._hint}".rstrip()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many rows as it takes."""
        title = Content(self._title, [Span(0, len(self._title), "notice--title")])
        self._lines = title.wrap(width) + (Content(self._hint).wrap(width) if self._hint else [])
        self.forget_drawn()
        return len(self._lines)


class SwapCard(Lines):
    """What a swap of models changed."""

    DEFAULT_CSS = """
    SwapCard {
        margin: 1 0 0 0;
        padding: 0 1;
        border-left: thick $success;

        & > .swap--title {
            color: $title;
            text-style: bold;
        }

        & > .swap--label {
            color: $muted;
        }

        & > .swap--value {
            color: $foreground;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"swap--title", "swap--label", "swap--value"}

    def __init__(self, swap: Swap) -> None:
        super().__init__(classes="swap")
        self._lines = swap_lines(swap)

    @property
    def text(self) -> str:
        """What it says."""
        return "\n".join(line.plain.rstrip() for line in self._lines)

    def show(self, swap: Swap) -> None:
        """Take new figures."""
        self.set_lines(swap_lines(swap))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """One row a line."""
        return len(self._lines)
