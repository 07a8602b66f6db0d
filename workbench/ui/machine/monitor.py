"""Following the meters of the machine while the program runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from textual.app import App
from textual.notifications import SeverityLevel

from workbench.core.telemetry import Alarm, ComputeDevice
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.machine.lines import ALARM_SECONDS, MachineChanged
from workbench.ui.workspace.workspace import Workspace

LOOK_SECONDS = 0.5
"""How often the newest sample of the meters is looked for."""


class MachineMonitor:
    """Shows new samples and alarms on the current screen.

    `find_devices` lists the devices that llama.cpp computes on, and runs in a thread. `show_alarm` shows a new alarm in
    the chat. `others_run` is whether anything but the chat loads models or generates tokens.
    """

    def __init__(
        self,
        app: App[None],
        workspace: Workspace,
        find_devices: Callable[[], Sequence[ComputeDevice] | None],
        show_alarm: Callable[[Alarm], None],
        others_run: Callable[[], bool],
    ) -> None:
        self._app = app
        self._workspace = workspace
        self._find_devices = find_devices
        self._show_alarm = show_alarm
        self._others_run = others_run
        self._devices_asked = False

    def start(self) -> None:
        self._workspace.machine.start()
        self._app.set_interval(LOOK_SECONDS, self.look)
        self.look()

    def stop(self) -> None:
        self._workspace.machine.stop()

    def look(self) -> None:
        workspace = self._workspace
        if not workspace.look_at_machine(others_run=self._others_run()):
            return
        for alarm in workspace.machine.take_news():
            self._show_alarm(alarm)
            if self._app.screen.id != "chat":
                severity: SeverityLevel = "information" if alarm.severity == "info" else alarm.severity
                self._app.notify(clean_line(alarm.text), severity=severity, timeout=ALARM_SECONDS)
        self._app.screen.post_message(MachineChanged())
        on_gpu = workspace.machine.view.gpus and workspace.engine is not None
        if on_gpu and not self._devices_asked and not workspace.slot.loading:
            self._devices_asked = True
            work = self._ask_devices()
            self._app.run_worker(work, group="devices", exit_on_error=False, description="find devices")

    async def _ask_devices(self) -> None:
        # Late, and only beside a GPU: it takes a process of its own a second.
        found = await asyncio.to_thread(self._find_devices)
        self._workspace.machine.devices = None if found is None else tuple(found)

    def open_dialog(self) -> None:
        from workbench.ui.machine.dialog import MachineDialog

        if not isinstance(self._app.screen, MachineDialog):
            workspace = self._workspace
            memory = lambda: workspace.engine.info.memory if workspace.engine else None  # noqa: E731
            self._app.push_screen(MachineDialog(workspace.machine, memory))
