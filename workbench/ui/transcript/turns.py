"""The turns of the transcript: what the user wrote, what a model answered, and what the program has to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual.binding import Binding, BindingType
from textual.content import Content, Span
from textual.events import Click
from textual.geometry import Size
from textual.message import Message

from workbench.core.prompt_text import Range
from workbench.core.tree import BranchPosition
from workbench.ui.kit.clipboard import CopyOut
from workbench.ui.markdown.blocks import code_blocks
from workbench.ui.prompt.pastes import middle
from workbench.ui.transcript.folding import folded_lines, opened_lines
from workbench.ui.widgets.lines import Lines

TurnAction = Literal[
    "regenerate", "edit", "continue", "branch_before", "branch_after", "delete", "undo", "redo", "replay"
]
"""An action on a message of the conversation, by the last part of its binding id."""


class TurnLines(Lines, can_focus=True):
    """One turn."""

    DEFAULT_CSS = """
    TurnLines:focus {
        background: $panel;
    }
    """
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "ask('regenerate')", "Again", id="turn.regenerate",
                tooltip="Have another answer, in a branch beside this one."),
        Binding("e", "ask('edit')", "Edit", id="turn.edit", tooltip="Edit this message and go on from there."),
        Binding("g", "ask('continue')", "Go on", id="turn.continue", tooltip="Let an answer go on that was cut off."),
        Binding("left,left_square_bracket", "ask('branch_before')", "Branch before", id="turn.branch_before",
                show=False, tooltip="Go to the branch before this one."),
        Binding("right,right_square_bracket", "ask('branch_after')", "Branch after", id="turn.branch_after",
                show=False, tooltip="Go to the branch after this one."),
        Binding("y,c", "copy", "Copy", id="turn.copy", tooltip="Copy the text of this turn to the clipboard."),
        Binding("b", "copy_code", "Copy code", id="turn.copy_code",
                tooltip="Copy a block of code of this turn; pressed again, the next one."),
        Binding("Y", "copy(True)", "Copy to a file", id="turn.copy_to_file", show=False,
                tooltip="Write the text of this turn to a file of its own in the export folder."),
        Binding("B", "copy_code(True)", "Copy code to a file", id="turn.copy_code_to_file", show=False,
                tooltip="Write the block of code that was copied last, else the first one, to a file."),
        Binding("d,delete", "ask('delete')", "Delete", id="turn.delete",
                tooltip="Delete this message and all that follows it."),
        Binding("u", "ask('undo')", "Undo", id="turn.undo", tooltip="Take back the last change of the conversation."),
        Binding("U,ctrl+y", "ask('redo')", "Redo", id="turn.redo", show=False,
                tooltip="Make the change again that was taken back last."),
        Binding("p", "ask('replay')", "Replay", id="turn.replay", show=False,
                tooltip="Show this answer again at the speed at which it came."),
        Binding(
            "up,k", "app.focus_previous", "Previous", id="turn.previous", show=False, tooltip="Go to the turn above."
        ),
        Binding("down,j", "app.focus_next", "Next", id="turn.next", show=False, tooltip="Go to the turn below."),
        Binding("enter,space", "fold", "Fold", id="turn.fold", tooltip="Show or hide what is folded in this turn."),
    ]
    # fmt: on

    @dataclass
    class Asked(Message):
        """The user wants an action on the message."""

        turn: TurnLines
        action: TurnAction

        @property
        def control(self) -> TurnLines:
            """The turn."""
            return self.turn

    def __init__(self, classes: str) -> None:
        super().__init__(classes=classes)
        self.number = 0
        """Which message of the conversation it is; 0 as long as that is not known."""
        self._place = BranchPosition()
        self._copied = -1

    def put(self, number: int, place: BranchPosition) -> None:
        """Say which message it is, and which of its siblings."""
        self.number, self._place = number, place

    def _branch_text(self) -> str:
        """Which of the branches it is; empty where there is only one."""
        return f"◂{self._place.index}/{self._place.count}▸" if self._place.count > 1 else ""

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

    def action_ask(self, action: TurnAction) -> None:
        """Ask for an action on the message."""
        self.post_message(self.Asked(self, action))

    def action_copy(self, to_file: bool = False) -> None:
        """Copy the text, into a file too if that is wanted."""
        self.post_message(CopyOut(self.text, to_file=to_file))

    def action_copy_code(self, to_file: bool = False) -> None:
        """Copy a block of code, and the next one when it is pressed again; into a file, the one that was copied."""
        blocks = code_blocks(self.text)
        if not blocks:
            self.notify("There is no block of code in this turn.", timeout=2)
            return
        self._copied = max(self._copied, 0) if to_file else self._copied + 1
        self._copied %= len(blocks)
        block = blocks[self._copied]
        what = f"block {self._copied + 1} of {len(blocks)}" if len(blocks) > 1 else "the block of code"
        language = f", {block.language}" if block.language else ""
        lines = block.text.count("\n") + 1
        text = f"Copied {what}{language}, {lines} {'line' if lines == 1 else 'lines'}."
        self.post_message(CopyOut(block.text, text, to_file))

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

    def put(self, number: int, place: BranchPosition) -> None:
        """Say which message it is, and which of its siblings."""
        if self._place.count != place.count:
            self._width = 0
            self.refresh(layout=True)
        super().put(number, place)

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
        if branch := self._branch_text():
            self._lines = [*self._lines, Content(branch, [Span(0, len(branch), "turn--note")])]
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
