"""A session as lossless JSON, and back.

Messages form a tree: each has a number and the number of its parent, 0 at the beginning of the conversation, and
`leaf` is the last message of the conversation. Deleted messages are left out. `trace` is the timing of an answer in the
form of `workbench.core.trace`, as Base64.

The input may come from anywhere: an invalid field is refused, with its name and its place.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from workbench.core.chat import Message, Speaker
from workbench.core.errors import SessionError
from workbench.core.json_reader import LARGEST_INT, NumberRange, read_json
from workbench.core.metrics import AnswerMetrics
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.session import LATEST_TIME, Session
from workbench.core.trace import Trace
from workbench.core.tree import Making, Node, Tree, Turn, View

JSON_KIND = "workbench-session"
JSON_VERSION = 2

Seconds = Annotated[float, NumberRange(0, LATEST_TIME, "a time in seconds since 1970")]
Count = Annotated[int, NumberRange(0, LARGEST_INT, "a whole number from 0")]


@dataclass(frozen=True, slots=True)
class _SessionDocument:
    kind: str
    version: int
    id: str
    created_at: Seconds
    updated_at: Seconds
    model: str
    model_path: str
    system: str
    sampling: Sampling
    load: LoadSettings
    pinned: bool
    leaf: Count
    messages: tuple[object, ...]
    title: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class _MakingDocument:
    path: str
    digest: str
    system: str
    sampling: Sampling
    load: LoadSettings
    seed: Count | None = None


@dataclass(frozen=True, slots=True)
class _MessageDocument:
    number: Annotated[int, NumberRange(1, LARGEST_INT, "a whole number from 1")]
    parent: Count
    role: Speaker
    content: str
    at: Seconds
    model: str
    finish_reason: str
    reasoning: str = ""
    metrics: AnswerMetrics | None = None
    making: _MakingDocument | None = None
    trace: str = ""


def session_json(session: Session) -> dict[str, Any]:
    """The session as JSON values."""
    return {
        "kind": JSON_KIND,
        "version": JSON_VERSION,
        "id": session.id,
        "title": session.title,
        "name": session.name,
        "pinned": session.pinned,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "model": session.model,
        "model_path": session.model_path,
        "system": session.system,
        "sampling": asdict(session.sampling),
        "load": asdict(session.load),
        "leaf": session.tree.leaf,
        "messages": [_node_json(node) for node in session.tree.nodes if session.tree.is_alive(node.number)],
    }


def _node_json(node: Node) -> dict[str, Any]:
    turn, message = node.turn, node.turn.message
    values: dict[str, Any] = {
        "number": node.number,
        "parent": node.parent,
        "role": message.role,
        "content": message.content,
        **({"reasoning": message.reasoning} if message.reasoning else {}),
        "at": turn.at,
        "model": turn.model,
        "finish_reason": turn.finish_reason,
        "metrics": None if turn.metrics is None else asdict(turn.metrics),
    }
    if turn.making is not None:
        values["making"] = asdict(turn.making)
    if turn.trace.data:
        values["trace"] = base64.b64encode(turn.trace.data).decode("ascii")
    return values


def session_from_json(text: str) -> Session:
    """The session that was exported as JSON.

    Raises:
        SessionError: The text is not such a session, is of another version, or has an invalid field.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SessionError(f"This is not a session exported as JSON: {error}."[:300], "Nothing was stored.") from error
    if not isinstance(values, dict) or values.get("kind") != JSON_KIND:
        raise SessionError("This is not a session exported as JSON.", f"One says {JSON_KIND!r} under 'kind'.")
    version = values.get("version")
    if version != JSON_VERSION:
        raise SessionError(
            f"This session was exported in version {str(version)[:40]} of the format, not in {JSON_VERSION}.",
            "Another version of workbench may read it.",
        )
    try:
        found = read_json(_SessionDocument, values, "the session", strict=True)
        tree = _read_tree(found)
    except ValueError as error:
        raise SessionError(f"This session cannot be imported: {error}.", "Nothing was stored.") from error
    return Session(
        *(found.id, found.created_at, found.updated_at, found.model, found.model_path, found.system),
        found.sampling,
        found.load,
        tree,
        found.name,
        found.pinned,
    )


def _read_tree(session: _SessionDocument) -> Tree:
    nodes = [_read_node(value, f"message {count}") for count, value in enumerate(session.messages, 1)]
    numbers = {0, *(node.number for node in nodes)}
    seen = {0}
    for count, node in enumerate(nodes, 1):
        if node.number in seen:
            raise ValueError(f"message {count} has the number {node.number}, which an earlier one has")
        if node.parent not in numbers:
            raise ValueError(f"message {count} follows a message {node.parent}, which is not there")
        if node.parent >= node.number:
            raise ValueError(f"message {count} follows itself or a later message: the messages are no tree")
        if count > 1 and node.number < nodes[count - 2].number:
            raise ValueError(f"message {count} is not in the order of the numbers")
        seen.add(node.number)
    if session.leaf not in numbers:
        raise ValueError(f"'leaf' names a message {session.leaf}, which is not there")
    return Tree(tuple(nodes), View(session.leaf))


def _read_node(value: object, place: str) -> Node:
    found = read_json(_MessageDocument, value, place, strict=True)
    try:
        trace = Trace(base64.b64decode(found.trace, validate=True))
    except (binascii.Error, ValueError):
        raise ValueError(f"'trace' of {place} is not Base64") from None
    made = found.making
    making = None if made is None else Making(made.path, made.digest, made.system, made.sampling, made.load, made.seed)
    message = Message(found.role, found.content, found.reasoning)
    turn = Turn(message, found.at, found.model, found.metrics, found.finish_reason, making, trace)
    return Node(found.number, found.parent, turn)
