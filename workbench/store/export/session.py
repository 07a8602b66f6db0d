"""Write a session to a file: a Modelfile, Markdown, lossless JSON, or the commands that start its model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from workbench.core.errors import ModelFileError, SessionError
from workbench.core.session import ExportFormat, Session
from workbench.core.user_path import user_path
from workbench.gguf.reader import read_header
from workbench.modelfile.from_session import from_session
from workbench.store.export.markdown import markdown
from workbench.store.export.session_json import session_json
from workbench.store.export.start_commands import start_commands, start_preset
from workbench.store.files import not_written, write_new_file

_ENDINGS: Mapping[ExportFormat, str] = {
    "modelfile": ".Modelfile",
    "md": ".md",
    "json": ".json",
    "sh": ".sh",
    "ini": ".ini",
}

_LONGEST_STEM = 80


def session_text(session: Session, form: ExportFormat, base: str = "") -> str:
    """The session in one of the formats; `base` is the FROM of a Modelfile, empty for the file of the model.

    Raises:
        ModelfileError: A Modelfile cannot hold one of its values; the message names it.
    """
    match form:
        case "modelfile":
            return from_session(session, base, has_template=_has_template(session.model_path)).text()
        case "md":
            return markdown(session)
        case "json":
            return json.dumps(session_json(session), ensure_ascii=False, indent=2) + "\n"
        case "sh":
            return start_commands(session, session_text(session, "modelfile", base))
        case "ini":
            return start_preset(session)


def _has_template(path: str) -> bool:
    """Whether the model file `path` has a chat template; assumed if it cannot be read."""
    try:
        return not path or "tokenizer.chat_template" in read_header(path).metadata
    except ModelFileError:
        return True


def _stem(session_id: str) -> str:
    """A file name for a session: an id that was imported from a file may be anything, a path too."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", session_id)[:_LONGEST_STEM].strip("-") or "session"


def export_session(session: Session, form: ExportFormat, path: Path, *, base: str = "") -> Path:
    """Write a session to a file, whole or not at all.

    `path` is the file, or a folder, which gets a file named after the session; `~` is the home folder. An
    existing file stays, and the new one gets the next free number; returns the path written. `base` is as in
    `session_text`.

    Raises:
        WorkbenchError: The path cannot be written, or the format cannot hold a value; nothing is written.
    """
    # The backslash escape of a lone surrogate is correct in JSON, and legible in Markdown.
    data = session_text(session, form, base).encode("utf-8", "backslashreplace")
    path = user_path(path)
    try:
        if path.is_dir():
            path /= f"{_stem(session.id)}{_ENDINGS[form]}"
        return write_new_file(path, data)
    except (OSError, ValueError) as error:
        failure = error if isinstance(error, OSError) else OSError(str(error))
        reason = not_written(f"The export cannot be written to {path}", failure, "Name another path.")
        raise SessionError(reason.message, reason.hint) from error
