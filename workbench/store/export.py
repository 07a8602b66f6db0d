"""A session as a file to leave with: a Modelfile, Markdown, lossless JSON, or the commands that start its model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from workbench.core.errors import ModelFileError, SessionError
from workbench.core.metrics import AnswerMetrics
from workbench.core.parameters import changed_values
from workbench.core.recipe import GIVEN
from workbench.core.session import ExportFormat, Session
from workbench.core.tree import Turn
from workbench.gguf.reader import read_header
from workbench.modelfile.from_session import from_session
from workbench.store.files import replace_file, write_new_file
from workbench.store.paths import expanded
from workbench.store.session_json import session_json
from workbench.store.start_commands import start_commands

_ENDINGS: Mapping[ExportFormat, str] = {"modelfile": ".Modelfile", "md": ".md", "json": ".json", "sh": ".sh"}
_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant"}


def session_text(session: Session, form: ExportFormat, base: str = "") -> str:
    """The session in one of the formats.

    Args:
        session: What to write.
        form: How to write it.
        base: What FROM names in a Modelfile; empty for the file of the model.

    Raises:
        ModelfileError: A Modelfile cannot hold one of its values; the message names it.
    """
    match form:
        case "modelfile":
            return from_session(session, base, has_template=_has_template(session.model_path)).text()
        case "md":
            return "\n".join(_markdown(session)) + "\n"
        case "json":
            return json.dumps(session_json(session), ensure_ascii=False, indent=2) + "\n"
        case "sh":
            return start_commands(session, session_text(session, "modelfile", base))


def _has_template(path: str) -> bool:
    """Whether the model file `path` brings a chat template; taken for granted where it cannot be read any more."""
    try:
        return not path or "tokenizer.chat_template" in read_header(path).metadata
    except ModelFileError:
        return True


def _markdown(session: Session) -> Iterator[str]:
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


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _code(text: str) -> str:
    """`text` as inline code, whatever backquotes it has."""
    text = _one_line(text)
    if "`" not in text:
        return f"`{text}`"
    fence = "`" * (1 + max(len(run) for run in "".join(c if c == "`" else " " for c in text).split()))
    return f"{fence} {text} {fence}"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def export_session(
    session: Session, form: ExportFormat, path: Path, *, overwrite: bool = False, base: str = ""
) -> Path:
    """Write a session to a file, whole or not at all.

    Args:
        session: What to write.
        form: How to write it.
        path: Where to: `~` is the home folder, and a folder gets a file named after the session.
        overwrite: Whether an existing file is replaced; otherwise the new one gets the next free number.
        base: What FROM names in a Modelfile; empty for the file of the model.

    Returns:
        The path that was written.

    Raises:
        WorkbenchError: The path cannot be written, or the format cannot hold a value; nothing is written.
    """
    # The backslash form of a lone surrogate is right in JSON, and legible in Markdown.
    data = session_text(session, form, base).encode("utf-8", "backslashreplace")
    path = expanded(path)
    try:
        if path.is_dir():
            path /= f"{session.id or 'session'}{_ENDINGS[form]}"
        if not overwrite:
            return write_new_file(path, data)
        replace_file(path, data)
        return path
    except (OSError, ValueError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise SessionError(f"The export cannot be written to {path}: {reason}.", "Name another path.") from error
