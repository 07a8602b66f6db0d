"""The conversation on the screen: its messages and its settings, without any widget."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from workbench.core.chat import Message
from workbench.core.config import Config, Overflow
from workbench.core.engine import Request
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling, with_values
from workbench.core.recipe import GIVEN
from workbench.core.session import Session
from workbench.core.tree import EDITED, INTERRUPTED, History, Making, Node, Tree, Turn, View


@dataclass(slots=True)
class Conversation:
    """What has been said, and how the next answer is to be made."""

    system: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    load: LoadSettings = field(default_factory=LoadSettings)
    when_context_full: Overflow = "stop"
    tree: Tree = field(default_factory=Tree)
    created_at: float = field(default_factory=time.time)
    name: str = ""
    pinned: bool = False
    history: History = field(default_factory=History)

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
            session.tree,
            session.created_at,
            session.name,
            session.pinned,
        )

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The messages of the branch that is open."""
        return self.tree.turns

    def messages(self, to: int | None = None) -> tuple[Message, ...]:
        """What the model is given, up to the message `to` or to the end.

        A question whose answer is empty, because it was stopped or failed before its first word, is left out together
        with that answer: templates refuse two questions in a row, and the user has gone on to another one.
        """
        messages = [Message("system", self.system)] if self.system.strip() else []
        for turn in (node.turn for node in self.tree.path(to)):
            message = turn.message
            if message.role == "assistant" and turn.is_empty:
                if messages and messages[-1].role == "user":
                    messages.pop()
                continue
            messages.append(message)
        return tuple(messages)

    def request(self, goes_on: int | None = None) -> Request:
        """What is asked of the engine next.

        Args:
            goes_on: The number of the answer that is to be gone on with; None for a new one at the end.
        """
        return Request(
            messages=self.messages(goes_on),
            sampling=self.sampling,
            when_context_full=self.when_context_full,
            continues=goes_on is not None,
        )

    def ask(self, text: str) -> Node:
        """Add what the user wrote."""
        return self._grow(Turn(Message("user", text), time.time()))

    def edit(self, number: int, text: str) -> Node:
        """Put a message of the user, or an answer, in other words: beside the old one, which stays."""
        old = self.tree.node(number)
        turn = Turn(replace(old.turn.message, content=text), time.time())
        if old.turn.message.role == "assistant":
            turn = replace(turn, model=old.turn.model, finish_reason=EDITED)
        return self._grow(turn, old.parent)

    def go_back_to(self, number: int) -> None:
        """End the conversation with an earlier message, so that the next one is another answer to it."""
        self._see(replace(self.tree.view, leaf=number))

    @property
    def state(self) -> tuple[View, History]:
        """What is the conversation, and what can be undone."""
        return self.tree.view, self.history

    def return_to(self, state: tuple[View, History]) -> None:
        """Be again what `state` was, as if nothing had been done since."""
        view, self.history = state
        self.tree = self.tree.seen(view)

    def walk(self, number: int, step: int) -> bool:
        """Go to the branch beside a message, `step` on or back. Returns whether there is one."""
        if len(self.tree.siblings(number)) < 2:
            return False
        self._see(self.tree.walked(number, step).view)
        return True

    def delete(self, number: int) -> None:
        """Take out a message with all that follows it in any branch."""
        self._see(self.tree.without(number).view)

    def undo(self) -> bool:
        """Take back the last change. Returns whether there was one."""
        return self._turn_to(self.history.undone(self.tree.view))

    def redo(self) -> bool:
        """Make the change again that was taken back last. Returns whether there was one."""
        return self._turn_to(self.history.redone(self.tree.view))

    def _turn_to(self, found: tuple[History, View] | None) -> bool:
        if found is None:
            return False
        self.history, view = found
        self.tree = self.tree.seen(view)
        return True

    def _see(self, view: View) -> None:
        self.history = self.history.noted(self.tree.view)
        self.tree = self.tree.seen(view)

    def _grow(self, turn: Turn, parent: int | None = None) -> Node:
        self.history = self.history.noted(self.tree.view)
        self.tree = self.tree.grown(turn, parent)
        return self.tree.nodes[-1]

    def draft(self, message: Message, model: str, making: Making | None = None) -> Node:
        """What there is of an answer that is being written; it is no part of the conversation yet."""
        turn = Turn(message, time.time(), model, None, INTERRUPTED, making)
        return Node(self.tree.next_number, self.tree.leaf, turn)

    def answer(self, turn: Turn) -> Node:
        """Add what a model answered. It is undone together with what it answers."""
        self.tree = self.tree.grown(turn)
        return self.tree.nodes[-1]

    def begin_with(self, messages: Iterable[Message]) -> None:
        """Put the turns of a Modelfile at the beginning; nothing may have been said yet."""
        for message in messages:
            self.tree = self.tree.grown(Turn(message, time.time(), finish_reason=GIVEN))

    def change(self, system: str, values: Mapping[str, object]) -> None:
        """Take new settings, by parameter name.

        Raises:
            ParameterError: A name is unknown, or a value is out of its range; nothing is changed then.
        """
        self.sampling, self.load = with_values(self.sampling, self.load, values)
        self.system = system

    def session(self, session_id: str, model: ModelEntry | None) -> Session:
        """The conversation as it would be stored."""
        turns = self.turns
        return Session(
            id=session_id,
            created_at=self.created_at,
            updated_at=turns[-1].at if turns else self.created_at,
            model=model.ref if model else "",
            model_path=(model.path or "") if model else "",
            system=self.system,
            sampling=self.sampling,
            load=self.load,
            tree=self.tree,
            name=self.name,
            pinned=self.pinned,
        )
