"""The session files of the first version: one JSON object on each line, read once and left where they are.

The first record is `session`; `settings` and `model` hold from where they stand; `message` and `answer` are turns.
`partial` records carry what an unfinished answer has gained since the last one; the `answer` that follows replaces
them, and without one they add up to an interrupted turn. `end` marks a session that ended well, `dismissed` one that
is not to be offered again, `resumed` one that goes on. A line that makes no sense is passed over: it is the torn end
of a write that a crash cut short.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workbench.core.chat import Message
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.session import Session
from workbench.core.tree import INTERRUPTED, Tree, Turn
from workbench.store.locks import try_lock
from workbench.store.values import Record, read_message, read_metrics, read_settings, text_of

SUFFIX = ".jsonl"

_END_OF_TIME = 253402300800
"""The year 10000, which no calendar function of Python reaches."""
_PARTIAL_START = b'{"t":"partial"'


def old_files(folder: Path) -> list[Path]:
    """The session files in a folder, the oldest first; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(SUFFIX) and entry.is_file()]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


@dataclass(frozen=True, slots=True)
class OldSession:
    """What is in a session file."""

    session: Session
    closed: bool
    """Whether it ended well, or is not to be offered again."""


def read_old_session(path: Path) -> OldSession | None:
    """The session in a file; None where a program of the first version still writes it.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        if not try_lock(file.fileno(), shared=True):
            return None
        return read_story(path.name.removesuffix(SUFFIX), file.read())


def _decode(line: bytes) -> Record | None:
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("t"), str) else None


def _time(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME:
        return float(value)
    return 0.0


@dataclass(slots=True)
class _Story:
    """What the lines of a file add up to, as far as they have been read."""

    id: str
    created_at: float = 0.0
    updated_at: float = 0.0
    model: str = ""
    model_path: str = ""
    system: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    load: LoadSettings = field(default_factory=LoadSettings)
    turns: list[Turn] = field(default_factory=list)
    closed: bool = False
    partials: list[bytes] = field(default_factory=list)

    def take(self, line: bytes) -> None:
        # Most partial records are replaced by their answer and never need to be decoded.
        if line.startswith(_PARTIAL_START):
            self.partials.append(line)
            return
        record = _decode(line)
        handler = _HANDLERS.get(record["t"]) if record else None
        if record is None or handler is None:
            return
        at = _time(record.get("at"))
        try:
            handler(self, record, at)
        except ValueError:
            return
        self._seen(at, content=record["t"] not in _MARKS)

    def _seen(self, at: float, *, content: bool) -> None:
        self.created_at = self.created_at or at
        if content:
            self.updated_at = max(self.updated_at, at)
            self.closed = False

    def _on_settings(self, record: Record, at: float) -> None:
        self.system = text_of(record, "system")
        self.sampling, self.load = read_settings(record)

    def _on_model(self, record: Record, at: float) -> None:
        entry = record.get("entry")
        if not isinstance(entry, dict):
            raise ValueError("no model")
        self.model, self.model_path = text_of(entry, "ref"), text_of(entry, "path")

    def _on_message(self, record: Record, at: float) -> None:
        message = read_message(record)
        self.settle()
        self.turns.append(Turn(message, at))

    def _on_answer(self, record: Record, at: float) -> None:
        message = read_message(record)
        self.partials.clear()
        metrics = read_metrics(record.get("metrics"))
        self.turns.append(Turn(message, at, text_of(record, "model"), metrics, text_of(record, "finish_reason")))

    def _on_resumed(self, record: Record, at: float) -> None:
        self.settle()
        self.closed = False

    def _on_end(self, record: Record, at: float) -> None:
        self.settle()
        self.closed = True

    def _on_session(self, record: Record, at: float) -> None:
        """Says nothing that the name of the file does not say, except when it began."""

    def settle(self) -> None:
        """Turn the partial records that no answer replaced into an interrupted turn."""
        content: list[str] = []
        reasoning: list[str] = []
        model, at = "", 0.0
        for record in filter(None, map(_decode, self.partials)):
            if record.get("new"):
                content.clear()
                reasoning.clear()
            content.append(text_of(record, "content"))
            reasoning.append(text_of(record, "reasoning"))
            model, at = text_of(record, "model"), _time(record.get("at"))
            self._seen(at, content=True)
        self.partials.clear()
        if any(content) or any(reasoning):
            message = Message("assistant", "".join(content), "".join(reasoning))
            self.turns.append(Turn(message, at, model, finish_reason=INTERRUPTED))


def read_story(session_id: str, data: bytes) -> OldSession:
    """What the text of a session file adds up to."""
    story = _Story(session_id)
    for line in data.split(b"\n"):
        story.take(line)
    story.settle()
    session = Session(
        id=session_id,
        created_at=story.created_at,
        updated_at=story.updated_at,
        model=story.model,
        model_path=story.model_path,
        system=story.system,
        sampling=story.sampling,
        load=story.load,
        tree=Tree.of(story.turns),
    )
    return OldSession(session, story.closed)


_MARKS = frozenset({"end", "dismissed", "resumed"})
"""Records that say something about the session and add nothing to it."""

_HANDLERS: Mapping[str, Callable[[_Story, Record, float], None]] = {
    "session": _Story._on_session,
    "settings": _Story._on_settings,
    "model": _Story._on_model,
    "message": _Story._on_message,
    "answer": _Story._on_answer,
    "resumed": _Story._on_resumed,
    "end": _Story._on_end,
    "dismissed": _Story._on_end,
}
