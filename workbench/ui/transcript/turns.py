"""The turns of the transcript: their common keys and actions, and the messages of the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Size
from textual.message import Message
from typing_extensions import override

from workbench.core.prompt_text import Range
from workbench.core.tree import BranchPosition
from workbench.ui.keys import key
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.text import styled
from workbench.ui.markdown.blocks import code_blocks
from workbench.ui.prompt.pastes import middle
from workbench.ui.transcript.folding import folded_lines, opened_lines
from workbench.ui.widgets.clipboard import CopyOut
from workbench.ui.widgets.lines import Lines

TurnAction = Literal[
    "regenerate",
    "edit",
    "continue",
    "branch_before",
    "branch_after",
    "delete",
    "undo",
    "redo",
    "replay",
    "lens",
    "alternatives",
    "record",
]
"""An action on a message of the conversation, by the last part of its binding id."""


def _ask(action: TurnAction, keys: str, label: str, tooltip: str, *, show: bool = True) -> Binding:
    return key(f"turn.{action}", keys, label, tooltip, action=f"ask('{action}')", show=show)


class TurnLines(Lines, can_focus=True):
    """One turn."""

    DEFAULT_CSS = """
    TurnLines:focus {
        background: $panel;
    }
    """
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        _ask("regenerate", "r", "Again", "Regenerate the answer in a new branch."),
        _ask("edit", "e", "Edit", "Edit this message and continue from there."),
        _ask("continue", "c", "Continue", "Continue a truncated answer."),
        _ask("branch_before", "left,left_square_bracket", "Branch before",
             "Go to the branch before this one.", show=False),
        _ask("branch_after", "right,right_square_bracket", "Branch after",
             "Go to the branch after this one.", show=False),
        key("turn.copy", "y", "Copy", "Copy the text of this turn to the clipboard."),
        key("turn.copy_code", "b", "Copy code", "Copy a code block of this turn; pressed again, the next one."),
        key("turn.copy_to_file", "Y", "Copy to a file",
            "Write the text of this turn to a new file in the export folder.", action="copy(True)", show=False),
        key("turn.copy_code_to_file", "B", "Copy code to a file",
            "Write the last copied code block, else the first one, to a file.", action="copy_code(True)", show=False),
        _ask("delete", "d,delete", "Delete", "Delete this message and all that follow it."),
        _ask("undo", "u", "Undo", "Undo the last change of the conversation."),
        _ask("redo", "U,ctrl+y", "Redo", "Redo the change that was undone last.", show=False),
        _ask("replay", "v", "Replay", "Replay this answer at its original speed.", show=False),
        _ask("lens", "L", "Lens", "Look at this answer through another model: where their distributions differ."),
        _ask("alternatives", "a", "Alternatives",
             "Show what the model could have written at each place of this answer, and go on from there.", show=False),
        _ask("record", "A", "Record alternatives",
             "Record the alternatives of each token from the next answer on, and shade "
             "unlikely words; or stop that.", show=False),
        key("turn.previous", "up,k", "Previous", "Go to the turn above.", action="app.focus_previous", show=False),
        key("turn.next", "down,j", "Next", "Go to the turn below.", action="app.focus_next", show=False),
        key("turn.first", "g,home", "Top", "Go to the first turn.", action="go(0)", show=False),
        key("turn.last", "G,end", "End", "Go to the last turn.", action="go(-1)", show=False),
        key("turn.help", "question_mark", "Help", "Explain the screen.", action="app.help", show=False),
        key("turn.fold", "enter,space", "Fold", "Show or hide what is folded in this turn."),
    ]
    # fmt: on
    # What is typed after a click is for the prompt: a key of a message must not meet a word.
    FOCUS_ON_CLICK = False
    EDGE = 2
    """Columns left of the text; a click there enters the message."""

    @dataclass
    class Asked(Message):
        """The user wants an action on the message."""

        turn: TurnLines
        action: TurnAction

        @property
        def control(self) -> TurnLines:
            return self.turn

    def __init__(self, classes: str) -> None:
        super().__init__(classes=classes)
        self.number = 0
        """The number of the message in the conversation; 0 while it is unknown."""
        self._place = BranchPosition()
        self._copied = -1

    def put(self, number: int, place: BranchPosition) -> None:
        self.number, self._place = number, place

    def _branch_text(self) -> str:
        """The number of the branch; empty where there is only one."""
        return f"◂{self._place.index}/{self._place.count}▸" if self._place.count > 1 else ""

    @property
    def text(self) -> str:
        """The turn's text as it was written."""
        return ""

    @property
    def markdown(self) -> str:
        """The Markdown by which it is shown."""
        return self.text

    def lay_out(self, width: int) -> bool:
        """Lay out the lines for a width; False where they have it already."""
        return False

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        if self.lay_out(width):
            self.forget_drawn()
        return len(self.lines)

    def action_go(self, index: int) -> None:
        """Focus the turn at an index."""
        self.screen.query(TurnLines)[index].focus()

    def action_ask(self, action: TurnAction) -> None:
        self.post_message(self.Asked(self, action))

    def action_copy(self, to_file: bool = False) -> None:
        self.post_message(CopyOut(self.text, to_file=to_file))

    def action_copy_code(self, to_file: bool = False) -> None:
        """Copy the next code block; with `to_file`, write the last copied one to a file."""
        blocks = code_blocks(self.markdown)
        if not blocks:
            self.notify("This turn has no code block.", timeout=2)
            return
        self._copied = max(self._copied, 0) if to_file else self._copied + 1
        self._copied %= len(blocks)
        code, language = blocks[self._copied]
        what = f"block {self._copied + 1} of {len(blocks)}" if len(blocks) > 1 else "the code block"
        lines = fmt.counted(code.count("\n") + 1, "line")
        text = f"Copied {what}{language and f', {language}'}, {lines}."
        self.post_message(CopyOut(code, text, to_file))

    def action_fold(self) -> None:
        """Fold or unfold, where anything can be folded."""

    def enters(self, event: Click) -> bool:
        """Enter the message, where the click was on its edge. Returns whether it was."""
        if event.x < self.EDGE:
            self.focus()
        return event.x < self.EDGE


class UserTurn(TurnLines):
    """A message of the user; `folds` are its folded parts, None for the middle of a long message."""

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

    @override
    def put(self, number: int, place: BranchPosition) -> None:
        if self._place.count != place.count:
            self._width = 0
            self.refresh(layout=True)
        super().put(number, place)

    @property
    @override
    def text(self) -> str:
        return self._text

    @override
    def lay_out(self, width: int) -> bool:
        if width == self._width:
            return False
        self._width = width
        if self._folded:
            self._lines, self._marks = folded_lines(self._text, self._folds, width, "turn--note")
        else:
            self._lines, self._marks = opened_lines(self._text, width, "turn--note"), frozenset()
        if branch := self._branch_text():
            self._lines = [*self._lines, styled((branch, "turn--note"))]
        return True

    @override
    def action_fold(self) -> None:
        if self._folds:
            self._folded = not self._folded
            self._width = 0
            self.refresh(layout=True)

    def on_click(self, event: Click) -> None:
        if not self.enters(event) and event.y in self._marks:
            self.action_fold()
