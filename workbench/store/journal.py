"""The record of a running session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict
from typing import TypeVar

from workbench.core.chat import Message
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.session import Session
from workbench.store.records import FORMAT, encode, message_values, settings_values
from workbench.store.session_file import SessionFile

T = TypeVar("T")


async def in_thread(thread: Executor, work: Callable[[], T]) -> T:
    """What `work` gives in `thread`.

    The work is done even where the one who waits for it is cancelled: words that were handed over are not dropped.
    """
    future = asyncio.wrap_future(thread.submit(work))
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(future)


class FileJournal:
    """Writes one session as it happens; see `core.ports.Journal`.

    Args:
        file: Where to write.
        thread: The one thread that does all writing, so that records reach the disk in the order of the calls.
        clock: Seconds since the epoch.
        resumed: What the file held already, where the session is an old one.
        open_end: Whether that old session lacks its end.
    """

    def __init__(
        self,
        file: SessionFile,
        thread: Executor,
        clock: Callable[[], float],
        resumed: Session | None = None,
        *,
        open_end: bool = False,
    ) -> None:
        self._file = file
        self._thread = thread
        self._clock = clock
        self._settings: tuple[str, Sampling, LoadSettings] | None = None
        self._model: tuple[str, str] | None = None
        self._partial: tuple[str, Message] | None = None
        self._held: dict[str, bytes] = {}
        """Records that wait for the first message, the newest of each kind."""
        self._started = resumed is not None
        self._needs_end = open_end
        self._began_at = clock()
        self._opening: list[bytes] = []
        if resumed is not None:
            self._settings = (resumed.system, resumed.sampling, resumed.load)
            self._model = (resumed.model, resumed.model_path)
            self._opening.append(encode("resumed", self._began_at))

    @property
    def id(self) -> str:
        """The id of the session."""
        return self._file.id

    async def settings(self, system: str, sampling: Sampling, load: LoadSettings) -> None:
        """Record the settings that hold from here on."""
        if self._settings != (system, sampling, load):
            self._settings = (system, sampling, load)
            record = encode("settings", self._clock(), system=system, **settings_values(sampling, load))
            await self._hold_or_write("settings", record)

    async def model(self, entry: ModelEntry) -> None:
        """Record the model that answers from here on."""
        if self._model != (entry.ref, entry.path or ""):
            self._model = (entry.ref, entry.path or "")
            await self._hold_or_write("model", encode("model", self._clock(), entry=asdict(entry)))

    async def message(self, message: Message) -> None:
        """Record what the user wrote."""
        self._partial = None
        await self._write(encode("message", self._clock(), **message_values(message)))

    async def partial(self, message: Message, model: str) -> None:
        """Record how far an answer has come. The next record of an answer replaces it."""
        record = self._gain(message, model)
        if record is None:
            await in_thread(self._thread, lambda: self._file.append(()))
        else:
            await self._write(record, metadata=False)

    async def answer(self, message: Message, model: str, metrics: AnswerMetrics, finish_reason: str) -> None:
        """Record a finished answer."""
        self._partial = None
        figures = {name: value for name, value in asdict(metrics).items() if value is not None}
        values = {**message_values(message), "model": model, "metrics": figures, "finish_reason": finish_reason}
        await self._write(encode("answer", self._clock(), **values))

    async def close(self) -> None:
        """Record that the session ended well."""
        ending = [encode("end", self._clock())] if self._needs_end else []
        self._needs_end = False

        def close() -> None:
            # A file whose end cannot be written stays open, so that closing it again can still save its words.
            self._file.append(ending)
            self._file.close()

        if not self._file.closed:
            await in_thread(self._thread, close)

    def _gain(self, message: Message, model: str) -> bytes | None:
        """The record of what `message` has gained since the last partial one; None where that is nothing."""
        before, self._partial = self._partial, (model, message)
        content, reasoning = message.content, message.reasoning
        values: dict[str, object] = {"model": model}
        if (
            before is not None
            and before[0] == model
            and content.startswith(before[1].content)
            and reasoning.startswith(before[1].reasoning)
        ):
            content = content[len(before[1].content) :]
            reasoning = reasoning[len(before[1].reasoning) :]
            if not content and not reasoning:
                return None
        else:
            values["new"] = True
        values["content"] = content
        if reasoning:
            values["reasoning"] = reasoning
        return encode("partial", self._clock(), **values)

    async def _hold_or_write(self, kind: str, record: bytes) -> None:
        if self._started:
            await self._write(record)
        else:
            self._held[kind] = record

    async def _write(self, record: bytes, *, metadata: bool = True) -> None:
        lines = [*self._opening, *self._held.values(), record]
        if not self._started:
            lines.insert(0, encode("session", self._began_at, version=FORMAT, id=self.id))
        self._started = self._needs_end = True
        self._opening.clear()
        self._held.clear()
        await in_thread(self._thread, lambda: self._file.append(lines, metadata=metadata))
