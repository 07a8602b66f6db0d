"""What is wrong with the machine and what to do, and all its meters."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.getters import query_one

from workbench.core.models import MemoryUse
from workbench.ui.workspace.machine_watch import MachineWatch
from workbench.ui.machinepage import page_lines
from workbench.ui.dialogs.base import Dialog
from workbench.ui.widgets.lines import Lines
from workbench.ui.chat.stats_panel import GAUGE_STYLES


class MachinePage(Lines):
    """The page."""

    COMPONENT_CLASSES: ClassVar[set[str]] = GAUGE_STYLES


class MachineDialog(Dialog[None]):
    """Shows the alarms that hold with what to do, and everything that the meters say, as it changes.

    Args:
        machine: What the meters say.
        memory: Tells what the open model takes; None where none is open.
    """

    CSS_PATH = "dialog.tcss"
    AUTO_FOCUS = "#machine-scroll"

    page = query_one(MachinePage)

    def __init__(self, machine: MachineWatch, memory: Callable[[], MemoryUse | None]) -> None:
        super().__init__()
        self._machine = machine
        self._memory = memory

    def compose(self) -> ComposeResult:
        """A page to scroll through."""
        with Vertical(id="machine-box", classes="dialog-box") as box:
            box.border_title = "What is wrong, and the meters"
            box.border_subtitle = "↑ ↓ scroll · Esc closes"
            with VerticalScroll(id="machine-scroll"):
                yield MachinePage()

    def on_mount(self) -> None:
        """Show it."""
        self.call_after_refresh(self._show)

    def on_resize(self) -> None:
        """Lay out anew."""
        self.call_after_refresh(self._show)

    def on_machine_changed(self) -> None:
        """Show what the meters say now."""
        self._show()

    def _show(self) -> None:
        if self.is_attached and (width := self.page.size.width):
            self.page.set_lines(page_lines(self._machine.view, self._memory(), width))
