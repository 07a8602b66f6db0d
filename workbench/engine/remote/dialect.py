"""The port of server APIs: what differs between them behind the one remote engine."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from workbench.core.chat import without_empty_answers
from workbench.core.engine import ProgressCallback, Request
from workbench.core.errors import EngineError
from workbench.core.models import ModelEntry
from workbench.core.parameters import PARAMETERS, SAMPLING_NAMES, LoadSettings, Value, changed_values, get_value
from workbench.engine.remote.answer_parser import AnswerParser
from workbench.engine.remote.response import HttpResponse
from workbench.engine.remote.streams import Frames


@dataclass(frozen=True, slots=True)
class Question:
    """A request in the form of an API."""

    path: str
    body: dict[str, Any]
    prompt_bytes: int
    """The length of the prompt's text."""
    seed: int | None = None
    """The requested seed."""
    refused: tuple[str, ...] = ()
    """Parameters of the user that the server refused and that were removed."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that a server is ready to answer with."""

    model: ModelEntry
    settings: LoadSettings
    """With its context length on the server; `num_ctx` is 0 where the server does not report it."""
    warnings: tuple[str, ...] = ()


class Dialect(Protocol):
    """The API of a server, for one of its models."""

    async def open(self, settings: LoadSettings, on_progress: ProgressCallback) -> Opened:
        """Check that the model can answer, and load it where the server loads on request.

        Raises:
            WorkbenchError: It cannot answer.
        """

    def question(self, request: Request, seed: int) -> Question:
        """Express a request in the API, with this seed where the server takes one.

        Raises:
            EngineError: The API cannot express it.
        """

    def milder(self, question: Question, answer: HttpResponse) -> Question | None:
        """The question without the fields that the server refused; None where that would not help.

        Refused fields are remembered, so that each is refused once.
        """

    def frames(self) -> Frames:
        """The framing of a streamed answer."""

    def parser(self, question: Question, submitted_ns: int, limit: int) -> AnswerParser:
        """The parser of its values. Arguments are those of `AnswerParser`."""


def chosen(request: Request) -> dict[str, Value]:
    """The sampling parameters that somebody has set: for the others, a server has values of its own."""
    load = LoadSettings()
    changed = changed_values(request.sampling, load)
    # No format, also where it is chosen, needs no word.
    given = (request.given & SAMPLING_NAMES) - {"format"}
    names = (name for name in PARAMETERS if name in changed or name in given)
    return {name: get_value(request.sampling, load, name) for name in names}


def without(values: Iterable[str], taken: Collection[str]) -> tuple[str, ...]:
    """Those of `values` that an API which takes only `taken` does not have."""
    return tuple(name for name in values if name not in taken)


def model_id(model: ModelEntry) -> str:
    """The server's name of a model."""
    return model.ref.partition("#")[2]


def text_of(request: Request) -> str:
    """The whole text of a prompt, to estimate its length."""
    if request.prompt is not None:
        return request.prompt
    return "".join(message.content for message in request.messages)


def as_messages(request: Request) -> list[dict[str, str]]:
    """A conversation in the form of all APIs, without the reasoning before earlier answers.

    The beginning of an answer that is continued is the last message.
    """
    beginning = request.messages[-1:] if request.continues else ()
    earlier = without_empty_answers(request.messages[:-1] if request.continues else request.messages)
    return [{"role": message.role, "content": message.content} for message in (*earlier, *beginning)]


def refuse_thoughts(server: str) -> EngineError:
    """The error for an answer of thoughts alone, which a server cannot continue."""
    return EngineError(
        f"{server} cannot continue an answer of thoughts alone.",
        "Ask again (regenerate) with a higher limit of tokens (num_predict), or with less thinking.",
    )


def refuse_tokens(server: str) -> EngineError:
    """The error for token ids, which a server does not take."""
    return EngineError(f"{server} takes text and no token ids.", "Use a model file for that.")
