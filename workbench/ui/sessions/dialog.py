"""The dialog of the stored sessions: search, rename, pin, delete, open, and compare two of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.getters import query_one
from textual.widgets import Input, Label
from textual.worker import WorkerCancelled

from workbench.core.errors import SessionError
from workbench.core.session import SessionHit, SessionStore, SessionSummary
from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.dialogs.text_viewer import TextDialog
from workbench.ui.keys import key
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut
from workbench.ui.sessions.rows import hit_row, pair_lines, summary_row
from workbench.ui.widgets.input_line import InputLine
from workbench.ui.widgets.rows import Rows, without_keys


class SessionRows(Rows, inherit_bindings=False):
    """The sessions."""

    # fmt: off
    OWN_BINDINGS: ClassVar[tuple[Binding, ...]] = (
        key("sessions.search", "slash", "Search",
            "Search for words in all messages of all sessions.", action="screen.search"),
        key("sessions.rename", "e", "Name", "Name the selected session.", action="screen.rename"),
        key("sessions.pin", "t", "Pin", "Keep the selected session above the others.", action="screen.pin"),
        key("sessions.delete", "d,delete", "Delete", "Delete the selected session.", action="screen.delete"),
        key("sessions.restore", "u", "Undo", "Restore the session that was deleted last.", action="screen.restore"),
        key("sessions.mark", "space", "Mark",
            "Mark the selected session; the next one that is opened is compared with it.", action="screen.mark"),
    )
    # fmt: on
    # The space bar marks a session here.
    BINDINGS: ClassVar[list[BindingType]] = [*without_keys(Rows.BINDINGS, {"space"}), *OWN_BINDINGS]


class SessionsDialog(Dialog[str | None]):
    """Lists the sessions; returns the id of the one to open.

    `current` is the id of the session that is open in the chat, empty for none; `renamed` gets its new name.
    """

    CSS_PATH = "dialog.tcss"
    AUTO_FOCUS = "#sessions-search"

    search = query_one("#sessions-search", Input)
    list = query_one("#sessions-rows", SessionRows)
    state = query_one("#sessions-state", Label)

    def __init__(self, store: SessionStore, current: str, renamed: Callable[[str], None]) -> None:
        super().__init__()
        self._store = store
        self._current = current
        self._renamed = renamed
        self._hits: Sequence[SessionHit] | None = None
        """The results of the search; None where all sessions are listed."""
        self._all: Sequence[SessionSummary] = ()
        self._marked = ""
        """The id of the marked session; empty where none is."""
        self._deleted: list[SessionSummary] = []

    def compose(self) -> ComposeResult:
        with dialog_box(
            "sessions-box",
            "Sessions",
            "Enter opens · ↓: e names, t pins, d deletes, Space marks · Esc closes",
        ):
            yield InputLine("sessions-search", "Search all messages…")
            yield SessionRows("sessions-rows")
            yield Label("Reading…", id="sessions-state", markup=False)

    def on_mount(self) -> None:
        self._read("")

    def on_resize(self) -> None:
        self.call_after_refresh(self._lay_out)

    # Reading

    @on(Input.Changed, "#sessions-search")
    def _typed(self, event: Input.Changed) -> None:
        self._read(event.value)

    @work(group="sessions", exclusive=True, exit_on_error=False, description="read the sessions")
    async def _read(self, words: str) -> None:
        try:
            if words.strip():
                self._hits = await self._store.search(words)
            else:
                # Both at once: rows may be drawn while the sessions are read.
                self._all, self._hits = await self._store.summaries(figures=False), None
        except SessionError as error:
            self._say(str(error))
            return
        self._show()

    @property
    def _shown(self) -> Sequence[SessionSummary]:
        return self._all if self._hits is None else [hit.session for hit in self._hits]

    @property
    def _selected(self) -> SessionSummary | None:
        cursor = self.list.cursor
        return None if cursor is None else self._shown[cursor]

    def _lay_out(self) -> None:
        self.list.show(len(self._shown), self._row, choosable=True, cursor=self.list.cursor or 0)

    def _show(self) -> None:
        self._lay_out()
        if self._hits is not None:
            count = len(self._hits)
            self._say(f"{count} found" if count else "No session has all of these words in one message.")
        elif not self._all:
            self._say("No conversation is stored yet.")
        else:
            self._say(fmt.counted(len(self._all), "session"))

    def _row(self, index: int, width: int) -> Content:
        summary = self._shown[index]
        marked, current = summary.id == self._marked, summary.id == self._current
        if self._hits is not None:
            return hit_row(self._hits[index], width, marked=marked, current=current)
        return summary_row(summary, width, marked=marked, current=current)

    def _say(self, text: str) -> None:
        self.state.update(clean_line(text))

    # Moving

    def action_search(self) -> None:
        self.search.focus()

    def on_key(self, event: events.Key) -> None:
        if self.search.has_focus and event.key in ("down", "pagedown"):
            self.list.focus()
            event.stop()

    @on(Input.Submitted, "#sessions-search")
    def _submitted(self) -> None:
        self.list.action_choose()

    @on(Rows.Chosen, "#sessions-rows")
    def _open(self, event: Rows.Chosen) -> None:
        chosen = self._shown[event.index]
        if self._marked not in ("", chosen.id):
            self._compare(self._marked, chosen.id)
        else:
            self.dismiss(chosen.id)

    @work(group="compare", exclusive=True, exit_on_error=False, description="compare two sessions")
    async def _compare(self, first: str, second: str) -> None:
        try:
            one, other = [await self._store.open_session(name) for name in (first, second)]
        except SessionError as error:
            self._say(str(error))
        else:
            self.app.push_screen(TextDialog("Two sessions", partial(pair_lines, one, other), classes="-wide"))

    # Changes of the selected session

    def action_mark(self) -> None:
        if chosen := self._selected:
            self._marked = "" if self._marked == chosen.id else chosen.id
            self.list.redraw()
            self._say("Marked: open another one to compare the two." if self._marked else "")

    def action_rename(self) -> None:
        if chosen := self._selected:
            self.app.push_screen(NameDialog(chosen.title), lambda name: self._take_name(chosen, name))

    def _take_name(self, chosen: SessionSummary, name: str | None) -> None:
        if name is None:
            return
        if chosen.id == self._current:
            self._renamed(" ".join(name.split()))
        self._do(self._store.rename(chosen.id, name), "Named.")

    def action_pin(self) -> None:
        if chosen := self._selected:
            self._do(self._store.pin(chosen.id, not chosen.pinned), "Unpinned." if chosen.pinned else "Pinned.")

    def action_delete(self) -> None:
        chosen = self._selected
        if chosen is None:
            return
        if chosen.id == self._current:
            self._say("This session is open: start a new chat or open another session first.")
            return
        messages = fmt.counted(chosen.messages, "message")
        text = f"Delete “{cut(chosen.title, 60)}” with its {messages}? u restores it."
        self.app.push_screen(ConfirmDialog("Delete", text, "deletes"), lambda yes: self._agreed(chosen, yes))

    def _agreed(self, chosen: SessionSummary, agreed: bool | None) -> None:
        if agreed:
            self._do(self._store.delete(chosen.id), "Deleted; u restores it.", lambda: self._deleted.append(chosen))

    def action_restore(self) -> None:
        if self._deleted:
            self._do(self._store.restore(self._deleted[-1].id), "Restored.", self._deleted.pop)
        else:
            self._say("No session was deleted here.")

    @work(group="change", exit_on_error=False, description="change a session")
    async def _do(
        self, change: Coroutine[None, None, None], said: str, then: Callable[[], object] = lambda: None
    ) -> None:
        try:
            await change
        except SessionError as error:
            self._say(str(error))
            return
        then()
        with suppress(WorkerCancelled):
            # Another change reads the sessions again.
            await self._read(self.search.value).wait()
        self._say(said)


class NameDialog(Dialog[str | None]):
    """Asks for the name of a session; returns the new one, empty for none."""

    CSS_PATH = "dialog.tcss"
    AUTO_FOCUS = "#name-input"

    def __init__(self, name: str) -> None:
        super().__init__()
        self._title = name

    def compose(self) -> ComposeResult:
        with dialog_box("name-box", "Name of the session", "Enter renames · empty for its first words · Esc cancels"):
            yield InputLine("name-input", value=clean_line(self._title))

    @on(Input.Submitted, "#name-input")
    def _taken(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)
