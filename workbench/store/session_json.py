"""A session as JSON, with everything that it holds, and back.

Version 2 holds the tree: each message has a number and the number of the one before it, 0 where it begins the
conversation, and `leaf` is the message that the conversation ends with. Deleted messages are not in it. `trace` is
the times of an answer's tokens, in the form of `workbench.core.trace`, as Base64.

What is read was written by anybody: what does not fit is refused, with its name and its place.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, get_args

from workbench.core.errors import ParameterError, SessionError
from workbench.core.events import Source
from workbench.core.metrics import AnswerMetrics
from workbench.core.parameters import LoadSettings, Sampling, with_values
from workbench.core.session import Session
from workbench.core.trace import Trace
from workbench.core.tree import Making, Node, Tree, Turn, View
from workbench.store.values import making_values, message_values, read_message, settings_values

JSON_KIND = "workbench-session"
JSON_VERSION = 2

_LAST_YEAR = 253402300800
"""The year 10000, which no calendar function of Python reaches, in seconds since the epoch."""
_LARGEST = 2**63 - 1
_MESSAGE = {"number", "parent", "role", "content", "reasoning", "at", "model", "finish_reason", "metrics"}
_FIELDS = {
    "kind", "version", "id", "title", "name", "pinned", "created_at", "updated_at", "model", "model_path", "system",
    "sampling", "load", "leaf", "messages",
}  # fmt: skip


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
        **settings_values(session.sampling, session.load),
        "leaf": session.tree.leaf,
        "messages": [_node_json(node) for node in session.tree.nodes if session.tree.is_alive(node.number)],
    }


def _node_json(node: Node) -> dict[str, Any]:
    turn = node.turn
    values: dict[str, Any] = {
        "number": node.number,
        "parent": node.parent,
        **message_values(turn.message),
        "at": turn.at,
        "model": turn.model,
        "finish_reason": turn.finish_reason,
        "metrics": None if turn.metrics is None else asdict(turn.metrics),
    }
    if turn.making is not None:
        values["making"] = {**making_values(turn.making), "seed": turn.making.seed}
    if turn.trace.data:
        values["trace"] = base64.b64encode(turn.trace.data).decode("ascii")
    return values


def _refused(what: str) -> SessionError:
    return SessionError(f"This session cannot be imported: {what}.", "Nothing was stored.")


class _Fields:
    """The fields of one object, each read once and checked."""

    def __init__(self, value: object, place: str, known: set[str]) -> None:
        if not isinstance(value, dict):
            raise _refused(f"{place} is no object")
        self.values: Mapping[str, Any] = value
        self.place = place
        for name in value:
            if name not in known:
                raise _refused(f"{place} has a field {name[:60]!r}, which this version does not know")

    def _get(self, name: str) -> object:
        if name not in self.values:
            raise _refused(f"{self.place} has no {name!r}")
        return self.values[name]

    def _wrong(self, name: str, wanted: str) -> SessionError:
        return _refused(f"{name!r} of {self.place} is not {wanted}")

    def text(self, name: str, default: str | None = None) -> str:
        """A text."""
        value = self.values.get(name, default) if default is not None else self._get(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a text")
        return value

    def time(self, name: str) -> float:
        """A time in seconds since the epoch."""
        value = self._get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST_YEAR:
            raise self._wrong(name, "a time in seconds since 1970")
        return float(value)

    def number(self, name: str) -> int:
        """A whole number from 0."""
        value = self._get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
            raise self._wrong(name, "a whole number from 0")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def parameters(self) -> tuple[Sampling, LoadSettings]:
        """The parameters under `sampling` and `load`."""
        settings = Sampling(), LoadSettings()
        for name, kind in (("sampling", Sampling), ("load", LoadSettings)):
            table = _Fields(self._get(name), f"{name!r} of {self.place}", {field.name for field in fields(kind)})
            try:
                settings = with_values(*settings, table.values)
            except ParameterError as error:
                raise _refused(f"{name!r} of {self.place}: {error}".rstrip(".")) from error
        return settings


def session_from_json(text: str) -> Session:
    """The session that was exported as JSON.

    Raises:
        SessionError: The text is no such session, of another version, or holds what makes no sense.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SessionError(f"This is no session exported as JSON: {error}."[:300], "Nothing was stored.") from error
    if not isinstance(values, dict) or values.get("kind") != JSON_KIND:
        raise SessionError("This is no session exported as JSON.", f"One says {JSON_KIND!r} under 'kind'.")
    version = values.get("version")
    if version != JSON_VERSION:
        raise SessionError(
            f"This session was exported in version {str(version)[:40]} of the format, not in {JSON_VERSION}.",
            "Another version of workbench may read it.",
        )
    top = _Fields(values, "the session", _FIELDS)
    sampling, load = top.parameters()
    return Session(
        id=top.text("id"),
        created_at=top.time("created_at"),
        updated_at=top.time("updated_at"),
        model=top.text("model"),
        model_path=top.text("model_path"),
        system=top.text("system"),
        sampling=sampling,
        load=load,
        tree=_read_tree(top),
        name=top.text("name", ""),
        pinned=top.flag("pinned"),
    )


