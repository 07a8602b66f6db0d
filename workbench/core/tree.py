"""The messages of a session as a tree: whatever is edited, asked again or deleted, nothing is overwritten.

Every message knows the one before it. An edit or a regeneration is a sibling of what it replaces, and the conversation
is the way from a root to the leaf. Deleted messages stay in the tree, marked, so that deleting can be undone.
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
    """What an answer was made with."""

    path: str = ""
    """The file of the model; empty where it has none."""
    digest: str = ""
    """What tells the file from others; empty where it is not known. `sha256:` stands before a digest of the whole
    file, `sampled-sha256:` before one of its length and of some blocks of it."""
    system: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    load: LoadSettings = field(default_factory=LoadSettings)
    """The settings that were in force, with nothing left to be chosen."""
    seed: int | None = None
    """The seed that was used, also where one was drawn."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a session, and how it came about."""

    message: Message
    at: float
    """When it was complete, in seconds since the epoch."""
    model: str = ""
    """The reference of the model that wrote it; empty for what the user wrote."""
    metrics: AnswerMetrics | None = None
    finish_reason: str = ""
    """Why an answer ended; `interrupted` where the program died while it streamed, `edited` where the user wrote it."""
    making: Making | None = None
    """What an answer was made with; None where that is not known."""
    trace: Trace = field(default_factory=Trace)
    """When its words came; empty where that is not known."""

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing."""
        return not self.message.content and not self.message.reasoning

    @property
    def is_cut(self) -> bool:
        """Whether it is an answer that ended before the model had ended it, and can be continued."""
        return self.message.role == "assistant" and self.finish_reason in CUT and not self.is_empty


@dataclass(frozen=True, slots=True)
class Node:
    """A message in the tree."""

    number: int
    """Counted from 1 in the session, in the order in which the messages came."""
    parent: int
    """The number of the message before it; 0 where it begins the conversation. Always less than its own number."""
    turn: Turn


@dataclass(frozen=True, slots=True)
class View:
    """What of a tree is the conversation: the only part of it that undoing changes."""

    leaf: int = 0
    """The last message of the conversation; 0 for none."""
    deleted: frozenset[int] = frozenset()
    """The messages that count as deleted. Whatever follows a deleted message is deleted too."""


@dataclass(frozen=True, slots=True)
class BranchPosition:
    """Which of its siblings a message is."""

    index: int = 1
    """Counted from 1."""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Tree:
    """All messages of a session, and which of them are the conversation. Every change gives a new tree."""

    nodes: tuple[Node, ...] = ()
    """In the order of their numbers, which may have gaps."""
    view: View = field(default_factory=View)

    @classmethod
    def of(cls, turns: Iterable[Turn]) -> Tree:
        """A tree with one branch."""
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
        """Whether the message is not deleted."""
        return number not in self.view.deleted

    def path(self, to: int | None = None) -> tuple[Node, ...]:
        """The messages from the first one to `to`, or to the leaf."""
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
        """The messages in the same place, itself included, in the order in which they came; none that is deleted."""
        parent = self.node(number).parent
        return tuple(node.number for node in self.nodes if node.parent == parent and self.is_alive(node.number))

    def places(self) -> dict[int, BranchPosition]:
        """Which of its siblings each message of the conversation is."""
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
        """A message and everything that follows it in any branch, deleted or not."""
        found = {number}
        for node in self.nodes:
            # A message always comes after its parent.
            if node.parent in found:
                found.add(node.number)
        return frozenset(found)

    def tip(self, number: int) -> int:
        """The end of the newest branch below a message; itself where nothing follows it."""
        return max(each for each in self.below(number) if self.is_alive(each))

    # Changes

    def seen(self, view: View) -> Tree:
        """The same messages in another view."""
        return replace(self, view=view)

    def at(self, leaf: int) -> Tree:
        """The conversation that ends with the message `leaf`."""
        return self.seen(replace(self.view, leaf=leaf))

    def grown(self, turn: Turn, parent: int | None = None) -> Tree:
        """With one message more, after `parent` or else after the leaf; it is the leaf then."""
        number = self.next_number
        node = Node(number, self.leaf if parent is None else parent, turn)
        return Tree((*self.nodes, node), replace(self.view, leaf=number))

    def walked(self, number: int, step: int) -> Tree:
        """Go to a sibling, and to the end of its newest branch.

        Args:
            number: A message of the conversation.
            step: How many siblings to go on, or back where it is negative. After the last one comes the first.
        """
        siblings = self.siblings(number)
        return self.at(self.tip(siblings[(siblings.index(number) + step) % len(siblings)]))

    def without(self, number: int) -> Tree:
        """With a message and everything after it deleted.

        Where the conversation was in there, it goes to the sibling before, or to the one after, or ends above.
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
    """The views that can be gone back to, and forward again."""

    past: tuple[View, ...] = ()
    future: tuple[View, ...] = ()
    """The next one is the last."""

    def noted(self, before: View) -> History:
        """After something was done; what had been undone is forgotten."""
        return History((*self.past, before))

    def undone(self, now: View) -> tuple[History, View] | None:
        """The view to go back to; None where nothing was done."""
        if not self.past:
            return None
        return History(self.past[:-1], (*self.future, now)), self.past[-1]

    def redone(self, now: View) -> tuple[History, View] | None:
        """The view that was undone last; None where none was."""
        if not self.future:
            return None
        return History((*self.past, now), self.future[:-1]), self.future[-1]
