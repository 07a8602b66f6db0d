"""Choice of the engine for a model reference."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from threading import Lock
from typing import TYPE_CHECKING

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, EngineHost, ProgressCallback
from workbench.core.memory import Correction
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.core.servers import ServerAddress, is_server_ref
from workbench.engine.llama.checkpoints import CheckpointLimits

if TYPE_CHECKING:
    from workbench.engine.remote.host import RemoteHost

SCRIPTED = "scripted"
"""The reference of the scripted engine."""


class AnyHost(EngineHost):
    """Opens models with the engine that each needs. The arguments are those of `LlamaHost` and `RemoteHost`."""

    def __init__(
        self,
        resolve: Callable[[str], ModelEntry],
        *,
        state_budget_bytes: int,
        checkpoints: CheckpointLimits = CheckpointLimits(),  # noqa: B008 - immutable
        memory_guard: bool,
        typed_control_tokens: bool = False,
        address_of: Callable[[str], ServerAddress] = ServerAddress,
        correction: Callable[[str], Awaitable[Correction]] | None = None,
    ) -> None:
        self._correction = correction
        self._resolve = resolve
        self._address_of = address_of
        self._state_budget_bytes = state_budget_bytes
        self._checkpoints = checkpoints
        self._memory_guard = memory_guard
        self._typed_control_tokens = typed_control_tokens
        self._remote: RemoteHost | None = None
        self._making = Lock()
        self._hosts: dict[str, EngineHost] = {}

    @property
    def remote(self) -> RemoteHost:
        """Opens the models of servers."""
        with self._making:
            if self._remote is None:
                from workbench.engine.remote.host import RemoteHost

                self._remote = RemoteHost(self._address_of)
            return self._remote

    def _host(self, ref: str) -> EngineHost:
        """The host for a reference, imported when the first model of its kind is opened."""
        kind = SCRIPTED if ref == SCRIPTED else "llama.cpp"
        if kind not in self._hosts:
            if kind == SCRIPTED:
                from workbench.engine.scripted import ScriptedHost

                self._hosts[kind] = ScriptedHost()
            else:
                from workbench.engine.llama.host import LlamaHost

                self._hosts[kind] = LlamaHost(
                    self._resolve,
                    state_budget_bytes=self._state_budget_bytes,
                    checkpoints=self._checkpoints,
                    memory_guard=self._memory_guard,
                    typed_control_tokens=self._typed_control_tokens,
                    correction=self._correction,
                )
        return self._hosts[kind]

    @override
    async def open(
        self, ref: str, settings: LoadSettings, on_progress: ProgressCallback, cancel: CancelToken
    ) -> Engine:
        # The HTTP client is imported in a thread, so that it does not block the screen.
        host = await asyncio.to_thread(lambda: self.remote) if is_server_ref(ref) else self._host(ref)
        return await host.open(ref, settings, on_progress, cancel)

    @override
    async def shutdown(self) -> None:
        for host in self._hosts.values():
            await host.shutdown()
        if self._remote is not None:
            await self._remote.shutdown()
