"""What is seen outside the screen: the title of the window, and a notification when long work ends out of sight."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import constants
from textual.app import App
from textual.timer import Timer

from workbench.core.config import Config
from workbench.core.units import duration_text
from workbench.ui._compat import send
from workbench.ui.kit import escapes
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.workspace.readings import StatsReadings
from workbench.ui.workspace.workspace import Workspace

if TYPE_CHECKING:
    from workbench.ui.experiment.screen import ExperimentScreen
    from workbench.ui.jobs.background import Background

LONG_SECONDS = 10.0
"""Work that takes as long as this is worth a notification."""
LOOK_SECONDS = 0.5
"""How often the running work is looked at."""

_EXPERIMENTS = {
    "race": "The race", "bench": "The bench", "decision": "The measurement for a decision",
    "evals": "The evaluation", "quality": "The measurement of quality",
    "tune": "The search for the fastest settings",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Work:
    """Work that is going on."""

    key: object
    """Equal only for the same piece of work, and hashable."""
    what: str
    """What it is, as the beginning of a sentence."""
    mode: str = ""
    """The mode whose screen shows it; empty where every screen does."""


class LongWork:
    """Finds out which work has ended, and how long it took, by looking at what runs."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._seen: dict[object, tuple[Work, int]] = {}

    def look(self, running: Iterable[Work]) -> list[tuple[Work, float]]:
        """The long work that has ended since the last look, and its seconds."""
        now = self._now_ns()
        before = self._seen
        self._seen = {work.key: before.get(work.key, (work, now)) for work in running}
        gone = [(work, (now - began) / 1e9) for key, (work, began) in before.items() if key not in self._seen]
        return [(work, seconds) for work, seconds in gone if seconds >= LONG_SECONDS]


def title_of(readings: StatsReadings) -> str:
    """The title of the window: the open model, and its decode speed."""
    if readings.loading:
        return f"loading {readings.loading} · workbench"
    if readings.info is None:
        return "workbench"
    speed = readings.decode_tps
    rate = "" if speed is None else f" · {fmt.rate(speed)} tokens/s"
    return f"{readings.info.model.label}{rate} · workbench"


class Outside:
    """Applies the settings of the config that concern the terminal around the screen, also when they change.

    `config` gives the configuration in force; `experiments` are the screens that compute, by their modes.
    """

    def __init__(
        self,
        app: App[None],
        workspace: Workspace,
        experiments: Mapping[str, ExperimentScreen],
        background: Background,
        config: Callable[[], Config],
    ) -> None:
        self._app = app
        self._workspace = workspace
        self._experiments = experiments
        self._background = background
        self._config = config
        self._long = LongWork(workspace.clocks.now_ns)
        self._timer: Timer | None = None
        self._title = ""
        """The title that was set; empty where the terminal has its own."""

    def start(self) -> None:
        self._timer = timer = self._app.set_interval(LOOK_SECONDS, self.look)
        # An editor that gets the terminal sets titles of its own.
        self._app.app_suspend_signal.subscribe(self._app, lambda _: self.leave(), immediate=True)
        self._app.app_resume_signal.subscribe(self._app, lambda _: timer.resume())
        self.look()

    def leave(self) -> None:
        """Give the terminal its title back."""
        if self._timer is not None:
            self._timer.pause()
        self._set_title("")

    def look(self) -> None:
        """Update the title, and tell of long work that has ended."""
        config = self._config()
        self._app.animation_level = "none" if config.reduced_motion else constants.TEXTUAL_ANIMATIONS
        self._set_title(title_of(self._workspace.readings()) if config.window_title else "")
        for work, seconds in self._long.look(self._works()):
            elsewhere = bool(work.mode) and work.mode != self._app.current_mode
            text = f"{clean_line(work.what)} has ended after {duration_text(seconds)}."
            if elsewhere:
                self._app.notify(text)
            if elsewhere or not self._app.app_focus:
                send(self._app, escapes.notification(text, config.notifications, os.environ))

    def _works(self) -> Iterator[Work]:
        workspace = self._workspace
        if workspace.answering is not None and workspace.model is not None:
            yield Work(workspace.answering, f"The answer of {workspace.model.label}", "chat")
        if workspace.slot.load is not None:
            yield Work(workspace.slot.load, f"The load of {workspace.slot.load.label}", "chat")
        for mode, screen in self._experiments.items():
            if screen.running:
                yield Work(mode, _EXPERIMENTS[mode], mode)
        for job, what in self._background.running():
            yield Work(job, what)

    def _set_title(self, title: str) -> None:
        if title == self._title or not escapes.takes_sequences(os.environ):
            return
        if title:
            send(self._app, ("" if self._title else escapes.SAVE_TITLE) + escapes.title(title))
        else:
            send(self._app, escapes.RESTORE_TITLE)
        self._title = title
