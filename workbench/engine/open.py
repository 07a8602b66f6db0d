"""From a model reference to an engine, whichever kind it needs."""

from __future__ import annotations

from collections.abc import Callable

from workbench.core.cancel import CancelToken
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.core.ports import Engine, EngineHost, ProgressCallback

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
        self._resolve = resolve
        self._state_budget_bytes = state_budget_bytes
        self._memory_guard = memory_guard
        self._hosts: dict[bool, EngineHost] = {}

    def _host(self, scripted: bool) -> EngineHost:
        """The host of one kind of engine, imported when the first model of its kind is opened."""
        if scripted not in self._hosts:
            self._hosts[scripted] = self._scripted_host() if scripted else self._llama_host()
        return self._hosts[scripted]

    def _llama_host(self) -> EngineHost:
        from workbench.engine.llama.host import LlamaHost

        return LlamaHost(self._resolve, state_budget_bytes=self._state_budget_bytes, memory_guard=self._memory_guard)

    def _scripted_host(self) -> EngineHost:
        from workbench.engine.scripted import ScriptedHost

        return ScriptedHost()

    async def open(
        self, ref: str, settings: LoadSettings, on_progress: ProgressCallback, cancel: CancelToken
    ) -> Engine:
        """Open the model that `ref` names.

        Raises:
            WorkbenchError: It cannot be opened; CancelledError when `cancel` was set.
        """
        return await self._host(ref == SCRIPTED).open(ref, settings, on_progress, cancel)

    async def shutdown(self) -> None:
        """Close whatever is open."""
        for host in self._hosts.values():
            await host.shutdown()
