"""A Modelfile that reproduces a session."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

from workbench.core.chat import Message
from workbench.core.errors import ModelfileError
from workbench.core.parameters import PARAMETERS, Sampling, Value, changed_values
from workbench.core.servers import is_server_ref
from workbench.core.session import Session
from workbench.core.user_path import expanded
from workbench.modelfile.meaning import Modelfile
from workbench.modelfile.source import is_modelfile, is_modelfile_name, read_file
from workbench.modelfile.values import written_value

ONE_GPU = "none"
"""The `split_mode` that PARAMETER main_gpu implies."""
_OLLAMA_PREFIX = "ollama:"


CHATML = """{{ range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
"""The template for models without one, in Go's syntax."""


def from_session(session: Session, base: str = "", *, has_template: bool = True) -> Modelfile:
    """The model, the system prompt, the changed parameters and the conversation of `session`.

    `base` is the value of FROM; empty for the file of the model, which has a chat template if `has_template`.

    If the model was opened through a Modelfile that can still be read, its adapter, its template and other directives
    that a session does not hold are included.

    Messages without text are left out: an empty answer would teach a model to answer nothing. So is reasoning, which a
    Modelfile cannot hold.

    Raises:
        ModelfileError: The session has had no model.
    """
    origin = _origin(session.model)
    base = base or _base(session, origin)
    if not base:
        raise ModelfileError(
            "A Modelfile needs a model, and this session has had none.", "Open a model first, then export."
        )
    named = _is_name(base, session)
    modelfile = Modelfile(
        bases=(base,),
        system=session.system,
        parameters=_parameters(session, named),
        messages=tuple(
            Message(turn.message.role, turn.message.content) for turn in session.turns if turn.message.content
        ),
        # A named model has its own template.
        template="" if has_template or named else CHATML,
        drafts=_drafts(session),
        comments=_comments(session, origin, named=named),
    )
    if origin is None:
        return modelfile
    return replace(
        modelfile,
        adapter=_absolute(origin.adapter, session.model),
        template=origin.template or modelfile.template,
        renderer=origin.renderer,
        parser=origin.parser,
        requires=origin.requires,
        licenses=origin.licenses,
    )


def _origin(ref: str) -> Modelfile | None:
    """The Modelfile through which the model of a session was opened; None for none."""
    try:
        return read_file(Path(ref))[0] if Path(ref).is_absolute() and is_modelfile(Path(ref)) else None
    except (ModelfileError, ValueError):
        return None


def _base(session: Session, origin: Modelfile | None) -> str:
    blob = Path(session.model_path).name.startswith("sha256")
    if origin is not None and blob and not _absolute_path(origin.base, session.model).exists():
        # The blob alone would lose the template and the parameters that Ollama keeps with it.
        return origin.base
    if is_server_ref(session.model):
        # Its name on the server, by which Ollama knows its own models.
        return session.model.partition("#")[2]
    return session.model_path or session.model.removeprefix(_OLLAMA_PREFIX)


def _absolute_path(text: str, modelfile: str) -> Path:
    return Path(modelfile).parent / expanded(text)


def _absolute(text: str, modelfile: str) -> str:
    return str(_absolute_path(text, modelfile)) if text else ""


def _parameters(session: Session, named: bool) -> dict[str, Value]:
    """The parameters that differ from the defaults.

    A named model may have parameters of its own: to override them, every sampling parameter is written.
    """
    values = changed_values(session.sampling, session.load)
    if named:
        said = {field.name: getattr(session.sampling, field.name) for field in fields(Sampling)}
        values = {name: value for name, value in {**said, **values}.items() if value != ()}
    values.pop("main_gpu", None)
    if session.load.split_mode == ONE_GPU:
        # In Ollama main_gpu means that everything goes to that GPU, so it is written only then.
        values["main_gpu"] = session.load.main_gpu
    return {name: values[name] for name in PARAMETERS if name in values and PARAMETERS[name].in_modelfile}


def _drafts(session: Session) -> tuple[str, ...]:
    """The draft model, where the session names its file: DRAFT takes no name of a model."""
    speculation = session.load.speculation
    return (speculation,) if Path(speculation).is_absolute() else ()


def _in_one_line(value: Value) -> str:
    return " ".join(map(repr, value)) if isinstance(value, tuple) else written_value(value)


def _is_name(base: str, session: Session) -> bool:
    """Whether FROM names a model instead of a file."""
    return base != session.model_path and not base.startswith((".", "~", "/", "\\")) and not base.endswith(".gguf")


def _comments(session: Session, origin: Modelfile | None, *, named: bool) -> tuple[str, ...]:
    day = datetime.fromtimestamp(session.updated_at, UTC).date().isoformat()
    comments = [
        f"Made by workbench from session {session.id} of {day}." if session.turns else f"Made by workbench on {day}.",
        "To use it: ollama create NAME -f THIS_FILE",
    ]
    if session.model and session.model != session.model_path:
        comments.append(f"The model was opened as {session.model}.")
    if origin is None and is_modelfile_name(Path(session.model).name):
        comments.append("That Modelfile can no longer be read: an adapter or a template that it named is missing here.")
    if named and not session.system:
        comments.append("The session had no system prompt, and a Modelfile cannot remove the one of its FROM.")
    comments += [
        f"A Modelfile cannot hold {name} {_in_one_line(value)}, which the session used."
        for name, value in changed_values(session.sampling, session.load).items()
        if not PARAMETERS[name].in_modelfile and value != ONE_GPU and (value,) != _drafts(session)
    ]
    if empty := sum(not turn.message.content for turn in session.turns):
        comments.append(f"Left out: {empty} {'message' if empty == 1 else 'messages'} without text.")
    if any(turn.message.reasoning for turn in session.turns):
        comments.append("Left out: the reasoning of the model.")
    return tuple(comments)
