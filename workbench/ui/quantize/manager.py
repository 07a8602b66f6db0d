"""Where quantizations are made while the user is elsewhere: it shows how far they are, and tells when one is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, runtime_checkable

from textual.app import App
from textual.screen import ModalScreen, Screen

from workbench.core.errors import TargetError, WorkbenchError
from workbench.core.models import LibraryView, ModelEntry, variants_of
from workbench.gguf.quantization import QuantizeJob
from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.quantize.dialog import QuantizeDialog
from workbench.ui.quantize.job_bar import JobBar, duration
from workbench.ui.quantize.jobs_dialog import JobsDialog
from workbench.ui.quantize.queue import Order, QuantizeQueue
from workbench.ui.services import Services
from workbench.ui.widgets.keybar import KeyBar

LOOK_SECONDS = 0.25
LEAVE_SECONDS = 5.0
"""How long quitting waits for a job to stop."""


@runtime_checkable
class ShowsLibrary(Protocol):
    """A screen that lists models."""

    def library_changed(self, view: LibraryView) -> None:
        """Show what another search has found."""


class Workshop:
    """Makes quantizations for a program.

    Args:
        app: The program.
        services: What it works with.
        key: The key that shows the jobs.
        load: Loads a model by its reference and its label.
    """

    def __init__(self, app: App[None], services: Services, key: str, load: Callable[[str, str], None]) -> None:
        self._app = app
        self._services = services
        self._key = key
        self._load = load
        self.queue = QuantizeQueue(services.files, self._ended)
        self._timer = app.set_interval(LOOK_SECONDS, self.look, pause=True)
        self._asked = False

    def choose_type(self, model: ModelEntry) -> None:
        """Let the user choose a quantization of `model` to make."""
        self._app.run_worker(self._choose_type(model), group="library", exit_on_error=False, description="list models")

    async def _choose_type(self, model: ModelEntry) -> None:
        try:
            models = await self._services.catalog.models()
        except WorkbenchError:
            # The model can be quantized without the list.
            models = ()
        self._app.push_screen(QuantizeDialog(self._services, model, variants_of(model, models)))

    def begin(self, job: QuantizeJob, model: str) -> None:
        """Have a quantization made."""
        for order in self.queue.orders:
            # What went wrong or was stopped is out of date by now; what is ready can still be loaded.
            if order.state in {"failed", "stopped"}:
                self.queue.forget(order)
        try:
            self.queue.add(job, model)
        except TargetError as error:
            self._tell(str(error), "It is not begun", "error")
            return
        self._app.run_worker(self.queue.run(), group="quantize", exit_on_error=False, description="quantize")
        self._timer.resume()
        self.look()

    def look(self) -> None:
        """Show how far it is on the screen that the user is on."""
        screen = self._base()
        if screen is None:
            return
        bars = screen.query_children(JobBar)
        if not bars and self.queue.orders:
            keybars = screen.query_children(KeyBar)
            screen.mount(
                JobBar(self.queue, self._key.replace("Ctrl+", "^")), before=keybars.first() if keybars else None
            )
        for bar in bars:
            if self.queue.orders:
                bar.look()
            else:
                bar.remove()
        if isinstance(self._app.screen, JobsDialog):
            self._app.screen.look()
        if not self.queue.is_busy and not self.queue.orders:
            self._timer.pause()

    def _base(self) -> Screen[object] | None:
        """The screen below all dialogs."""
        return next((each for each in reversed(self._app.screen_stack) if not isinstance(each, ModalScreen)), None)

    def show(self) -> None:
        """Show all jobs."""
        if not isinstance(self._app.screen, JobsDialog):
            self._app.push_screen(JobsDialog(self.queue), self._chosen)

    def _chosen(self, order: Order | None) -> None:
        """A job was chosen: load what it made."""
        if order is not None and order.result is not None:
            self.queue.forget(order)
            self._load(str(order.result.path), order.label)
        for ended in self.queue.orders:
            # The user has seen how these ended.
            if ended.state in {"failed", "stopped"}:
                self.queue.forget(ended)
        self.look()

    def _ended(self, order: Order) -> None:
        looking = isinstance(self._app.screen, JobsDialog)
        if order.result is not None:
            result = order.result
            text = f"{fmt.size(result.size_bytes)}, {result.bits_per_weight:.2f} bits, in {duration(result.seconds)}."
            if not looking:
                self._tell(f"{text} {self._key}, then Enter, loads it.", f"{order.label} is made", "", 8)
            self._app.run_worker(self._search(), group="library", exit_on_error=False, description="search for models")
        elif order.error is not None:
            self._services.logs.add("error", "quantize", str(order.error))
            if not looking:
                self._tell(str(order.error), f"{order.label} could not be made", "error", 12)
        self.look()

    def _tell(self, text: str, title: str, severity: str, seconds: float = 6) -> None:
        self._app.notify(
            clean_line(text),
            title=clean_line(title),
            severity="error" if severity == "error" else "information",
            timeout=seconds,
            markup=False,
        )

    async def _search(self) -> None:
        """Search for models again, so that what was made is among them."""
        with suppress(WorkbenchError):
            async for view in self._services.catalog.watch(again=True):
                for screen in self._app.screen_stack:
                    if isinstance(screen, ShowsLibrary):
                        screen.library_changed(view)

    # The way out

    def ask_to_leave(self, leave: Callable[[], None]) -> bool:
        """Ask before something that runs is stopped.

        Args:
            leave: What is done if the user agrees.

        Returns:
            Whether the user is asked. Who wants to leave once more while being asked is not asked again.
        """
        running = self.queue.running
        if not self.queue.is_busy or self._asked:
            return False
        self._asked = True

        def answered(agreed: bool | None) -> None:
            self._asked = False
            if agreed:
                self._asked = True
                leave()

        progress = running.progress if running else None
        how_far = f" is at {100 * progress.fraction:.0f} %" if progress else " has just begun"
        name = f"{running.label}{how_far}" if running else "A quantization waits"
        more = f", and {self.queue.waiting} more would not be made" if running and self.queue.waiting else ""
        text = f"{clean_line(name)}. Quitting stops it and leaves nothing of it behind{more}."
        self._app.push_screen(ConfirmDialog("A quantization is being made", text, "quits"), answered)
        return True

    async def close(self) -> None:
        """Stop everything. Nothing is left of what is not finished."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.queue.shut_down(), LEAVE_SECONDS)
