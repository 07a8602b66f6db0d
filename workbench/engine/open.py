"""Choice of the engine for a model reference."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import cached_property
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, EngineHost, ProgressCallback
from workbench.core.engine_hosts import CHILD, PROCESS
from workbench.core.memory import Correction
from workbench.core.models import SCRIPTED, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.core.servers import ServerAddress, is_server_ref
from workbench.core.speculation import draft_model
from workbench.engine.advice import draft_path
from workbench.engine.llama.checkpoints import CheckpointLimits

if TYPE_CHECKING:
    from workbench.core.bench import Bencher
    from workbench.engine.child.seats import EngineSeats
    from workbench.engine.child.values import HostOptions
    from workbench.engine.llama.plan import Machine
    from workbench.engine.remote.host import RemoteHost
    from workbench.lab.quality.logits import LogitHost


class AnyHost(EngineHost):
    """Opens models with the engine that each needs.

    `builds` are the environments that have other builds of llama.cpp, by name; the other arguments are those of
    `LlamaHost` and `RemoteHost`.
    """

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
        builds: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._correction = correction
        self._builds = builds
        self._resolve = resolve
        self._address_of = address_of
        self._state_budget_bytes = state_budget_bytes
        self._checkpoints = checkpoints
        self._memory_guard = memory_guard
        self._typed_control_tokens = typed_control_tokens
        self._remote: RemoteHost | None = None
        self._seats: list[EngineSeats] = []
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

    @cached_property
    def seats(self) -> EngineSeats:
        """The child processes that compute."""
        return self.more_seats()

    def more_seats(self) -> EngineSeats:
        """Child processes beside those of open models, for what may end them."""
        from workbench.engine.child.seats import EngineSeats

        seats = EngineSeats(self._child_options, self._builds)
        self._seats.append(seats)
        return seats

    def bencher(self) -> Bencher:
        """Opens models for timing, in process or where their settings say."""
        from workbench.engine.child.bench import AnyBencher
        from workbench.engine.llama.bench import LlamaBencher

        here = LlamaBencher(self._resolve, memory_guard=self._memory_guard)
        return AnyBencher(here, self._resolve, self.seats)

    def logit_host(self) -> LogitHost:
        """Opens models for their logits, in process or where their settings say."""
        from workbench.engine.child.logits import AnyLogitHost
        from workbench.engine.llama.logits import LlamaLogitHost

        here = LlamaLogitHost(self._resolve, memory_guard=self._memory_guard)
        return AnyLogitHost(here, self._resolve, self.seats)

    def _child_options(self) -> HostOptions:
        from workbench.engine.child.values import HostOptions
        from workbench.engine.llama.runtime import shared_runtime

        return HostOptions(
            state_budget_bytes=self._state_budget_bytes,
            checkpoints=self._checkpoints,
            memory_guard=self._memory_guard,
            typed_control_tokens=self._typed_control_tokens,
            niceness=shared_runtime.niceness,
            log_level=logging.getLogger("workbench").getEffectiveLevel(),
        )

    async def machine(self, engine_host: str) -> Machine:
        """The hardware, as the llama.cpp of `engine_host` sees it."""
        if engine_host == PROCESS:
            from workbench.engine.llama.runtime import current_machine

            return await current_machine()
        from workbench.engine.child.values import ROOT

        process = await self.seats.take(engine_host)
        try:
            found: Machine = await process.call(ROOT, "machine")
            return found
        finally:
            await self.seats.leave(process, keep=True)

    def _host(self, ref: str, engine_host: str) -> EngineHost:
        """The host for a reference, imported when the first model of its kind is opened."""
        kind = SCRIPTED if ref == SCRIPTED else "llama.cpp" if engine_host == PROCESS else CHILD
        if kind not in self._hosts:
            self._hosts[kind] = self._make(kind)
        return self._hosts[kind]

    def _make(self, kind: str) -> EngineHost:
        if kind == SCRIPTED:
            from workbench.engine.scripted import ScriptedHost

            return ScriptedHost()
        if kind == CHILD:
            from workbench.engine.child.host import ChildHost

            return ChildHost(self._resolve, self.seats, self._correction)
        from workbench.engine.llama.host import LlamaHost

        return LlamaHost(
            self._resolve,
            state_budget_bytes=self._state_budget_bytes,
            checkpoints=self._checkpoints,
            memory_guard=self._memory_guard,
            typed_control_tokens=self._typed_control_tokens,
            correction=self._correction,
        )

    @override
    async def open(
        self, ref: str, settings: LoadSettings, on_progress: ProgressCallback, cancel: CancelToken
    ) -> Engine:
        settings = await asyncio.to_thread(self._with_draft, settings)
        # The HTTP client is imported in a thread, so that it does not block the screen.
        host = (
            await asyncio.to_thread(lambda: self.remote)
            if is_server_ref(ref)
            else self._host(ref, settings.engine_host)
        )
        return await host.open(ref, settings, on_progress, cancel)

    def _with_draft(self, settings: LoadSettings) -> LoadSettings:
        """The settings with the file of the draft model that they name."""
        named = draft_model(settings.speculation)
        return replace(settings, speculation=draft_path(self._resolve, named)) if named else settings

    @override
    async def shutdown(self) -> None:
        for host in self._hosts.values():
            await host.shutdown()
        for seats in self._seats:
            # Also those that only measure, or were asked about the hardware.
            await seats.shutdown()
        if self._remote is not None:
            await self._remote.shutdown()