def _read_tree(top: _Fields) -> Tree:
    messages = top.values.get("messages")
    if not isinstance(messages, list):
        raise _refused("'messages' of the session is no list")
    nodes = [_read_node(value, f"message {place}") for place, value in enumerate(messages, 1)]
    numbers = {0}
    for place, node in enumerate(nodes, 1):
        if node.number in numbers:
            raise _refused(f"message {place} has the number {node.number}, which an earlier one has")
        numbers.add(node.number)
    for place, (before, node) in enumerate(
        zip([Node(0, 0, nodes[0].turn), *nodes] if nodes else [], nodes, strict=False), 1
    ):
        if node.parent not in numbers:
            raise _refused(f"message {place} follows a message {node.parent}, which is not there")
        if node.parent >= node.number:
            raise _refused(f"message {place} follows itself or a later message: the messages are no tree")
        if node.number <= before.number:
            raise _refused(f"message {place} is not in the order of the numbers")
    leaf = top.number("leaf")
    if leaf not in numbers:
        raise _refused(f"'leaf' names a message {leaf}, which is not there")
    return Tree(tuple(nodes), View(leaf))


def _read_node(value: object, place: str) -> Node:
    entry = _Fields(value, place, _MESSAGE | {"making", "trace"})
    number = entry.number("number")
    if not number:
        raise _refused(f"the number of {place} is 0")
    try:
        message = read_message(entry.values)
    except ValueError as error:
        raise _refused(f"{place} is no message: it needs a role (system, user or assistant) and a content") from error
    turn = Turn(
        message,
        entry.time("at"),
        entry.text("model"),
        _read_metrics(entry),
        entry.text("finish_reason"),
        _read_making(entry),
        _read_trace(entry),
    )
    return Node(number, entry.number("parent"), turn)


def _read_metrics(entry: _Fields) -> AnswerMetrics | None:
    value = entry.values.get("metrics")
    if value is None:
        return None
    place = f"'metrics' of {entry.place}"
    table = _Fields(value, place, {field.name for field in fields(AnswerMetrics)})
    for name, figure in table.values.items():
        if name in {"source", "latency_source"}:
            good = figure in get_args(Source)
        elif name == "estimated":
            good = isinstance(figure, bool)
        else:
            good = figure is None or (isinstance(figure, int | float) and not isinstance(figure, bool))
            good = good and (figure is None or (abs(figure) <= _LARGEST and math.isfinite(figure)))
        if not good:
            raise _refused(f"{name!r} of {place} is no such figure")
    return AnswerMetrics(**table.values)


def _read_making(entry: _Fields) -> Making | None:
    if "making" not in entry.values:
        return None
    known = {"path", "digest", "system", "sampling", "load", "seed"}
    table = _Fields(entry.values["making"], f"'making' of {entry.place}", known)
    seed = None if table.values.get("seed") is None else table.number("seed")
    return Making(table.text("path"), table.text("digest"), table.text("system"), *table.parameters(), seed)


def _read_trace(entry: _Fields) -> Trace:
    try:
        return Trace(base64.b64decode(entry.text("trace", ""), validate=True))
    except (binascii.Error, ValueError) as error:
        raise _refused(f"'trace' of {entry.place} is no Base64") from error
