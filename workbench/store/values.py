"""The values of a session as JSON holds them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, cast, get_args

from workbench.core.chat import Message, Role
from workbench.core.errors import ParameterError
from workbench.core.events import Source
from workbench.core.metrics import AnswerMetrics
from workbench.core.parameters import LoadSettings, Sampling, with_values
from workbench.core.tree import Making

Record = Mapping[str, Any]

_ROLES = frozenset(get_args(Role))
_SOURCES = frozenset(get_args(Source))


def message_values(message: Message) -> dict[str, object]:
    """The fields of a message."""
    values: dict[str, object] = {"role": message.role, "content": message.content}
    return {**values, "reasoning": message.reasoning} if message.reasoning else values


def settings_values(sampling: Sampling, load: LoadSettings) -> dict[str, object]:
    """The fields of the parameters."""
    return {"sampling": asdict(sampling), "load": asdict(load)}


def making_values(making: Making) -> dict[str, object]:
    """What an answer was made with, without its seed."""
    settings = settings_values(making.sampling, making.load)
    return {"path": making.path, "digest": making.digest, "system": making.system, **settings}


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


def metrics_values(metrics: AnswerMetrics | None) -> dict[str, object] | None:
    """The figures that are known."""
    if metrics is None:
        return None
    return {name: value for name, value in asdict(metrics).items() if value is not None}


def read_making(record: object, seed: object) -> Making | None:
    """What an answer was made with; None where a record does not say."""
    if not isinstance(record, dict):
        return None
    sampling, load = read_settings(record)
    known_seed = seed if isinstance(seed, int) and not isinstance(seed, bool) else None
    path, digest, system = (text_of(record, name) for name in ("path", "digest", "system"))
    return Making(path, digest, system, sampling, load, known_seed)


def text_of(record: Record, key: str) -> str:
    """A text in a record; empty where there is none."""
    value = record.get(key, "")
    return value if isinstance(value, str) else ""
