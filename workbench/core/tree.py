"""The messages of a session as a tree: edits, new answers and deletions overwrite nothing.

Every message has a parent. An edit or a regeneration is a sibling of what it replaces, and the conversation is the path
from a root to the leaf. Deleted messages stay in the tree, marked, so that deletion can be undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from workbench.core.chat import Message
from workbench.core.metrics import AnswerMetrics
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.trace import Trace

INTERRUPTED = "interrupted"
"""The finish reason of an answer whose program died while it streamed."""
EDITED = "edited"
"""The finish reason of an answer that the user rewrote."""
CUT = frozenset({"length", "context", "cancelled", "failed", INTERRUPTED})
"""The finish reasons of answers that can be continued."""


@dataclass(frozen=True, slots=True)
class Making:
    """The model and the settings of an answer."""

    path: str = ""
    """The file of the model; empty for none."""
    digest: str = ""
    """The digest of the file; empty where it is unknown. `sha256:` precedes a digest of the whole file,
    `sampled-sha256:` one of its length and of some of its blocks."""
    system: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    load: LoadSettings = field(default_factory=LoadSettings)
    """The settings in force, with automatic values resolved."""
    seed: int | None = None
    """The seed in use, also where it was drawn at random."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a session, with its origin."""

    message: Message
    at: float
    """When it was complete, in seconds since the epoch."""
    model: str = ""
    """The reference of the model that wrote it; empty for the user."""
    metrics: AnswerMetrics | None = None
    finish_reason: str = ""
    """Why an answer ended; `interrupted` where the program died while it streamed, `edited` by the user."""
    making: Making | None = None
    """The model and the settings of an answer; None where they are unknown."""
    trace: Trace = field(default_factory=Trace)
    """The timing of its text; empty where it is unknown."""

    @property
    def is_empty(self) -> bool:
        """Whether it has no text."""
        return not self.message.content and not self.message.reasoning

    @property
    def is_cut(self) -> bool:
        """Whether it is a truncated answer, or one of thoughts alone, which can be continued."""
        thoughts_alone = self.finish_reason == "stop" and not self.message.content.strip()
        ended = self.finish_reason in CUT or thoughts_alone
        return self.message.role == "assistant" and ended and not self.is_empty


@dataclass(frozen=True, slots=True)
class Node:
    """A message in the tree."""

    number: int
    """Counted from 1 in the session, in the order of the messages."""
    parent: int
    """The number of the message before it, which is always less; 0 at the beginning of the conversation."""
    turn: Turn


@dataclass(frozen=True, slots=True)
class View:
    """Which part of a tree is the conversation: all that undo changes."""

    leaf: int = 0
    """The last message of the conversation; 0 for none."""
    deleted: frozenset[int] = frozenset()
    """The deleted messages; all that follow a deleted message are deleted too."""


