"""The child process of the screen that fetches and checks models: neither waits for the screen, nor the screen for it.

Orders are `{"fetch": REQUEST}` and `{"verify": REF, "repair": BOOL}`. It is stopped by closing its standard input.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, PullError, WorkbenchError
from workbench.core.json_reader import read_json
from workbench.core.pulls import FileCheck, Offers, PullProgress, PullRequest, Pulls, RepositoryHit
from workbench.processes import END, ChildProcess, JsonObject, ParentChannel, ProcessEndedError

if TYPE_CHECKING:
    # It imports the HTTP client, which the first paint does not wait for.
    from workbench.library.pull.service import PullService

STOP_SECONDS = 3.0
"""How long a child that is stopped may take to flush what it has."""


class ScreenPulls(Pulls):
    """What the screen asks: registries in this process, and everything long in a child."""

    def __init__(self, service: Callable[[], PullService]) -> None:
        self._service = service

    @override
    async def search(self, words: str) -> list[RepositoryHit]:
        return [*await (await asyncio.to_thread(self._service)).search(words)]

    @override
    async def offers(self, ref: str) -> Offers:
        return await (await asyncio.to_thread(self._service)).offers(ref)

    @override
    async def fetch(
        self, request: PullRequest, on_progress: Callable[[PullProgress], object], cancel: CancelToken
    ) -> str:
        found = await _in_child(on_progress, cancel, fetch=asdict(request))
        return str(found["path"])

    @override
    async def verify(
        self, ref: str, on_progress: Callable[[PullProgress], object], cancel: CancelToken, *, repair: bool
    ) -> FileCheck:
        return read_json(FileCheck, await _in_child(on_progress, cancel, verify=ref, repair=repair))


async def _in_child(on_progress: Callable[[PullProgress], object], cancel: CancelToken, **order: object) -> JsonObject:
    """Let a child carry out an order; gives its result."""
    child = await asyncio.to_thread(ChildProcess, __name__)
    cancel.on_set(partial(child.close, 0))
    result: JsonObject = {}
    try:
        async for event in child.ask(**order):
            if "progress" in event:
                on_progress(read_json(PullProgress, event["progress"]))
            elif "error" in event:
                raise PullError(str(event["error"]["message"]), str(event["error"]["hint"]))
            else:
                result = event
    except ProcessEndedError:
        if cancel.is_set:
            raise CancelledError("Stopped.") from None
        raise PullError(
            "The process that does this ended unexpectedly.", "Try again: what was fetched is kept."
        ) from None
    finally:
        await asyncio.to_thread(child.close, STOP_SECONDS)
        child.kill()
    return result


def main() -> None:
    """Carry out the orders of the screen, until it closes the pipe."""
    finished = threading.Event()
    stop: list[Callable[[], object]] = []

    def on_orphaned() -> None:
        for each in stop:
            each()
        finished.wait(STOP_SECONDS)

    channel = ParentChannel(on_orphaned)
    for order in channel.orders():
        finished.clear()
        try:
            channel.emit(**asyncio.run(_carried_out(order, channel, stop)))
        except asyncio.CancelledError:
            finished.set()
            return
        except WorkbenchError as error:
            channel.emit(error={"message": error.message, "hint": error.hint})
        channel.emit(**END)
        finished.set()


async def _carried_out(order: JsonObject, channel: ParentChannel, stop: list[Callable[[], object]]) -> JsonObject:
    from workbench.cli.composition import compose, find_file
    from workbench.library.pull.check import check_model

    workers = compose()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def cancel() -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(task.cancel)

    stop[:] = [cancel]

    def report(progress: PullProgress) -> None:
        channel.emit(progress=asdict(progress))

    if "fetch" in order:
        result = await workers.pulls.pull(read_json(PullRequest, order["fetch"]), report)
        return {"path": str(result.modelfile or result.path)}
    entry, path = find_file(workers, order["verify"])
    found = await check_model(workers.pulls, path, entry.places, report, repair=order["repair"])
    return asdict(FileCheck(found.ok, (*found.repairs, *found.lines)))


if __name__ == "__main__":
    main()
