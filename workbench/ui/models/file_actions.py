"""Actions of the Models screen on the files of a model: check, use from other programs too, join copies, delete."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.getters import query_one
from textual.screen import Screen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, WorkbenchError
from workbench.core.models import ModelEntry
from workbench.core.pulls import FileCheck, PullProgress
from workbench.core.sharing import Destination, Joining, ModelSharing, Removal
from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.dialogs.text_viewer import TextDialog
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut_path, paragraph
from workbench.ui.services import Services
from workbench.ui.widgets.library_watch import search_again
from workbench.ui.widgets.options import Options

_WIDTH = 66
"""Columns of a destination."""


class ShareDialog(Dialog[Destination | None]):
    """Asks from where a model is to be used too."""

    CSS_PATH = "screen.tcss"

    list = query_one("#share-list", OptionList)

    def __init__(self, model: ModelEntry, destinations: Sequence[Destination]) -> None:
        super().__init__()
        self._model = model
        self._destinations = destinations

    def compose(self) -> ComposeResult:
        title = f"Use {clean_line(self._model.label)} from there too"
        with dialog_box("share-box", title, "Enter links it there, nothing is copied · Esc closes"):
            yield Options(
                *(Option(_row(each), disabled=bool(each.problem)) for each in self._destinations),
                id="share-list",
                markup=False,
            )

    def on_mount(self) -> None:
        self.list.focus()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._destinations[event.option_index])


def _row(each: Destination) -> Content:
    where = clean_line(each.problem) or cut_path(each.path, _WIDTH)
    return Content.assemble(each.title, "\n", (f"  {where}", "$text-muted"))


@dataclass
class FileActions:
    """Acts on the files of the selected model."""

    services: Services
    selected: Callable[[], ModelEntry | None]
    """The selected model; None, with a message, where there is none."""
    say: Callable[[str], None]
    host: Screen[None]
    _cancel: CancelToken | None = None
    """Stops the check that runs."""

    def run(self, name: str) -> None:
        """Carry out an action by its name."""
        if (model := self.selected()) is None:
            return
        if model.path is None:
            self.say(f"{model.label} has no file on this machine.")
            return
        self._work(ACTIONS[name](self, model), name)

    def _work(self, work: Awaitable[None], name: str) -> None:
        self.host.run_worker(self._reported(work), group="files", exit_on_error=False, description=f"{name} a model")

    async def _reported(self, work: Awaitable[None]) -> None:
        try:
            await work
        except CancelledError as error:
            self.say(error.message)
        except WorkbenchError as error:
            self._show("This could not be done", [error.message, error.hint])

    def stop(self) -> bool:
        """Stop the check that runs. Returns whether one does."""
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            cancel.set()
        return cancel is not None

    def _show(self, title: str, texts: Sequence[str]) -> None:
        def lay_out(width: int) -> list[Content]:
            return [line for text in texts if text for line in paragraph(clean_line(text), width)]

        self.host.app.push_screen(TextDialog(title, lay_out))

    def _ask(self, title: str, lines: Sequence[str], yes: str, agreed: Callable[[], Awaitable[None]]) -> None:
        def answered(answer: bool | None) -> None:
            if answer:
                self._work(agreed(), yes)

        self.host.app.push_screen(ConfirmDialog(title, "\n".join(map(clean_line, lines)), yes), answered)

    # Checking

    async def verify(self, model: ModelEntry, *, repair: bool = False) -> None:
        """Check the files of a model; with `repair`, fetch what is wrong."""
        if self.services.pulls is None:
            return
        self.stop()
        cancel = self._cancel = CancelToken()

        def progress(progress: PullProgress) -> None:
            doing = "Repairs" if repair else "Checks"
            share = f"{100 * progress.fraction:.0f} % of {fmt.size(progress.total_bytes)}"
            self.say(f"{doing} {model.label}: {share}. Esc stops.")

        self.say(f"Checks {model.label}…")
        try:
            found = await self.services.pulls().verify(model.path or model.ref, progress, cancel, repair=repair)
        finally:
            self._cancel = None if self._cancel is cancel else self._cancel
        self._report(model, found, repaired=repair)

    def _report(self, model: ModelEntry, found: FileCheck, *, repaired: bool) -> None:
        self.say(f"{model.label} is {'sound' if found.ok else 'damaged'}.")
        if found.ok or repaired:
            self._show(f"{model.label} is {'sound' if found.ok else 'still damaged'}", found.lines)
            return
        text = "Repairing fetches the wrong ranges where they can be told, else the whole file beside the old one."
        self._ask(
            f"{model.label} is damaged", [*found.lines, "", text], "repairs", partial(self.verify, model, repair=True)
        )

    # Other programs

    async def share(self, model: ModelEntry) -> None:
        """Ask from where the model is to be used too, and link it there."""
        if (sharing := await self._sharing()) is None:
            return
        destinations = await asyncio.to_thread(sharing.destinations, model)

        async def link(chosen: Destination) -> None:
            self.say(f"Links {model.label}…")
            self._show(f"{model.label}: {chosen.title}", await asyncio.to_thread(sharing.share, model, chosen.program))
            await self._search()

        def answered(chosen: Destination | None) -> None:
            if chosen is not None:
                self._work(link(chosen), "share")

        self.host.app.push_screen(ShareDialog(model, destinations), answered)

    async def join(self, model: ModelEntry) -> None:
        """Ask whether the copies of a model may share their space."""
        if (sharing := await self._sharing()) is None:
            return
        joining = await asyncio.to_thread(sharing.copies, model)
        if not joining.paths:
            self.say(" ".join([*joining.lines, f"{model.label} has no copies that could be joined."]))
            return

        async def join(joining: Joining) -> None:
            self.say("Reads the copies, which must be equal…")
            self._show(f"{model.label}: joined", await asyncio.to_thread(sharing.join, joining))
            await self._search()

        lines = [f"Kept: {joining.keep}", *(f"Becomes a link to it: {path}" for path in joining.paths), *joining.lines]
        lines.append(f"{fmt.size(joining.freed_bytes)} come free. The copies are read whole first, and must be equal.")
        self._ask(f"Join the copies of {model.label}?", lines, "joins", partial(join, joining))

    async def delete(self, model: ModelEntry) -> None:
        """Ask whether a model may be deleted, and say who else loses it."""
        if (sharing := await self._sharing()) is None:
            return
        removal = await asyncio.to_thread(sharing.removal, model)
        if not removal.paths:
            self._show(f"{model.label} is not deleted from here", removal.lines)
            return

        async def remove(removal: Removal) -> None:
            await asyncio.to_thread(sharing.remove, removal)
            self.say(f"{model.label} is deleted: {fmt.size(removal.freed_bytes)} came free.")
            await self._search()

        lines = [*removal.paths, "", f"{fmt.size(removal.freed_bytes)} come free.", *removal.lines]
        self._ask(f"Delete {model.label}?", lines, "deletes", partial(remove, removal))

    async def _sharing(self) -> ModelSharing | None:
        """The service, which is made the first time; None where there is none."""
        return None if self.services.sharing is None else await asyncio.to_thread(self.services.sharing)

    async def _search(self) -> None:
        await search_again(self.host.app, self.services.catalog)


ACTIONS: Mapping[str, Callable[[FileActions, ModelEntry], Awaitable[None]]] = {
    "verify": FileActions.verify,
    "share": FileActions.share,
    "join": FileActions.join,
    "delete": FileActions.delete,
}
