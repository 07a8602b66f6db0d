"""Running the measurement that a decision lacks, on the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from workbench.core.errors import WorkbenchError
from workbench.lab.decision.contender import Need
from workbench.lab.decision.evidence import Evidence
from workbench.lab.decision.measure import Measurement
from workbench.lab.decision.plans import plans_of
from workbench.lab.quality.plan import ScoredText, scored_text
from workbench.ui.dialogs.choose import ChooseDialog
from workbench.ui.experiment.screen import ExperimentScreen
from workbench.ui.widgets.worker_errors import WorkerHandle

LAST_SESSIONS = (10, 50)
"""How many conversations are offered as a text."""


class Measuring:
    """Starts, shows and stops one measurement at a time."""

    def __init__(self, screen: ExperimentScreen, changed: Callable[[], None], ended: Callable[[], None]) -> None:
        self._screen = screen
        self._changed = changed
        self._ended = ended
        self._work = WorkerHandle(screen, "measure")
        self._measurement: Measurement | None = None
        self.text = ""
        """How far it is; empty while nothing runs."""

    @property
    def running(self) -> bool:
        return self._work.running

    def begin(self, need: Need, evidence: Evidence) -> None:
        """Measure what is missing; ask for a text where one is needed and none is known."""
        known = evidence.quality.options if evidence.quality is not None else ()
        more = any(evidence.of(key).figure("kld") is not None for key in need.contenders)
        if need.kind != "quality" or (known and not more):
            self._work.start(self._measure(need, evidence, known))
            return
        counts = [f"The last {count} conversations" for count in LAST_SESSIONS]

        def chosen(found: int | str | None) -> None:
            if found is not None:
                options = ("--text", found) if isinstance(found, str) else ("--sessions", str(LAST_SESSIONS[found]))
                self._work.start(self._measure(need, evidence, options))

        title = "A longer text would tell" if more else "On which text are they compared?"
        self._screen.app.push_screen(ChooseDialog(title, counts, "the path of a text file"), chosen)

    async def _measure(self, need: Need, evidence: Evidence, options: tuple[str, ...]) -> None:
        services, tools = self._screen.services, self._screen.services.decision
        if tools is None:
            return
        try:
            text: ScoredText | None = None
            if need.kind == "quality" and len(options) == 2:
                text = await scored_text(options[0], options[1], services.sessions)
            plans = await asyncio.to_thread(plans_of, need, evidence, text)
            self._measurement = Measurement(plans, tools, services.engines, self._show)
            await self._measurement.run()
        except WorkbenchError as error:
            self._screen.say(str(error), 12.0)
        finally:
            self._measurement, self.text = None, ""
        self._screen.call_later(self._ended)

    def _show(self, text: str) -> None:
        self.text = text
        self._changed()

    def stop(self) -> None:
        if self._measurement is not None:
            self._measurement.stop()

    async def leave(self) -> None:
        """Stop, and wait until the memory is released."""
        await self._work.end(self._measurement)
