"""Quantizations in the making: one at a time, the others wait. It knows no widget; whoever shows it asks it.

It lives as long as the program, so that a job goes on whatever screen the user is on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, QuantizeError, TargetError, WorkbenchError
from workbench.gguf.quantization import QuantizeJob, QuantizeProgress, QuantizeResult
from workbench.ui.services import ModelFiles

OrderState = Literal["waiting", "running", "done", "stopped", "failed"]


@dataclass(slots=True, eq=False)
class Order:
    """One quantization that was asked for."""

    job: QuantizeJob
    model: str
    """The name of the model."""
    state: OrderState = "waiting"
    progress: QuantizeProgress | None = None
    """How far it has come; None before its first tensor."""
    result: QuantizeResult | None = None
    error: WorkbenchError | None = None
    cancel: CancelToken = field(default_factory=CancelToken)

    @property
    def label(self) -> str:
        """What comes out, as models are named."""
        return f"{self.model} {self.job.kind.name}"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in {"done", "stopped", "failed"}


class QuantizeQueue:
    """Makes one quantization after the other.

    Args:
        files: Who makes them.
        on_end: Told of each that ended, in whichever way.
    """

    def __init__(self, files: ModelFiles, on_end: Callable[[Order], None]) -> None:
        self._files = files
        self._on_end = on_end
        self._orders: list[Order] = []
        self._at_work = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def orders(self) -> tuple[Order, ...]:
        """Everything that was asked for, in that order."""
        return tuple(self._orders)

    @property
    def running(self) -> Order | None:
        """What is being made."""
        return next((order for order in self._orders if order.state == "running"), None)

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return sum(order.state == "waiting" for order in self._orders)

    @property
    def is_busy(self) -> bool:
        """Whether anything runs or waits."""
        return any(not order.is_over for order in self._orders)

    def add(self, job: QuantizeJob, model: str) -> Order:
        """Have a quantization made; `run` does it.

        Raises:
            TargetError: Another one that waits or runs is to be written to the same file.
        """
        if any(order.job.target == job.target and not order.is_over for order in self._orders):
            raise TargetError(f"{job.target}: this file is being made already.", "Name another one.")
        order = Order(job, model)
        self._orders.append(order)
        self._idle.clear()
        return order

    async def run(self) -> None:
        """Make everything that waits. A second call while one is at work does nothing."""
        if self._at_work:
            return
        self._at_work = True
        try:
            while (order := next((each for each in self._orders if each.state == "waiting"), None)) is not None:
                await self._make(order)
        finally:
            self._at_work = False
            if not self.is_busy:
                self._idle.set()

    async def _make(self, order: Order) -> None:
        order.state = "running"

        def progress(progress: QuantizeProgress) -> None:
            order.progress = progress

        try:
            order.result = await self._files.quantize(order.job, progress, order.cancel)
            order.state = "done"
        except CancelledError:
            order.state = "stopped"
        except WorkbenchError as error:
            order.state, order.error = "failed", error
        except OSError as error:
            order.state = "failed"
            order.error = QuantizeError(f"{order.job.target}: {error.strerror or error}.", "Try another place.")
        finally:
            if order.state == "running":
                # Whatever ended it, nothing is being made any more.
                order.state = "stopped"
        self._on_end(order)

    def stop(self, order: Order) -> None:
        """Stop one that runs, or take back one that waits. Nothing is left of it."""
        if order.state == "waiting":
            order.state = "stopped"
            self._on_end(order)
            if not self.is_busy:
                self._idle.set()
        elif order.state == "running":
            order.cancel.set()

    def forget(self, order: Order) -> None:
        """List one that is over no longer."""
        if order.is_over and order in self._orders:
            self._orders.remove(order)

    async def shut_down(self) -> None:
        """Stop everything, and wait until nothing of it is left."""
        for order in reversed(self._orders):
            self.stop(order)
        await self._idle.wait()
