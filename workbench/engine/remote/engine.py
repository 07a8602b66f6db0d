"""The remote engine: one model of a server behind `core.engine.Engine`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.engine import Capabilities, Engine, Request
from workbench.core.errors import EngineError
from workbench.core.events import Batch
from workbench.core.models import EngineInfo
from workbench.engine.outbox import Outbox, RunningAnswers
from workbench.engine.remote.dialect import Dialect
from workbench.engine.remote.generation import PromptHistory, RemoteGeneration
from workbench.engine.remote.http import ServerClient
from workbench.engine.remote.network import Network


class RemoteEngine(Engine):
    """One model of a server.

    Args:
        network: The thread that talks to servers.
        client: The connections to this one.
        dialect: Its API.
        info: The opened model.
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
        self._answers = RunningAnswers()
        self._history = PromptHistory()

    @property
    @override
    def info(self) -> EngineInfo:
        return self._info

    @property
    @override
    def capabilities(self) -> Capabilities:
        return Capabilities(score=False, reload=self._reload)

    @override
    def generate(self, request: Request, cancel: CancelToken) -> AsyncIterator[Batch]:
        def start(outbox: Outbox) -> None:
            asking = RemoteGeneration(self._client, self._dialect, request, cancel, outbox, self._history)
            self._network.submit(asking.run())

        return self._answers.stream(start, cancel)

    @override
    async def score(self, tokens: Sequence[int]) -> tuple[float, ...]:
        raise EngineError("A server does not report the probabilities of a text.", "Choose a model file for that.")

    @override
    async def close(self) -> None:
        # The server keeps its model as long as it does for all clients.
        self._answers.close()
