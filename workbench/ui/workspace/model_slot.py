"""The open model, and how another one replaces it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, EngineHost
from workbench.core.errors import MemoryShortError, WorkbenchError
from workbench.core.parameters import LoadSettings


@dataclass(slots=True, eq=False)
class Load:
    """A running load."""

    ref: str
    label: str
    cancel: CancelToken = field(default_factory=CancelToken)
    fraction: float = 0.0
    """How far it is, 0 to 1; written by the thread that loads."""

    def progress(self, fraction: float) -> None:
        """Set how far it is, from any thread."""
        self.fraction = fraction


class ModelSlot:
    """Holds one open model; a new one replaces it once it works."""

    def __init__(self, host: EngineHost) -> None:
        self._host = host
        self.engine: Engine | None = None
        self.asked: LoadSettings | None = None
        """The settings that were requested for the open model."""
        self.load: Load | None = None
        """The running load; None where none runs."""

    @property
    def loading(self) -> bool:
        return self.load is not None

    def needs_reload(self, settings: LoadSettings) -> bool:
        """Whether the open model must be loaded again for `settings` to apply."""
        engine = self.engine
        return engine is not None and engine.capabilities.reload and settings != self.asked

    async def open(self, ref: str, label: str, settings: LoadSettings) -> Engine:
        """Load the model `ref` and close the one before it.

        The old model stays open until the new one works, so that a failed load costs nothing. If both do not fit in
        memory, the old one is closed first, and opened again if the new one fails. A model on a GPU is always closed
        first: beside it, the new one would silently get fewer layers on the GPU.

        Raises:
            WorkbenchError: It could not be opened. The old model is open again, where that was possible.
        """
        load = self.load = Load(ref, label)
        try:
            old = self.engine
            if old is not None and not old.info.gpu_layers:
                with suppress(MemoryShortError):
                    engine = await self._host.open(ref, settings, load.progress, load.cancel)
                    await old.close()
                    return self._take(engine, settings)
            return await self._replace(load, settings)
        finally:
            self.load = None

    async def _replace(self, load: Load, settings: LoadSettings) -> Engine:
        old, old_settings = self.engine, self.asked
        if old is not None:
            self.engine = None
            await old.close()
        try:
            engine = await self._host.open(load.ref, settings, load.progress, load.cancel)
        except WorkbenchError:
            if old is not None and old_settings is not None:
                # If the old one cannot be opened again either, the first failure is the one to report.
                with suppress(WorkbenchError):
                    again = await self._host.open(old.info.model.ref, old_settings, load.progress, CancelToken())
                    self._take(again, old_settings)
            raise
        return self._take(engine, settings)

    def _take(self, engine: Engine, settings: LoadSettings) -> Engine:
        self.engine, self.asked = engine, settings
        return engine

    def stop(self) -> None:
        if self.load is not None:
            self.load.cancel.set()
