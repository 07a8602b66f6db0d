"""The current conversation: its messages and its settings, without any widget."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from workbench.core.chat import Message
from workbench.core.config import Config, Overflow
from workbench.core.engine import Request
from workbench.core.kept import SYSTEM, taken
from workbench.core.models import ModelEntry
from workbench.core.origins import Origin, Origins, from_origin, set_names, with_recommended
from workbench.core.parameters import PARAMETERS, LoadSettings, Sampling, Value, get_value, with_values
from workbench.core.recipe import GIVEN, Recipe
from workbench.core.session import Session
from workbench.core.tree import EDITED, INTERRUPTED, History, Making, Node, Tree, Turn, View


@dataclass(slots=True)
class Conversation:
    """The messages, and the settings of the next answer."""

    system: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    load: LoadSettings = field(default_factory=LoadSettings)
    when_context_full: Overflow = "stop"
    tree: Tree = field(default_factory=Tree)
    created_at: float = field(default_factory=time.time)
    name: str = ""
    pinned: bool = False
    history: History = field(default_factory=History)
    origins: Origins = field(default_factory=dict)
    """Where the values of the parameters come from."""
    alternatives: int = 0
    """The likeliest tokens that are recorded at each place of an answer; 0 for none."""

    @classmethod
    def new(cls, config: Config) -> Conversation:
        return cls(config.system, config.sampling, config.load, config.when_context_full, origins=config.origins)

    @classmethod
    def resumed(cls, session: Session, config: Config, alternatives: int = 0) -> Conversation:
        return cls(
            session.system,
            session.sampling,
            session.load,
            config.when_context_full,
            session.tree,
            session.created_at,
            session.name,
            session.pinned,
            # Its answers were written with these values, also where they are the defaults.
            origins=from_origin([*PARAMETERS, SYSTEM], "stored chat"),
            alternatives=alternatives,
        )

    def successor(self) -> Conversation:
        """An empty conversation with the same settings."""
        origins = {name: origin for name, origin in self.origins.items() if origin != "stored chat"}
        load, full = self.load, self.when_context_full
        return Conversation(self.system, self.sampling, load, full, origins=origins, alternatives=self.alternatives)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The messages of the current branch."""
        return self.tree.turns

    def messages(self, to: int | None = None) -> tuple[Message, ...]:
        """The messages for the model, up to the message `to` or to the end.

        A question with an empty answer, which was stopped or failed before its first token or after its thoughts, is
        left out together with that answer: templates refuse two questions in a row and servers an empty answer, and the
        user has moved on to another one. Only an answer that is continued may have thoughts alone.
        """
        messages = [Message("system", self.system)] if self.system.strip() else []
        for node in self.tree.path(to):
            message = node.turn.message
            continued = node.number == to and not node.turn.is_empty
            if message.role == "assistant" and not message.content.strip() and not continued:
                if messages and messages[-1].role == "user":
                    messages.pop()
                continue
            messages.append(message)
        return tuple(messages)

    def request(self, continues: int | None = None, begins: Message | None = None) -> Request:
        """The next request to the engine: to continue a truncated answer, by its number, or for a new answer.

        The continued answer may be one that `begins` otherwise.
        """
        messages = self.messages(continues)
        return Request(
            messages=messages if begins is None else (*messages[:-1], begins),
            sampling=self.sampling,
            given=set_names(self.origins),
            when_context_full=self.when_context_full,
            continues=continues is not None,
            alternatives=self.alternatives,
        )

    def ask(self, text: str) -> Node:
        return self._grow(Turn(Message("user", text), time.time()))

    def edit(self, number: int, text: str) -> Node:
        """Add an edited message or answer beside the old one, which stays."""
        old = self.tree.node(number)
        turn = Turn(replace(old.turn.message, content=text), time.time())
        if old.turn.message.role == "assistant":
            turn = replace(turn, model=old.turn.model, finish_reason=EDITED)
        return self._grow(turn, old.parent)

    def go_back_to(self, number: int) -> None:
        """Make an earlier message the last one, so that the next answer is a branch beside the existing ones."""
        self._see(replace(self.tree.view, leaf=number))

    @property
    def state(self) -> tuple[View, History]:
        """The current branch and the undo history, for `return_to`."""
        return self.tree.view, self.history

    def return_to(self, state: tuple[View, History]) -> None:
        view, self.history = state
        self.tree = self.tree.seen(view)

    def walk(self, number: int, step: int) -> bool:
        """Go to the branch beside a message, `step` forward or back. Returns whether there is one."""
        if len(self.tree.siblings(number)) < 2:
            return False
        self._see(self.tree.walked(number, step).view)
        return True

    def delete(self, number: int) -> None:
        self._see(self.tree.without(number).view)

    def turn_back(self, way: Literal["undo", "redo"]) -> bool:
        """Undo the last change, or redo the one that was undone last. Returns whether there was one."""
        find = self.history.undone if way == "undo" else self.history.redone
        if (found := find(self.tree.view)) is not None:
            history, view = found
            self.return_to((view, history))
        return found is not None

    def _see(self, view: View) -> None:
        self.return_to((view, self.history.noted(self.tree.view)))

    def _grow(self, turn: Turn, parent: int | None = None) -> Node:
        self.history = self.history.noted(self.tree.view)
        self.tree = self.tree.grown(turn, parent)
        return self.tree.nodes[-1]

    def draft(self, message: Message, model: str, making: Making | None = None) -> Node:
        """An unfinished answer; it is not part of the conversation yet."""
        turn = Turn(message, time.time(), model, None, INTERRUPTED, making)
        return Node(self.tree.next_number, self.tree.leaf, turn)

    def answer(self, turn: Turn) -> Node:
        """Add an answer. It is undone together with its question."""
        self.tree = self.tree.grown(turn)
        return self.tree.nodes[-1]

    def begin_with(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.tree = self.tree.grown(Turn(message, time.time(), finish_reason=GIVEN))

    def change(self, system: str, values: Mapping[str, object]) -> None:
        """Change settings, by parameter name.

        Raises:
            ParameterError: A name is unknown, or a value is out of its range; nothing is changed.
        """
        self.sampling, self.load = with_values(self.sampling, self.load, values)
        changed = [*values, *([SYSTEM] if system != self.system else [])]
        self.system = system
        self.origins = {**self.origins, **from_origin(changed, "this chat")}

    def take(self, recipe: Recipe) -> None:
        """Take the settings of a Modelfile, in which those of the command line may have replaced some, and the kept."""
        system, given, found = taken(recipe, self.origins)
        origins: dict[str, Origin] = dict(found)
        for name, value in given.items():
            is_same = get_value(self.sampling, self.load, name) == value
            if is_same and self.origins.get(name) == "command line":
                origins[name] = "command line"
        self.change(system or self.system, given)
        self.origins = {**self.origins, **origins}

    def leave_model(self, config: Config) -> None:
        """Go back to the configuration for all that is kept for the model so far."""
        left = [name for name, origin in self.origins.items() if origin == "model"]
        values = {name: get_value(config.sampling, config.load, name) for name in left if name != SYSTEM}
        self.change(config.system if SYSTEM in left else self.system, values)
        self.origins = {name: origin for name, origin in self.origins.items() if name not in left}
        self.origins |= {name: config.origins[name] for name in left if name in config.origins}

    def general(self, config: Config) -> Conversation:
        """The same without what is kept for the model or recommended by its author."""
        copy = replace(self)
        copy.leave_model(config)
        copy.use_recommended(())
        return copy

    def to_keep(self, config: Config) -> dict[str, Value]:
        """What the user has set for this model: in this chat, on the command line, or kept already.

        A stored chat has no origins: of its values, those that differ from the configuration.
        """
        now = {name: get_value(self.sampling, self.load, name) for name in PARAMETERS} | {SYSTEM: self.system}
        usual = {name: get_value(config.sampling, config.load, name) for name in PARAMETERS} | {SYSTEM: config.system}
        return {
            name: now[name]
            for name, origin in self.origins.items()
            if origin in ("this chat", "command line", "model")
            or (origin == "stored chat" and now[name] != usual[name])
        }

    def use_recommended(self, recommended: Iterable[tuple[str, Value]]) -> None:
        """Use what the author of the model recommends, where nothing else has set a value."""
        self.sampling, self.origins = with_recommended(self.sampling, self.origins, recommended)

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
