"""Fetches models while the user is on any screen: shows the progress, and reports each download that has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from textual.app import App
from textual.content import Content
from textual.notifications import SeverityLevel

from workbench.core.pulls import PullRequest
from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.pull.lines import bar_line
from workbench.ui.pull.queue import PullQueue, QueuedPull
from workbench.ui.pull.screen import PullScreen
from workbench.ui.services import Services
from workbench.ui.widgets.job_bar import show_bar
from workbench.ui.widgets.library_watch import search_again

LOOK_SECONDS = 0.5
LEAVE_SECONDS = 5.0
"""How long quitting waits for a download to stop."""
ACTION = "app.pull"
"""The action that opens the screen."""


class PullManager:
    """Fetches the models of a program.

    `key_for` gives the key of a binding, `load` opens a model in the chat: its reference and its label.
    """

    def __init__(
        self,
        app: App[None],
        services: Services,
        key_for: Callable[[str], str],
        load: Callable[[str, str], None],
    ) -> None:
        assert services.pulls is not None
        assert services.pull_book is not None
        self._app = app
        self._services = services
        self._key_for = key_for
        self._load = load
        self.queue = PullQueue(services.pulls, services.pull_book, self._ended)
        self._screen = PullScreen(services.pulls, self.queue, key_for, self.run, self._chosen)
        self._timer = app.set_interval(LOOK_SECONDS, self.look, pause=True)
        self._is_asking = False

    @property
    def _keys(self) -> str:
        """The keys that lead to the screen."""
        return f"{self._key_for('app.models')} {self._key_for('models.pull')}"

    def show(self, query: str = "") -> None:
        """Open the screen; `query` is a name to search for, or a reference, which is asked for at once."""
        if not self._app.is_screen_installed(self._screen):
            self._app.install_screen(self._screen, "pull")
        if self._app.screen is not self._screen:
            self._app.push_screen(self._screen)
        if query:
            self._screen.ask(query)

    def run(self) -> None:
        """Fetch all that wait."""
        self._app.run_worker(self.queue.run(), group="pull", exit_on_error=False, description="download")
        self._timer.resume()
        self.look()

    def offer_unfinished(self, left: Sequence[PullRequest]) -> None:
        """Queue the downloads that an earlier run left, and say so."""
        self.queue.take_over(left)
        names = ", ".join(request.label for request in left[:3]) + (", …" if len(left) > 3 else "")
        what = f"{fmt.counted(len(left), 'download')} not finished"
        self._notify(
            f"{names}. {self._keys} shows them; {self._key_for('pull.pause_all')} there continues all of them.",
            what,
            12,
        )

    def look(self) -> None:
        """Show the progress on the current screen."""
        show_bar(self._app, "pull", self._line, ACTION)
        if self._app.screen is self._screen:
            self._screen.look()
        if not self.queue.is_busy:
            self._timer.pause()

    def _line(self, width: int) -> Content | None:
        """The row of the bar: nothing on the screen that shows the whole queue, and nothing once all is over."""
        job = self.queue.running
        if job is None or self._app.screen is self._screen:
            return None
        return bar_line(job, self.queue.waiting, self._keys, width)

    def _chosen(self, job: QueuedPull) -> None:
        self.queue.remove(job)
        self._load(job.path, job.request.label)

    def _ended(self, job: QueuedPull) -> None:
        if job.state == "done":
            self._notify(f"{self._keys}, then Enter, loads it.", f"{job.request.label} is ready", 8)
            searching = search_again(self._app, self._services.catalog)
            self._app.run_worker(searching, group="library", exit_on_error=False, description="look for models")
        elif job.error is not None:
            self._services.logs.add("error", "pull", str(job.error))
            self._notify(str(job.error), f"{job.request.label} could not be fetched", 12, is_error=True)
        self.look()

    def _notify(self, text: str, title: str, seconds: float, *, is_error: bool = False) -> None:
        if self._app.screen is self._screen:
            return
        severity: SeverityLevel = "error" if is_error else "information"
        self._app.notify(clean_line(text), title=clean_line(title), severity=severity, timeout=seconds)

    # Quitting

    def ask_to_leave(self, leave: Callable[[], None]) -> bool:
        """Ask before quitting pauses a download; `leave` is called if the user agrees.

        Returns whether the user is asked: not again while the question is on the screen.
        """
        if not self.queue.is_busy or self._is_asking:
            return False
        self._is_asking = True

        def answered(agreed: bool | None) -> None:
            self._is_asking = bool(agreed)
            if agreed:
                leave()

        job, more = self.queue.running, ""
        state = f" is at {100 * job.progress.fraction:.0f} %" if job is not None and job.progress else " has begun"
        name = f"{clean_line(job.request.label)}{state}" if job is not None else "A download waits"
        if self.queue.waiting:
            more = f" {fmt.counted(self.queue.waiting, 'download')} more would wait."
        text = f"{name}. Quitting pauses it: what was fetched is kept, and the next start offers to go on.{more}"
        self._app.push_screen(ConfirmDialog("A download is running", text, "quits"), answered)
        return True

    async def close(self) -> None:
        """Stop fetching; the downloads go on another time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.queue.shut_down(), LEAVE_SECONDS)
