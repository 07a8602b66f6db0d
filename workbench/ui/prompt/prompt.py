"""The prompt: a text of a few lines with a history, completion and pastes as chips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual.binding import BindingType
from textual.events import Key
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input, TextArea

from workbench.core.prompt_text import PromptText
from workbench.ui.keys import key
from workbench.ui.prompt.chips import ChipArea
from workbench.ui.prompt.completion import Candidate, common_start
from workbench.ui.prompt.pastes import Pastes
from workbench.ui.widgets.rows import without_keys
from workbench.ui.widgets.typed_ahead import run_own_binding

PUT_LIMIT = 4_000
"""Characters from which a recalled text is folded as a whole: the text area lays out all of its text with every key."""
# TextArea's keys for selecting a line and everything are keys of the program here, and so are those that scroll.
_NOT_INHERITED = {"f6", "f7", "ctrl+c", "super+c", "home", "end", "pageup", "pagedown"}


class Prompt(ChipArea, inherit_bindings=False):
    """The text that the user writes; the arrows recall earlier ones."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *without_keys(TextArea.BINDINGS, _NOT_INHERITED),
        key("prompt.send", "enter", "Send", "Send the text to the model.", priority=True),
        key("prompt.newline", "shift+enter,alt+enter,ctrl+j", "New line",
            "Begin a new line in the text.", show=False, priority=True),
        key("prompt.complete", "tab", "Complete", "Complete a command.", show=False, priority=True),
        key("prompt.edit", "ctrl+g", "Editor",
            "Edit the text in the editor that $VISUAL or $EDITOR names.", show=False),
        key("prompt.page_up", "pageup", "Page up",
            "Scroll the conversation one page up.", action="scroll('page_up')", show=False),
        key("prompt.page_down", "pagedown", "Page down",
            "Scroll the conversation one page down.", action="scroll('page_down')", show=False),
        key("prompt.home", "home", "Start",
            "Go to the start of the line; in an empty prompt, scroll to the beginning.",
            action="line_or_scroll('start')", show=False),
        key("prompt.end", "end", "End",
            "Go to the end of the line; in an empty prompt, scroll to the end.",
            action="line_or_scroll('end')", show=False),
        key("prompt.top", "ctrl+home", "Beginning",
            "Scroll to the beginning of the conversation.", action="scroll('home')", show=False),
        key("prompt.latest", "ctrl+end", "Latest",
            "Scroll to the end of the conversation.", action="scroll('end')", show=False),
        key("prompt.open_paste", "ctrl+f", "Unfold",
            "Unfold the paste at the cursor; Ctrl+Z folds it again.", show=False),
    ]  # fmt: skip

    @dataclass
    class Submitted(Message):
        """The user pressed Enter on a text that is not empty."""

        prompt: Prompt
        shown: str
        """The text when the key was pressed, for `take`."""

    def __init__(self) -> None:
        self.pastes = Pastes()
        super().__init__(
            id="prompt",
            soft_wrap=True,
            tab_behavior="focus",
            show_line_numbers=False,
            placeholder="Message the model…",
            highlight_cursor_line=False,
        )
        # A blinking cursor would draw twice a second while nothing happens.
        self.cursor_blink = False
        self._history: list[str | PromptText] = []
        """Texts of earlier sessions get their chips when they are recalled."""
        self._place = 0
        self._draft = ""
        self.complete: Callable[[str], Sequence[Candidate]] = lambda text: ()
        """Finds the completions of a text."""
        self.tab: Callable[[], object] = lambda: None
        """What Tab does where there is nothing to complete."""
        self.scrolled: Callable[[], Iterable[Widget]] = tuple
        """Finds what the keys for scrolling scroll: the conversation."""
        self.enter: Callable[[], object] = lambda: None
        """What Enter does where there is no text."""

    @property
    def _row(self) -> int:
        """The cursor's row, counted over wrapped lines."""
        return self.wrapped_document.location_to_offset(self.cursor_location).y

    def put(self, text: str) -> None:
        """Put `text` into the prompt: as it was typed if it was sent last, else folded where it is long."""
        if self._is_last(text):
            self.show_text(self._earlier(-1))
            return
        folded = self.pastes.fold_again(text)
        self.show_text(self.pastes.fold(text) if len(folded) > PUT_LIMIT else folded)

    def put_kept(self, prompt: PromptText) -> None:
        """Put a stored text into the prompt, with its pastes as chips."""
        if prompt.pastes:
            self.show_text(self._folded(prompt))
        else:
            self.put(prompt.text)

    def put_message(self, text: str) -> None:
        """Put a message into the prompt as it would be typed: a leading slash is doubled."""
        if self._is_last(text):
            self.put(text)
        else:
            self.put(f"/{text}" if text.startswith("/") else text)

    def show_text(self, text: str) -> None:
        """Replace the text, with the cursor at its end."""
        self.text = text
        self.move_cursor(self.document.end)

    def take(self, shown: str) -> str:
        """Move a submitted text from the prompt to the history; what was typed after it stays.

        Returns it with every paste in full.
        """
        if not self._history or self._earlier(-1) != shown:
            self._history.append(shown)
        self._place = len(self._history)
        self.show_text(self.text.removeprefix(shown))
        return self.pastes.expand(shown)

    async def on_key(self, event: Key) -> None:
        focused = self.screen.focused
        if focused is not None and focused is not self:
            # A key before it, which waited here too, has moved the focus.
            event.stop()
            event.prevent_default()
            focused.post_message(Key(event.key, event.character))
            return
        await run_own_binding(self, event)

    def take_key(self, event: Key) -> None:
        """Type a printable key that reached the screen and is no binding there, unless another text has the focus.

        The prompt lets no printable key through. One that comes while it has the focus was pressed just before.
        """
        focused = self.screen.focused
        is_taken = isinstance(focused, Input | TextArea) or event.key in self.screen.active_bindings
        if event.character and event.is_printable and (focused is self or not is_taken):
            event.stop()
            self.screen.set_focus(self)
            self.insert(event.character)

    def render_line(self, y: int) -> Strip:
        """Draw one row; in a window too small for any text, nothing."""
        return super().render_line(y) if self.content_size.width > 0 else Strip.blank(self.size.width)

    def action_send(self) -> None:
        # A priority binding overtakes earlier keys that still wait in the widget's queue.
        self.call_later(self._submit)

    def _submit(self) -> None:
        if self.full_text.strip():
            self.post_message(self.Submitted(self, self.text))
        else:
            self.enter()

    def action_complete(self) -> None:
        """Complete the text up to the common prefix of all candidates, else to the first of them."""
        self.call_later(self._complete)

    def _complete(self) -> None:
        found = self.complete(self.text)
        if not found:
            self.tab()
            return
        common = common_start(found)
        agreed = len(common) > len(self.text) and common.startswith(self.text)
        self.show_text(common if agreed else found[0].text)

    def action_scroll(self, way: Literal["page_up", "page_down", "home", "end"]) -> None:
        for widget in self.scrolled():
            getattr(widget, f"scroll_{way}")(animate=False)

    def action_line_or_scroll(self, way: Literal["start", "end"]) -> None:
        if not self.text:
            self.action_scroll("home" if way == "start" else "end")
        elif way == "start":
            self.action_cursor_line_start()
        else:
            self.action_cursor_line_end()

    async def action_edit(self) -> None:
        from workbench.ui.prompt.editor import edit_outside

        text = await edit_outside(self.app, self.full_text)
        if text is not None:
            self.put(text)

    def remember(self, prompts: Sequence[PromptText]) -> None:
        """Put texts of earlier sessions before those of this one in the history."""
        self._history[:0] = prompts
        self._place += len(prompts)

    def _earlier(self, place: int) -> str:
        """A text of the history, with its chips."""
        text = self._history[place]
        if isinstance(text, PromptText):
            text = self._history[place] = self._folded(text)
        return text

    def _folded(self, prompt: PromptText) -> str:
        folded = self.pastes.folded(prompt)
        return self.pastes.fold(prompt.text) if len(folded) > PUT_LIMIT else folded

    def _is_last(self, text: str) -> bool:
        """Whether this text, with its pastes in full, is the last of the history."""
        return bool(self._history) and self.pastes.expand(self._earlier(-1)) == text

    def action_newline(self) -> None:
        self.call_later(self.insert, "\n")

    def action_cursor_up(self, select: bool = False) -> None:
        if select or self._row > 0:
            super().action_cursor_up(select)
        elif self._place > 0:
            self._recall(self._place - 1)

    def action_cursor_down(self, select: bool = False) -> None:
        if select or self._row < self.wrapped_document.height - 1:
            super().action_cursor_down(select)
        elif self._place < len(self._history):
            self._recall(self._place + 1)

    def _recall(self, place: int) -> None:
        if self._place == len(self._history):
            self._draft = self.text
        self._place = place
        self.show_text(self._draft if place == len(self._history) else self._earlier(place))
