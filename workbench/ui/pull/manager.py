"""Fetches models while the user is on any screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.app import App
from textual.content import Content

from workbench.core.pulls import PullRequest
from workbench.ui.job_queue.manager import JobKind, JobManager
from workbench.ui.kit import figures as fmt
from workbench.ui.pull.lines import bar_line
from workbench.ui.pull.queue import QueuedPull, pull_queue, take_over
from workbench.ui.pull.screen import PullScreen
from workbench.ui.services import Services

KIND = JobKind(
    "pull", "download", "app.pull", "fetched",
    "Quitting pauses it: what was fetched is kept, and the next start offers to go on.",
)  # fmt: skip


class PullManager:
    """Fetches the models of a program.

    `key_for` gives the key of a binding, `load` opens a model in the chat: its reference and its label.
    """

    def __init__(
        self, app: App[None], services: Services, key_for: Callable[[str], str], load: Callable[[str, str], None]
    ) -> None:
        assert services.pulls is not None
        assert services.pull_book is not None
        self._app = app
        self._key_for = key_for
        self._load = load
        pulls = services.pulls()
        self.queue = pull_queue(pulls, services.pull_book(), self._ended)
        self._screen = PullScreen(pulls, self.queue, key_for, self._run, self._chosen)
        self.jobs = JobManager(app, services, KIND, self.queue, self)

    @property
    def _keys(self) -> str:
        """The keys that lead to the screen."""
        return f"{self._key_for('app.models')} {self._key_for('models.pull')}"

    def is_shown(self) -> bool:
        return self._app.screen is self._screen

    def look(self) -> None:
        self._screen.look()

    def show(self, query: str = "") -> None:
        """Open the screen; `query` is a name to search for, or a reference, which is asked for at once."""
        if not self._app.is_screen_installed(self._screen):
            self._app.install_screen(self._screen, "pull")
        if not self.is_shown():
            self._app.push_screen(self._screen)
        if query:
            self._screen.ask(query)

    def _run(self) -> None:
        self.jobs.run()

    def offer_unfinished(self, left: Sequence[PullRequest]) -> None:
        """Queue the downloads that an earlier run left, and say so."""
        take_over(self.queue, left)
        names = ", ".join(request.label for request in left[:3]) + (", …" if len(left) > 3 else "")
        how = f"{self._keys} shows them; {self._key_for('pull.pause_all')} there continues all of them."
        self.jobs.notify(f"{names}. {how}", f"{fmt.counted(len(left), 'download')} not finished", 12)

    def line(self, width: int) -> Content | None:
        """The row of the bar: nothing on the screen that shows the whole queue, and nothing once all is over."""
        job = self.queue.running
        return None if job is None or self.is_shown() else bar_line(job, self.queue.waiting, self._keys, width)

    def _chosen(self, job: QueuedPull) -> None:
        self.queue.remove(job)
        self._load(job.result or "", job.label)

    def _ended(self, job: QueuedPull) -> None:
        self.jobs.report(job, f"{self._keys}, then Enter, loads it.")
