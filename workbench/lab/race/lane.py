"""A lane of a race: one model, its settings, and its answers to the questions of the race."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from workbench.core.answer import Answer, Outcome
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Engine
from workbench.core.errors import WorkbenchError
from workbench.core.events import Event, Token
from workbench.core.formats import FormatState
from workbench.core.kept import SYSTEM, taken
from workbench.core.models import EngineInfo, ModelEntry
from workbench.core.origins import Origins, from_origin, with_recommended
from workbench.core.parameters import LoadSettings, Sampling, with_values
from workbench.core.recipe import Recipe

LaneState = Literal["waiting", "loading", "ready", "writing", "done", "stopped", "failed"]
"""`waiting`: for its turn; `ready`: open, and all questions from before it joined are answered."""


@dataclass(frozen=True, slots=True)
class LaneSpec:
    """A model and its settings, before it is open."""

    ref: str
    label: str
    """Its name until it is open."""
    load: LoadSettings
    sampling: Sampling
    system: str = ""
    model: ModelEntry | None = None
    """The entry of the model in the library, where it is known."""
    own_sampling: bool = False
    """Whether it keeps its sampling parameters when those of the race change."""
    opening: tuple[Message, ...] = ()
    """The turns before the first question, from a Modelfile."""
    origins: Origins = field(default_factory=dict)
    """Where the values come from."""

    kept: Recipe = field(default_factory=Recipe)
    """What is kept for its model."""

    def keeping(self, kept: Recipe) -> LaneSpec:
        """The same lane with what is kept for its model, where nothing else was chosen for the race."""
        system, values, origins = taken(kept, self.origins)
        sampling, load = with_values(self.sampling, self.load, values)
        return replace(
            self,
            system=system or self.system,
            sampling=sampling,
            load=load,
            origins={**self.origins, **origins},
            kept=kept,
        )

    def changed(self, values: Mapping[str, object], system: str | None = None) -> LaneSpec:
        """The same lane with other parameters, and another system prompt. Raises ParameterError."""
        sampling, load = with_values(self.sampling, self.load, values)
        own_system = [] if system in (None, self.system) else [SYSTEM]
        return replace(
            self,
            system=self.system if system is None else system,
            sampling=sampling,
            load=load,
            origins={**self.origins, **from_origin([*values, *own_system], "lane")},
            own_sampling=self.own_sampling or sampling != self.sampling,
        )


@dataclass(frozen=True, slots=True)
class LaneAnswer:
    """A lane's answer to one question."""

    outcome: Outcome
    tokens: tuple[int, ...]


class Lane:
    """One model in a race, with a history of its own."""

    def __init__(self, spec: LaneSpec) -> None:
        self.spec = spec
        self.state: LaneState = "waiting"
        self.info: EngineInfo | None = None
        """The model that was opened; kept when it is unloaded."""
        self.load_ms: float | None = None
        """The time of the first load."""
        self.error: WorkbenchError | None = None
        """Why it has failed."""
        self.load_fraction = 0.0
        self.answer: Answer | None = None
        """The answer that is written, or was written last."""
        self.tokens: list[int] = []
        """The ids of its tokens."""
        self.ends: list[int] = []
        """For each of its tokens, the length of the text up to its end, thoughts and answer together."""
        self.answers: list[LaneAnswer] = []
        """One for each question that it has answered or failed to answer."""
        self.engine: Engine | None = None
        self.cancel = CancelToken()
        self.answer_now = CancelToken()
        """Ends the thoughts of the answer that is written, where its engine can do that."""
        self.task: asyncio.Task[None] | None = None
        self.question = -1
        """The index of the question that `answer` answers; -1 before the first."""
        self.round = 0
        """Lanes with the same number answered side by side; 0 for those that answered alone."""

    @property
    def label(self) -> str:
        """Its name."""
        return self.model.label if self.model else self.spec.label

    @property
    def model(self) -> ModelEntry | None:
        """Its model, as far as it is known."""
        return self.info.model if self.info else self.spec.model

    @property
    def sampling(self) -> Sampling:
        """The sampling parameters of its answers, with those that the author of its model recommends."""
        return self._sourced[0]

    @property
    def origins(self) -> Origins:
        """Where its parameters come from."""
        return self._sourced[1]

    @property
    def _sourced(self) -> tuple[Sampling, Origins]:
        recommended = self.info.recommended if self.info is not None else ()
        return with_recommended(self.spec.sampling, self.spec.origins, recommended)

    @property
    def verdicts(self) -> list[FormatState]:
        """Whether each of its answers has the format that was asked for, where one was."""
        states = (answer.outcome.metrics.format_state for answer in self.answers)
        return [state for state in states if state is not None]

    @property
    def running(self) -> bool:
        """Whether it waits for its turn, loads or writes."""
        return self.task is not None and not self.task.done()

    @property
    def hopeless(self) -> bool:
        """Whether it could not be opened."""
        return self.state == "failed" and self.info is None

    @property
    def ended(self) -> bool:
        """Whether the model itself ended the last answer."""
        return not self.running and bool(self.answers) and self.answers[-1].outcome.reason == "stop"

    def begin(self, answer: Answer) -> Answer:
        """Take an empty answer to the next question, and return it."""
        self.answer, self.question = answer, len(self.answers)
        self.tokens, self.ends, self.error = [], [], None
        return answer

    def feed(self, event: Event) -> None:
        """Take one event of the answer."""
        if self.answer is not None:
            self.answer.feed(event)
        if isinstance(event, Token):
            self.tokens.append(event.id)
            self.ends.append((self.ends[-1] if self.ends else 0) + len(event.text))

    def messages(self, questions: Sequence[str]) -> tuple[Message, ...]:
        """The conversation up to the next question."""
        messages = [Message("system", self.spec.system)] if self.spec.system.strip() else []
        messages += self.spec.opening
        for question, answer in zip(questions, self.answers, strict=False):
            # Templates refuse two questions in a row, so a question without an answer is left out.
            if answer.outcome.message.content or answer.outcome.message.reasoning:
                messages += [Message("user", question), answer.outcome.message]
        return (*messages, Message("user", questions[len(self.answers)]))