@dataclass(frozen=True, slots=True)
class BranchPosition:
    """The position of a message among its siblings."""

    index: int = 1
    """Counted from 1."""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Tree:
    """All messages of a session, and which of them are the conversation. Every change returns a new tree."""

    nodes: tuple[Node, ...] = ()
    """Sorted by number; numbers may be missing."""
    view: View = field(default_factory=View)

    @classmethod
    def of(cls, turns: Iterable[Turn]) -> Tree:
        """A tree with a single branch."""
        nodes = tuple(Node(number, number - 1, turn) for number, turn in enumerate(turns, 1))
        return cls(nodes, View(len(nodes)))

    @property
    def leaf(self) -> int:
        """The number of the last message of the conversation; 0 where it is empty."""
        return self.view.leaf

    @property
    def next_number(self) -> int:
        """The number of the next message."""
        return self.nodes[-1].number + 1 if self.nodes else 1

    def node(self, number: int) -> Node:
        """The message of that number.

        Raises:
            KeyError: There is none.
        """
        return self._by_number()[number]

    def _by_number(self) -> Mapping[int, Node]:
        return {node.number: node for node in self.nodes}

    def is_alive(self, number: int) -> bool:
        """Whether a message is not deleted."""
        return number not in self.view.deleted

    def path(self, to: int | None = None) -> tuple[Node, ...]:
        """The messages from the root to `to`, or to the leaf."""
        nodes, number = self._by_number(), self.leaf if to is None else to
        found = []
        while number:
            found.append(nodes[number])
            number = nodes[number].parent
        return tuple(reversed(found))

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The conversation."""
        return tuple(node.turn for node in self.path())

    def siblings(self, number: int) -> tuple[int, ...]:
        """The messages with the same parent that are not deleted, itself included, by number."""
        parent = self.node(number).parent
        return tuple(node.number for node in self.nodes if node.parent == parent and self.is_alive(node.number))

    def places(self) -> dict[int, BranchPosition]:
        """The position of each message of the conversation among its siblings."""
        siblings: dict[int, list[int]] = {}
        for node in self.nodes:
            if self.is_alive(node.number):
                siblings.setdefault(node.parent, []).append(node.number)
        path = self.path()
        found = {}
        for node in path:
            others = siblings[node.parent]
            found[node.number] = BranchPosition(others.index(node.number) + 1, len(others))
        return found

    def below(self, number: int) -> frozenset[int]:
        """A message and all its descendants, deleted or not."""
        found = {number}
        for node in self.nodes:
            # A message always comes after its parent.
            if node.parent in found:
                found.add(node.number)
        return frozenset(found)

    def tip(self, number: int) -> int:
        """The leaf of the newest branch below a message; itself if nothing follows."""
        return max(each for each in self.below(number) if self.is_alive(each))

    # Changes

    def seen(self, view: View) -> Tree:
        """The same messages in another view."""
        return replace(self, view=view)

    def at(self, leaf: int) -> Tree:
        """The tree with the conversation that ends with the message `leaf`."""
        return self.seen(replace(self.view, leaf=leaf))

    def grown(self, turn: Turn, parent: int | None = None) -> Tree:
        """The tree with one more message after `parent`, or after the leaf; it becomes the leaf."""
        number = self.next_number
        node = Node(number, self.leaf if parent is None else parent, turn)
        return Tree((*self.nodes, node), replace(self.view, leaf=number))

    def walked(self, number: int, step: int) -> Tree:
        """Select the sibling `step` after a message, with its newest branch; the first follows the last."""
        siblings = self.siblings(number)
        return self.at(self.tip(siblings[(siblings.index(number) + step) % len(siblings)]))

    def without(self, number: int) -> Tree:
        """The tree with a message and its descendants deleted.

        If the conversation was among them, it moves to the previous sibling, or the next one, or ends at the parent.
        """
        gone = self.below(number)
        deleted = self.view.deleted | gone
        if self.leaf not in gone:
            return self.seen(View(self.leaf, deleted))
        siblings = self.siblings(number)
        index = siblings.index(number)
        others = (*reversed(siblings[:index]), *siblings[index + 1 :])
        left = self.seen(View(self.node(number).parent, deleted))
        return left.at(left.tip(others[0])) if others else left


@dataclass(frozen=True, slots=True)
class History:
    """The undo history of a view."""

    past: tuple[View, ...] = ()
    future: tuple[View, ...] = ()
    """The last one is the next to redo."""

    def noted(self, before: View) -> History:
        """The history after a change; what was undone is dropped."""
        return History((*self.past, before))

    def undone(self, now: View) -> tuple[History, View] | None:
        """The history and the view after undo; None if there is nothing to undo."""
        if not self.past:
            return None
        return History(self.past[:-1], (*self.future, now)), self.past[-1]

    def redone(self, now: View) -> tuple[History, View] | None:
        """The history and the view after redo; None if there is nothing to redo."""
        if not self.future:
            return None
        return History((*self.past, now), self.future[:-1]), self.future[-1]
