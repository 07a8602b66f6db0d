"""The conversation on the screen: its turns and its settings, without any widget."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from workbench.core.chat import Message
from workbench.core.config import Config, Overflow
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling, with_values
from workbench.core.ports import Request
from workbench.core.recipe import GIVEN
from workbench.core.session import Session, Turn


@dataclass(slots=True)
class Conversation:
    """What has been said, and how the next answer is to be made."""

    system: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    load: LoadSettings = field(default_factory=LoadSettings)
    when_context_full: Overflow = "stop"
    turns: list[Turn] = field(default_factory=list)
    created_at: float = field(default_factory=time.time)

    @classmethod
    def new(cls, config: Config) -> Conversation:
        """An empty conversation with the settings of the config."""
        return cls(config.system, config.sampling, config.load, config.when_context_full)

    @classmethod
    def resumed(cls, session: Session, config: Config) -> Conversation:
        """A stored conversation, to go on with."""
        return cls(
            session.system,
            session.sampling,
            session.load,
            config.when_context_full,
            list(session.turns),
            session.created_at,
        )

    def messages(self) -> tuple[Message, ...]:
        """What the model is given.

        A question whose answer is empty, because it was stopped or failed before its first word, is left out together
        with that answer: templates refuse two questions in a row, and the user has gone on to another one.
        """
        messages = [Message("system", self.system)] if self.system.strip() else []
        for turn in self.turns:
            message = turn.message
            if message.role == "assistant" and not message.content and not message.reasoning:
                if messages and messages[-1].role == "user":
                    messages.pop()
                continue
            messages.append(message)
        return tuple(messages)

    def request(self) -> Request:
        """What is asked of the engine next."""
        return Request(messages=self.messages(), sampling=self.sampling, when_context_full=self.when_context_full)

    def ask(self, text: str) -> Message:
        """Add what the user wrote."""
        message = Message("user", text)
        self.turns.append(Turn(message, time.time()))
        return message

    def answer(self, message: Message, model: str, metrics: AnswerMetrics, finish_reason: str) -> None:
        """Add what a model answered."""
        self.turns.append(Turn(message, time.time(), model, metrics, finish_reason))

    def begin_with(self, messages: Iterable[Message]) -> None:
        """Put the turns of a Modelfile at the beginning; nothing may have been said yet."""
        self.turns += [
            Turn(message, time.time(), finish_reason=GIVEN if message.role == "assistant" else "")
            for message in messages
        ]

    def change(self, system: str, values: Mapping[str, object]) -> None:
        """Take new settings, by parameter name.

        Raises:
            ParameterError: A name is unknown, or a value is out of its range; nothing is changed then.
        """
        self.sampling, self.load = with_values(self.sampling, self.load, values)
        self.system = system

    def session(self, session_id: str, model: ModelEntry | None) -> Session:
        """The conversation as it would be stored."""
        return Session(
            id=session_id,
            created_at=self.created_at,
            updated_at=self.turns[-1].at if self.turns else self.created_at,
            model=model.ref if model else "",
            model_path=(model.path or "") if model else "",
            system=self.system,
            sampling=self.sampling,
            load=self.load,
            turns=tuple(self.turns),
        )
