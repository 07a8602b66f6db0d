"""The work of the program that goes on beside all screens: quantizations and downloads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from textual.app import App

from workbench.ui.services import Services

if TYPE_CHECKING:
    from workbench.ui.pull.manager import PullManager
    from workbench.ui.quantize.manager import QuantizeManager


class Background:
    """Makes the managers of such work when they are first needed, and asks before the program leaves it.

    `load` opens a model in the chat: its reference and its label.
    """

    def __init__(
        self,
        app: App[None],
        services: Services,
        key_for: Callable[[str], str],
        load: Callable[[str, str], None],
    ) -> None:
        self._app = app
        self._services = services
        self._key_for = key_for
        self._load = load
        self._workshop: QuantizeManager | None = None
        self._downloads: PullManager | None = None

    @property
    def workshop(self) -> QuantizeManager:
        if self._workshop is None:
            from workbench.ui.quantize.manager import QuantizeManager

            self._workshop = QuantizeManager(self._app, self._services, self._key_for("app.jobs"), self._load)
        return self._workshop

    @property
    def downloads(self) -> PullManager:
        if self._downloads is None:
            from workbench.ui.pull.manager import PullManager

            self._downloads = PullManager(self._app, self._services, self._key_for, self._load)
        return self._downloads

    def start(self) -> None:
        """Say that an earlier run of the program left downloads, if it did."""
        self._app.run_worker(self._offer_unfinished(), group="left", exit_on_error=False, description="downloads")

    async def _offer_unfinished(self) -> None:
        book = self._services.pull_book
        left = await asyncio.to_thread(lambda: book().take_over()) if book is not None else ()
        if left:
            self.downloads.offer_unfinished(left)

    def running(self) -> Iterator[tuple[object, str]]:
        """The jobs that run, and what each is, as the beginning of a sentence."""
        if self._workshop is not None and (job := self._workshop.queue.running) is not None:
            yield job, f"The quantization {job.label}"
        if self._downloads is not None and (pull := self._downloads.queue.running) is not None:
            yield pull, f"The download of {pull.label}"

    def ask_to_leave(self, leave: Callable[[], None]) -> bool:
        """Ask before quitting stops some work; `leave` is called if the user agrees. Returns whether there is any."""
        managers = (self._workshop, self._downloads)
        return any(manager is not None and manager.jobs.ask_to_leave(leave) for manager in managers)

    async def close(self) -> None:
        """Stop all work. An unfinished quantization leaves no file; a download goes on another time."""
        for manager in (self._workshop, self._downloads):
            if manager is not None:
                await manager.jobs.close()
