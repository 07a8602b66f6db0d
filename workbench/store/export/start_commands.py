"""Shell commands that start the model of a session in llama-server or Ollama, and its section of presets.ini."""

from __future__ import annotations

import re
import shlex

from workbench.core.errors import SessionError
from workbench.core.session import Session
from workbench.modelfile.presets import preset_text
from workbench.modelfile.server_options import ServerOption, server_options


def start_commands(session: Session, modelfile: str) -> str:
    """A shell script with the commands; `modelfile` is the session as a Modelfile, for Ollama.

    Raises:
        SessionError: The session has no model file.
    """
    path, name = _path_of(session), _name_of(session)
    end = _unused("MODELFILE", modelfile)
    options = "".join(map(_shown, server_options(session.sampling, session.load)))
    lines = [
        "#!/bin/sh",
        "# Each of these two starts the model of a conversation with its settings. Remove the other one.",
        "",
        "# llama-server: the system prompt, the messages and the stop strings are part of each request.",
        f"llama-server --model {shlex.quote(path)}{options}",
        "",
        "# Ollama",
        f"cat > {name}.Modelfile <<'{end}'",
        modelfile.rstrip("\n"),
        end,
        f"ollama create {name} --file {name}.Modelfile",
        f"ollama run {name}",
    ]
    return "\n".join(lines) + "\n"


def start_preset(session: Session) -> str:
    """A section of llama-server's presets.ini.

    Raises:
        WorkbenchError: The session has no model file, or one whose path a section cannot hold.
    """
    return preset_text(_name_of(session), _path_of(session), session.sampling, session.load)


def _path_of(session: Session) -> str:
    if not session.model_path:
        raise SessionError(
            "The commands need a model file, and this session has none.", "Open a model file first, then export."
        )
    return session.model_path


def _name_of(session: Session) -> str:
    return re.sub(r"[^a-z0-9]+", "-", session.title.casefold()).strip("-")[:40].strip("-") or "session"


def _shown(option: ServerOption) -> str:
    return f" \\\n  {option.name}" + ("" if option.value is None else f" {shlex.quote(option.value)}")


def _unused(word: str, text: str) -> str:
    """`word`, extended until no line of `text` equals it."""
    lines = set(text.splitlines())
    while word in lines:
        word += "_"
    return word
