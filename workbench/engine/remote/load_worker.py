"""The child process that acts as many users of a server, so that drawing the screen does not disturb the measurement.

Orders and the events that answer them:
- `{"open": REF, "key": KEY or null}`: `{"progress": FRACTION}` any number of times, then `{"target": …}`;
- `{"level": …}`: a `{"sample": …}` for each request as it ends, then `{"cost": …}`;
- `{"error": {kind, message, hint}}` in place of either, where it fails.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import WorkbenchError
from workbench.core.events import Event, Failed, Finished, Token
from workbench.core.metrics import percentile
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.secret import Secret
from workbench.core.servers import ServerAddress, split_ref
from workbench.core.sweep import LoadCost, LoadLevel, LoadSample, LoadTarget
from workbench.engine.outbox import Outbox
from workbench.engine.remote.dialect import Dialect, Question, model_id
from workbench.engine.remote.generation import PromptHistory, RemoteGeneration
from workbench.engine.remote.host import open_model
from workbench.engine.remote.http import ServerClient, Timeouts
from workbench.engine.remote.problems import plain
from workbench.processes import END, JsonObject, ParentChannel

LOOK_EVERY_S = 0.02
"""The interval at which the lag of the event loop is measured."""
IGNORE_EOS = frozenset({"vLLM", "llama-server"})
"""The servers that can ignore the end of an answer, so that every answer has the same length."""


class Stamps(Outbox):
    """Records when the text of an answer arrived, and delivers nothing."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.end: Finished | Failed | None = None

    @override
    def put(self, event: Event, *, at_once: bool = False) -> None:
        if isinstance(event, Token):
            if event.text:
                self.first_ns = event.at_ns if self.first_ns is None else self.first_ns
                self.last_ns = event.at_ns
        elif isinstance(event, Finished | Failed):
            self.end = event


class SweepDialect:
    """A dialect without options that make answers differ in length or cost the client time."""

    def __init__(self, dialect: Dialect, kind: str) -> None:
        self._dialect = dialect
        self._ignores_eos = kind in IGNORE_EOS

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of the dialect
        return getattr(self._dialect, name)

    def question(self, request: Request, seed: int) -> Question:
        """Express a request in the API."""
        question = self._dialect.question(request, seed)
        body = dict(question.body)
        options = body.get("stream_options")
        if isinstance(options, dict):
            body["stream_options"] = {key: value for key, value in options.items() if key == "include_usage"}
        body.pop("return_progress", None)
        if self._ignores_eos:
            body["ignore_eos"] = True
        return replace(question, body=body)


class Users:
    """Concurrent users, who report each sample as it ends."""

    def __init__(self, client: ServerClient, dialect: Dialect, channel: ParentChannel) -> None:
        self._client = client
        self._dialect = dialect
        self._channel = channel

    async def run(self, level: LoadLevel) -> LoadCost:
        """Send every prompt of a level."""
        lags: list[float] = []
        watching = asyncio.create_task(_watch(lags))
        began, cpu = time.perf_counter_ns(), time.process_time_ns()
        prompts = iter(level.prompts)
        try:
            await asyncio.gather(*(self._user(prompts, level, began) for _ in range(level.concurrency)))
        finally:
            watching.cancel()
        cost_ns = time.process_time_ns() - cpu
        return LoadCost(time.perf_counter_ns() - began, cost_ns, round(percentile(lags, 0.95) or 0))

    async def _user(self, prompts: Iterator[str], level: LoadLevel, began_ns: int) -> None:
        for prompt in prompts:
            self._channel.emit(sample=asdict(await self._ask(prompt, level, began_ns)))
            if time.perf_counter_ns() - began_ns >= level.seconds * 1e9:
                return

    async def _ask(self, prompt: str, level: LoadLevel, began_ns: int) -> LoadSample:
        # With greedy sampling an answer may end early or loop.
        sampling = Sampling(num_predict=level.n_gen, temperature=1.0, top_p=1.0)
        request = Request(messages=(Message("user", prompt),), sampling=sampling)
        stamps, cancel = Stamps(), CancelToken()
        loop = asyncio.get_running_loop()
        sent = time.perf_counter_ns()
        left_s = 2 * level.seconds - (sent - began_ns) / 1e9
        patience = loop.call_later(max(0.0, left_s), cancel.set)
        try:
            # In a task of its own, because cancelling it cancels its task.
            await asyncio.create_task(
                RemoteGeneration(self._client, self._dialect, request, cancel, stamps, PromptHistory()).run()
            )
        finally:
            patience.cancel()
        end, error = stamps.end, ""
        if end is None or (isinstance(end, Finished) and cancel.is_set):
            error = f"it took longer than {max(0.0, round(left_s, 1)):g} s"
        elif isinstance(end, Failed):
            error = end.error.message
        sample = LoadSample(sent - began_ns, time.perf_counter_ns() - began_ns, error=error)
        if stamps.first_ns is not None and stamps.last_ns is not None:
            sample = replace(sample, first_ns=stamps.first_ns - began_ns, last_ns=stamps.last_ns - began_ns)
        if isinstance(end, Finished):
            usage = end.usage
            sample = replace(
                sample,
                prompt_tokens=None if usage.estimated else usage.prompt_tokens,
                cached_tokens=usage.cached_tokens,
                completion_tokens=usage.completion_tokens,
                estimated=usage.estimated,
            )
        return sample


async def _watch(lags: list[float]) -> None:
    """Record how much later than asked this loop wakes up, in nanoseconds."""
    while True:
        asked = time.perf_counter_ns()
        await asyncio.sleep(LOOK_EVERY_S)
        lags.append(max(0.0, time.perf_counter_ns() - asked - LOOK_EVERY_S * 1e9))


class Worker:
    """Carries out orders."""

    def __init__(self, channel: ParentChannel) -> None:
        self._channel = channel
        self._users: Users | None = None

    async def run(self) -> None:
        """Carry out one order after the other, until there are no more."""
        while (order := await self._channel.next_order()) is not None:
            try:
                await (self._open(order) if "open" in order else self._level(order["level"]))
            except WorkbenchError as error:
                self._channel.emit(error={"kind": error.kind, "message": error.message, "hint": error.hint})
            self._channel.emit(**END)

    async def _level(self, level: JsonObject) -> None:
        assert self._users is not None
        cost = await self._users.run(LoadLevel(**{**level, "prompts": tuple(level["prompts"])}))
        self._channel.emit(cost=asdict(cost))

    async def _open(self, order: JsonObject) -> None:
        url, name = split_ref(order["open"])
        key = None if order["key"] is None else Secret(order["key"])
        client = ServerClient(ServerAddress(url, key), Timeouts())
        server, dialect, opened = await open_model(
            client, name, LoadSettings(), lambda fraction: self._channel.emit(progress=fraction)
        )
        self._users = Users(client, SweepDialect(dialect, server.kind), self._channel)
        version = None if server.version is None else plain(server.version, client.address)
        target = LoadTarget(url, server.kind, plain(model_id(opened.model), client.address), version)
        self._channel.emit(target=asdict(target))


async def _main() -> None:
    # Objects that exist by now stay: collecting them again and again would delay what is measured.
    gc.freeze()
    await Worker(ParentChannel()).run()


if __name__ == "__main__":
    asyncio.run(_main())
