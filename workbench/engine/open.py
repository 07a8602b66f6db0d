"""From a model reference to an engine, whichever kind it needs."""

from __future__ import annotations

from collections.abc import Callable

from workbench.core.cancel import CancelToken
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.core.ports import Engine, EngineHost, ProgressCallback
from workbench.engine.llama.host import LlamaHost
from workbench.engine.scripted import ScriptedHost

SCRIPTED = "scripted"
"""The reference of the engine that needs no model."""


class LocalHost:
    """Opens models with the engine that each needs.

    Args:
        resolve: Finds the model that a reference names; raises a WorkbenchError.
        state_budget_bytes: Memory for what closed models knew of the conversation.
        memory_guard: Whether a model that cannot fit in memory is refused before it is loaded.
    """

    def __init__(self, resolve: Callable[[str], ModelEntry], *, state_budget_bytes: int, memory_guard: bool) -> None:
        self._llama = LlamaHost(resolve, state_budget_bytes=state_budget_bytes, memory_guard=memory_guard)
        self._scripted = ScriptedHost()

    async def open(
        self, ref: str, settings: LoadSettings, on_progress: ProgressCallback, cancel: CancelToken
    ) -> Engine:
        """Open the model that `ref` names.

        Raises:
            WorkbenchError: It cannot be opened; CancelledError when `cancel` was set.
        """
        host: EngineHost = self._scripted if ref == SCRIPTED else self._llama
        return await host.open(ref, settings, on_progress, cancel)

    async def shutdown(self) -> None:
        """Close whatever is open."""
        await self._llama.shutdown()
        await self._scripted.shutdown()
