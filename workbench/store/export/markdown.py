"""A session as Markdown, for people to read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from workbench.core.metrics import AnswerMetrics
from workbench.core.parameters import changed_values
from workbench.core.recipe import GIVEN
from workbench.core.session import Session
from workbench.core.tree import Turn

_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant"}


def markdown(session: Session) -> str:
    """The open branch of a session as Markdown, with its settings and the figures of each answer."""
    return "\n".join(_lines(session)) + "\n"


def _lines(session: Session) -> Iterator[str]:
    yield f"# {_one_line(session.title)}"
    yield ""
    facts = [("Session", session.id), ("Date", _day(session.updated_at)), ("Model", session.model)]
    if session.model_path != session.model:
        facts.append(("File", session.model_path))
    for name, value in changed_values(session.sampling, session.load).items():
        shown = ", ".join(json.dumps(item, ensure_ascii=False) for item in value) if isinstance(value, tuple) else value
        facts.append((name, str(shown)))
    yield from (f"- {name}: {_code(value)}" for name, value in facts if value)
    if session.system:
        yield from ("", "## System", "", session.system)
    for turn in session.turns:
        speaker = _SPEAKERS[turn.message.role]
        yield from ("", f"## {speaker}{f' ({_one_line(turn.model)})' if turn.model else ''}", "")
        if turn.message.reasoning:
            yield from ("<details><summary>Reasoning</summary>", "", turn.message.reasoning, "", "</details>", "")
        yield turn.message.content
        if notes := _notes(turn):
            yield from ("", f"*{notes}*")


def _notes(turn: Turn) -> str:
    notes = list(_figures(turn.metrics)) if turn.metrics is not None else []
    if turn.finish_reason == GIVEN:
        notes.append("given by the Modelfile")
    elif turn.finish_reason not in ("", "stop"):
        notes.append(f"ended by: {turn.finish_reason}")
    return " · ".join(notes)


def _figures(metrics: AnswerMetrics) -> Iterator[str]:
    if metrics.completion_tokens is not None:
        yield f"{metrics.completion_tokens} tokens{' (estimated)' if metrics.estimated else ''}"
    if metrics.decode_tps is not None:
        yield f"{metrics.decode_tps:.1f} tokens/s"
    if metrics.ttft_ms is not None:
        yield f"first token after {metrics.ttft_ms:.0f} ms"
    if metrics.format_state is not None:
        yield f"format {metrics.format_state}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _code(text: str) -> str:
    """`text` as inline code, with a fence longer than its backquotes."""
    text = _one_line(text)
    if "`" not in text:
        return f"`{text}`"
    fence = "`" * (1 + max(len(run) for run in "".join(c if c == "`" else " " for c in text).split()))
    return f"{fence} {text} {fence}"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
