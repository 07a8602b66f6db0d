"""What the jobs of tuning have in common: progress, an end that never raises, and a stop that keeps what is known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from workbench.core.errors import CancelledError, WorkbenchError
from workbench.lab.bench.bench import BenchProgress
from workbench.lab.stoppable import Stoppable


class TuningJob(Stoppable, ABC):
    """A measurement that can be observed while it runs.

    `on_change` is called in the event loop when the progress or the results have changed.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        super().__init__()
        self._on_change = on_change
        self.progress: BenchProgress | None = None
        """None before it began and after it ended."""
        self.running = False
        self.error: WorkbenchError | None = None
        """Why it could not be done."""

    async def run(self) -> None:
        """Measure everything, or until `stop`; `error` says why it could not be done."""
        self.running = True
        try:
            await self._work()
        except CancelledError:
            pass
        except WorkbenchError as error:
            self.error = error
        finally:
            self.running, self.progress = False, None
            self._on_change()

    @abstractmethod
    async def _work(self) -> None:
        """Do the work; raises a WorkbenchError where it cannot be done."""
