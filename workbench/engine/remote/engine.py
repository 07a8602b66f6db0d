"""The engine that is a server: one of its models behind `core.engine.Engine`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from workbench.core.cancel import CancelToken
from workbench.core.engine import Capabilities, Request
from workbench.core.errors import EngineError
from workbench.core.events import Batch, Failed, Finished
from workbench.core.models import EngineInfo
from workbench.engine.outbox import Outbox
from workbench.engine.remote.asking import Asking, Spoken
from workbench.engine.remote.dialect import Dialect
from workbench.engine.remote.http import ServerClient
from workbench.engine.remote.network import Network


class RemoteEngine:
    """One model of a server.

    Args:
        network: The thread that talks to servers.
        client: The connections to this one.
        dialect: How it is spoken to.
        info: What was opened.
        reload: Whether the server takes load parameters.
    """

    def __init__(
        self, network: Network, client: ServerClient, dialect: Dialect, info: EngineInfo, *, reload: bool
    ) -> None:
        self._network = network
        self._client = client
        self._dialect = dialect
        self._info = info
        self._reload = reload
        self._running: set[CancelToken] = set()
        self._closed = False
        self._spoken = Spoken()

    @property
    def info(self) -> EngineInfo:
        """What was opened."""
        return self._info

    @property
    def capabilities(self) -> Capabilities:
        """A server only answers."""
        return Capabilities(score=False, reload=self._reload)

    async def generate(self, request: Request, cancel: CancelToken) -> AsyncIterator[Batch]:
        """Answer `request`. The last event is a `Finished` or a `Failed`."""
        if self._closed:
            error = EngineError("This model has been closed.", "Open it again.")
            yield (Failed(error, time.perf_counter_ns()),)
            return
        outbox = Outbox(asyncio.get_running_loop())
        asking = Asking(self._client, self._dialect, request, cancel, outbox, self._spoken)
        self._running.add(cancel)
        self._network.submit(asking.run())
        ended = False
        try:
            while not ended:
                batch = await outbox.batches.get()
                ended = isinstance(batch[-1], Finished | Failed)
                yield batch
        finally:
            self._running.discard(cancel)
            if not ended:
                cancel.set()

    async def score(self, tokens: Sequence[int]) -> tuple[float, ...]:
        """Servers do not tell.

        Raises:
            EngineError: Always.
        """
        raise EngineError("A server does not tell the probabilities of a text.", "Choose a model file for that.")

    async def close(self) -> None:
        """Stop what streams. The server keeps its model as long as it does for everybody."""
        self._closed = True
        for cancel in tuple(self._running):
            cancel.set()
