"""A Modelfile that reproduces a session."""

from __future__ import annotations

from datetime import UTC, datetime

from workbench.core.chat import Message
from workbench.core.errors import ModelfileError
from workbench.core.parameters import PARAMETERS, changed_values
from workbench.core.session import Session
from workbench.modelfile.meaning import Modelfile
from workbench.modelfile.values import written_value

_OLLAMA_PREFIX = "ollama:"


def from_session(session: Session) -> Modelfile:
    """The model, the system prompt, the changed parameters and the conversation of `session`.

    Messages without text are left out: an empty answer would teach a model to say nothing. So is reasoning, which a
    Modelfile has no place for.

    Raises:
        ModelfileError: The session has had no model.
    """
    base = session.model_path or session.model.removeprefix(_OLLAMA_PREFIX)
    if not base:
        raise ModelfileError(
            "A Modelfile needs a model, and this session has had none.", "Open a model first, then export."
        )
    changed = changed_values(session.sampling, session.load)
    return Modelfile(
        bases=(base,),
        system=session.system,
        parameters={name: value for name, value in changed.items() if PARAMETERS[name].in_modelfile},
        messages=tuple(
            Message(turn.message.role, turn.message.content) for turn in session.turns if turn.message.content
        ),
        comments=_comments(session),
    )


def _comments(session: Session) -> tuple[str, ...]:
    day = datetime.fromtimestamp(session.updated_at, UTC).date().isoformat()
    comments = [
        f"Made by workbench from session {session.id} of {day}.",
        "To use it: ollama create NAME -f THIS_FILE",
    ]
    if session.model and session.model != session.model_path:
        comments.append(f"The model was opened as {session.model}.")
    changed = changed_values(session.sampling, session.load)
    comments += [
        f"A Modelfile cannot hold {name} {written_value(value)}, which the session used."
        for name, value in changed.items()
        if not PARAMETERS[name].in_modelfile and not isinstance(value, tuple)
    ]
    if empty := sum(not turn.message.content for turn in session.turns):
        comments.append(f"Left out: {empty} {'message' if empty == 1 else 'messages'} without text.")
    if any(turn.message.reasoning for turn in session.turns):
        comments.append("Left out: what the model thought before it answered.")
    return tuple(comments)
