"""What an API of a server has to answer for, so that one engine can speak it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from workbench.core.chat import Message
from workbench.core.engine import ProgressCallback, Request
from workbench.core.errors import EngineError
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.engine.remote.answer_parser import AnswerParser
from workbench.engine.remote.http import HttpResponse
from workbench.engine.remote.streams import Frames


@dataclass(frozen=True, slots=True)
class Question:
    """A request as a server takes it."""

    path: str
    body: dict[str, Any]
    prompt_bytes: int
    """How long the text of the prompt is."""
    seed: int | None = None
    """The seed that is asked for."""
    refused: tuple[str, ...] = ()
    """Parameters of the user that the server has just refused, and that are no part of it any more."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What is known of a model once a server is ready to answer with it."""

    model: ModelEntry
    settings: LoadSettings
    """With the context that the server gives it; `num_ctx` is 0 where it does not say."""
    warnings: tuple[str, ...] = ()


class Dialect(Protocol):
    """The way in which a server is spoken to about one of its models."""

    async def open(self, settings: LoadSettings, on_progress: ProgressCallback) -> Opened:
        """See that the model can be asked, and load it where the server is told to.

        Raises:
            WorkbenchError: It cannot.
        """

    def question(self, request: Request, seed: int) -> Question:
        """Put a request as the server takes it.

        Args:
            request: What is asked.
            seed: The seed to use, where it is not up to the server.

        Raises:
            EngineError: It has no way to put this.
        """

    def milder(self, question: Question, answer: HttpResponse) -> Question | None:
        """The question without what the server did not take of it; None where that does not help."""

    def frames(self) -> Frames:
        """What finds the values in a streamed answer."""

    def parser(self, question: Question, submitted_ns: int, limit: int) -> AnswerParser:
        """What understands them."""


def model_id(model: ModelEntry) -> str:
    """What the server calls a model."""
    return model.ref.partition("#")[2]


def text_of(request: Request) -> str:
    """All text of a prompt, to guess from how long it is."""
    if request.prompt is not None:
        return request.prompt
    return "".join(message.content for message in request.messages)


def as_messages(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    """A conversation as all APIs take it. What a model thought before its earlier answers is not given back to it."""
    return [{"role": message.role, "content": message.content} for message in messages]


def refuse_tokens(server: str) -> EngineError:
    """The error for token ids that a server cannot be sent."""
    return EngineError(f"{server} takes text and no token ids.", "Use a model file for that.")
