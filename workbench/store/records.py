"""The lines of a session file: one JSON object each, and what they add up to.

A file is only ever appended to. The first record is `session`; `settings` and `model` hold from where they stand;
`message` and `answer` are turns. `partial` records carry what an unfinished answer has gained since the last one, so
that the file grows with the answer and not with its square; the `answer` that follows replaces them, and without one
they add up to an interrupted turn. `end` marks a session that ended well, `dismissed` one that is not to be offered
again, `resumed` one that goes on. A line that makes no sense is passed over: it is the torn end of a write that a
crash cut short, or the work of a later version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, cast, get_args

from workbench.core.chat import Message, Role
from workbench.core.errors import ParameterError
from workbench.core.events import Source
from workbench.core.metrics import AnswerMetrics
from workbench.core.parameters import LoadSettings, Sampling, with_values
from workbench.core.session import Session, Turn

FORMAT = 1
"""The version in the first record of a session file."""

INTERRUPTED = "interrupted"
"""The finish reason of an answer whose program died."""

Record = Mapping[str, Any]

_END_OF_TIME = 253402300800
"""The year 10000, which no calendar function of Python reaches."""
_PARTIAL_START = b'{"t":"partial"'
_ROLES = frozenset(get_args(Role))
_SOURCES = frozenset(get_args(Source))


def encode(kind: str, at: float, **values: object) -> bytes:
    """One record as a line, its newline included."""
    text = json.dumps({"t": kind, "at": at, **values}, ensure_ascii=False, separators=(",", ":"))
    # A lone surrogate has no UTF-8 form, and its backslash form is just what JSON calls it.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def decode(line: bytes) -> Record | None:
    """The record on a line; None where there is none."""
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("t"), str) else None


def message_values(message: Message) -> dict[str, object]:
    """The fields of a message in a record."""
    values: dict[str, object] = {"role": message.role, "content": message.content}
    return {**values, "reasoning": message.reasoning} if message.reasoning else values


def settings_values(sampling: Sampling, load: LoadSettings) -> dict[str, object]:
    """The fields of the parameters in a record."""
    return {"sampling": asdict(sampling), "load": asdict(load)}


def read_message(record: Record) -> Message:
    """The message in a record.

    Raises:
        ValueError: There is none.
    """
    role, content, reasoning = record.get("role"), record.get("content"), record.get("reasoning", "")
    if role not in _ROLES or not isinstance(content, str) or not isinstance(reasoning, str):
        raise ValueError("no message")
    return Message(cast("Role", role), content, reasoning)


def read_settings(record: Record) -> tuple[Sampling, LoadSettings]:
    """The parameters in a record; what this version does not know is left at its default."""
    settings = Sampling(), LoadSettings()
    for table in ("sampling", "load"):
        values = record.get(table)
        for name, value in values.items() if isinstance(values, dict) else ():
            try:
                settings = with_values(*settings, {name: value})
            except ParameterError:
                continue
    return settings


def read_metrics(value: object) -> AnswerMetrics | None:
    """The figures in a record; what is no figure is left out."""
    if not isinstance(value, dict):
        return None
    known: dict[str, Any] = {}
    for entry in fields(AnswerMetrics):
        figure = value.get(entry.name)
        if entry.name in {"source", "latency_source"}:
            good = figure in _SOURCES
        elif entry.name == "estimated":
            good = isinstance(figure, bool)
        else:
            good = isinstance(figure, int | float) and not isinstance(figure, bool)
        if good:
            known[entry.name] = figure
    return AnswerMetrics(**known)


def _text(record: Record, key: str) -> str:
    value = record.get(key, "")
    return value if isinstance(value, str) else ""


def _time(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME:
        return float(value)
    return 0.0


@dataclass(slots=True)
class Story:
    """What the lines of a session file add up to, as far as they have been read."""

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
    """Whether the session ended well, or is not to be offered again."""
    records: int = 0
    """Lines that were understood."""
    _partials: list[bytes] = field(default_factory=list)

    def take(self, line: bytes) -> None:
        """Add one line. A line that is not understood changes nothing."""
        # Most partial records are replaced by their answer and never need to be decoded.
        if line.startswith(_PARTIAL_START):
            self._partials.append(line)
            return
        record = decode(line)
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
        self.records += 1
        self.created_at = self.created_at or at
        if content:
            self.updated_at = max(self.updated_at, at)
            self.closed = False

    def _on_settings(self, record: Record, at: float) -> None:
        self.system = _text(record, "system")
        self.sampling, self.load = read_settings(record)

    def _on_model(self, record: Record, at: float) -> None:
        entry = record.get("entry")
        if not isinstance(entry, dict):
            raise ValueError("no model")
        self.model, self.model_path = _text(entry, "ref"), _text(entry, "path")

    def _on_message(self, record: Record, at: float) -> None:
        message = read_message(record)
        self._settle()
        self.turns.append(Turn(message, at))

    def _on_answer(self, record: Record, at: float) -> None:
        message = read_message(record)
        self._partials.clear()
        metrics = read_metrics(record.get("metrics"))
        self.turns.append(Turn(message, at, _text(record, "model"), metrics, _text(record, "finish_reason")))

    def _on_resumed(self, record: Record, at: float) -> None:
        self._settle()
        self.closed = False

    def _on_end(self, record: Record, at: float) -> None:
        self._settle()
        self.closed = True

    def _on_session(self, record: Record, at: float) -> None:
        """Says nothing that the name of the file does not say, except when it began."""

    def _settle(self) -> None:
        """Turn the partial records that no answer replaced into an interrupted turn."""
        content: list[str] = []
        reasoning: list[str] = []
        model, at = "", 0.0
        for record in filter(None, map(decode, self._partials)):
            if record.get("new"):
                content.clear()
                reasoning.clear()
            content.append(_text(record, "content"))
            reasoning.append(_text(record, "reasoning"))
            model, at = _text(record, "model"), _time(record.get("at"))
            self._seen(at, content=True)
        self._partials.clear()
        if any(content) or any(reasoning):
            message = Message("assistant", "".join(content), "".join(reasoning))
            self.turns.append(Turn(message, at, model, finish_reason=INTERRUPTED))

    def session(self) -> Session:
        """The session as it stands; an answer without an end is an interrupted turn."""
        self._settle()
        return Session(
            id=self.id,
            created_at=self.created_at,
            updated_at=self.updated_at,
            model=self.model,
            model_path=self.model_path,
            system=self.system,
            sampling=self.sampling,
            load=self.load,
            turns=tuple(self.turns),
        )


def read_story(session_id: str, data: bytes) -> Story:
    """What the text of a session file adds up to."""
    story = Story(session_id)
    for line in data.split(b"\n"):
        story.take(line)
    story.session()
    return story


_MARKS = frozenset({"end", "dismissed", "resumed"})
"""Records that say something about the session and add nothing to it."""

_HANDLERS: Mapping[str, Callable[[Story, Record, float], None]] = {
    "session": Story._on_session,
    "settings": Story._on_settings,
    "model": Story._on_model,
    "message": Story._on_message,
    "answer": Story._on_answer,
    "resumed": Story._on_resumed,
    "end": Story._on_end,
    "dismissed": Story._on_end,
}
