"""The remote engine: one model of a server behind `core.engine.Engine`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.engine import Capabilities, Engine, Request
from workbench.core.errors import EngineError
from workbench.core.events import Batch
from workbench.core.models import EngineInfo
from workbench.engine.formats.verdict import judged
from workbench.engine.outbox import Outbox, RunningAnswers
from workbench.engine.remote.dialect import Dialect
from workbench.engine.remote.generation import PromptHistory, RemoteGeneration
from workbench.engine.remote.http import ServerClient
from workbench.engine.remote.network import shared_network


class RemoteEngine(Engine):
    """One model of a server. `reload` says whether the server takes load parameters.

    `on_closed` is called when it is closed.
    """

    def __init__(
        self,
        client: ServerClient,
        dialect: Dialect,
        info: EngineInfo,
        on_closed: Callable[[RemoteEngine], object],
        *,
        reload: bool,
    ) -> None:
        self._client = client
        self._dialect = dialect
        self.info = info
        self.capabilities = Capabilities(score=False, reload=reload)
        self._on_closed = on_closed
        self._answers = RunningAnswers()
        self._history = PromptHistory()

    @override
    def generate(self, request: Request, cancel: CancelToken) -> AsyncIterator[Batch]:
        def start(outbox: Outbox) -> None:
            asking = RemoteGeneration(
                self._client, self._dialect, request, cancel, outbox, self._history, self.info.settings.num_ctx
            )
            shared_network.submit(asking.run())

        return judged(self._answers.stream(start, cancel), request)

    @override
    async def score(self, tokens: Sequence[int]) -> tuple[float, ...]:
        raise EngineError("A server does not report the probabilities of a text.", "Choose a model file for that.")

    @override
    async def rank(self, request: Request, choices: Sequence[str], cancel: CancelToken) -> tuple[float, ...]:
        raise EngineError("A server does not report the probabilities of choices.", "Choose a model file for that.")

    @override
    async def check_tools(self) -> None:
        raise EngineError("Tools are not passed on to another server.", "Ask that server itself.")

    @override
    async def tokens(self, request: Request) -> tuple[int, ...]:
        raise EngineError("A server does not report the tokens of a conversation.", "Choose a model file for that.")

    @override
    async def close(self) -> None:
        # The server keeps its model as long as it does for all clients.
        self._answers.close()
        self._on_closed(self)
