from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from workbench.core.chat import Message, Role
from workbench.core.events import Finished, PromptProgress, Token, TokenKind, Usage
from workbench.core.trace import Trace, Tracer
from workbench.core.tree import History, Tree, Turn, View


def said(text: str, role: Role = "user") -> Turn:
    return Turn(Message(role, text), 1.0)


def talk(*texts: str) -> Tree:
    return Tree.of(said(text, "assistant" if index % 2 else "user") for index, text in enumerate(texts))


def words(tree: Tree) -> str:
    return " ".join(turn.message.content for turn in tree.turns)


def test_a_linear_conversation() -> None:
    tree = talk("q", "a", "q2")
    assert words(tree) == "q a q2"
    assert [node.parent for node in tree.nodes] == [0, 1, 2]
    assert (tree.leaf, tree.next_number) == (3, 4)
    assert words(Tree()) == ""
    assert Tree().next_number == 1


def test_an_edit_is_a_sibling_and_both_can_be_walked_to() -> None:
    tree = talk("q", "a", "q2", "a2")
    edited = tree.grown(said("q2'"), parent=2).grown(said("a2'", "assistant"))
    assert words(edited) == "q a q2' a2'"
    assert edited.siblings(5) == (3, 5)
    back = edited.walked(5, -1)
    assert words(back) == "q a q2 a2"
    assert words(back.walked(3, -1)) == "q a q2' a2'"
    assert words(back.walked(1, 1)) == "q a q2' a2'", "one without a sibling: the newest branch below it"


def test_walking_leads_to_the_newest_branch_below() -> None:
    tree = talk("q", "a").grown(said("b", "assistant"), parent=1).grown(said("q2")).grown(said("q2'"), parent=3)
    other = tree.walked(3, 1)
    assert words(other) == "q a"
    assert words(other.walked(2, 1)) == "q b q2'"


def test_deleting_goes_to_the_sibling_before_or_after_or_above() -> None:
    tree = talk("q", "a").grown(said("b", "assistant"), parent=1).grown(said("c", "assistant"), parent=1)
    assert words(tree.without(4)) == "q b"
    assert words(tree.walked(4, 1).without(2)) == "q b"
    bare = tree.without(4).without(3).without(2)
    assert words(bare) == "q"
    assert words(bare.without(1)) == ""
    assert len(bare.without(1).nodes) == 4, "nothing is overwritten"


def test_deleting_elsewhere_leaves_the_conversation() -> None:
    tree = talk("q", "a", "q2").grown(said("b", "assistant"), parent=1)
    gone = tree.without(2)
    assert words(gone) == "q b"
    assert gone.view.deleted == {2, 3}
    assert gone.siblings(4) == (4,)


class Branching(RuleBasedStateMachine):
    """Whatever is done, in any order, against a list of everything that was ever said."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = Tree()
        self.history = History()
        self.said: list[tuple[int, Turn]] = []
        self.shown = [View()]
        self.place = 0

    def change(self, tree: Tree, *, undoable: bool = True) -> None:
        if undoable:
            self.history = self.history.noted(self.tree.view)
            del self.shown[self.place + 1 :]
            self.place += 1
            self.shown.append(tree.view)
        else:
            self.shown[self.place] = tree.view
        self.tree = tree

    def grow(self, parent: int, role: str, *, undoable: bool = True) -> None:
        turn = said(f"{role} {len(self.said)}", role)
        self.said.append((parent, turn))
        self.change(self.tree.grown(turn, parent), undoable=undoable)

    def pick(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from([node.number for node in self.tree.path()]))

    @rule()
    def ask(self) -> None:
        self.grow(self.tree.leaf, "user")
        self.grow(self.tree.leaf, "assistant", undoable=False)

    @precondition(lambda self: self.tree.leaf)
    @rule(data=st.data())
    def edit_or_regenerate(self, data: st.DataObject) -> None:
        node = self.tree.node(self.pick(data))
        self.grow(node.parent, node.turn.message.role)
        assert self.tree.leaf in self.tree.siblings(node.number)

    @precondition(lambda self: self.tree.leaf)
    @rule(data=st.data(), step=st.integers(-3, 3))
    def walk(self, data: st.DataObject, step: int) -> None:
        number = self.pick(data)
        self.change(self.tree.walked(number, step))
        siblings = self.tree.siblings(number)
        wanted = siblings[(siblings.index(number) + step) % len(siblings)]
        assert wanted in [node.number for node in self.tree.path()]

    @precondition(lambda self: self.tree.leaf)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        number = self.pick(data)
        self.change(self.tree.without(number))
        assert number not in [node.number for node in self.tree.path()]

    @rule()
    def undo(self) -> None:
        found = self.history.undone(self.tree.view)
        assert (found is None) == (self.place == 0)
        if found is not None:
            self.place -= 1
            self.history, view = found
            self.tree = self.tree.seen(view)

    @rule()
    def redo(self) -> None:
        found = self.history.redone(self.tree.view)
        assert (found is None) == (self.place == len(self.shown) - 1)
        if found is not None:
            self.place += 1
            self.history, view = found
            self.tree = self.tree.seen(view)

    @invariant()
    def nothing_that_was_said_is_lost(self) -> None:
        assert [(node.parent, node.turn) for node in self.tree.nodes] == self.said

    @invariant()
    def the_view_is_the_one_that_was_gone_to(self) -> None:
        assert self.tree.view == self.shown[self.place]

    @invariant()
    def the_conversation_is_a_way_of_living_messages(self) -> None:
        path = self.tree.path()
        assert [node.parent for node in path] == [0, *(node.number for node in path)][: len(path)]
        assert all(self.tree.is_alive(node.number) for node in path)
        deleted = self.tree.view.deleted
        assert all(node.number in deleted for node in self.tree.nodes if node.parent in deleted)


TestBranching = Branching.TestCase
TestBranching.settings = settings(max_examples=60, stateful_step_count=25)


# When the words came.

MS = 1_000_000


def token(text: str, at_ms: float, kind: TokenKind = "answer") -> Token:
    return Token(text, 1, kind, round(at_ms * MS), 0)


def test_a_trace_tells_when_which_words_came() -> None:
    tracer = Tracer(1_000 * MS)
    tracer.feed(PromptProgress(1, 1, 0, 1_100 * MS, 0))
    for event in (token("Hm", 1_200, "reasoning"), token("", 1_250), token("So", 1_300.5), token(".", 1_300.5)):
        tracer.feed(event)
    tracer.feed(Finished("stop", Usage(1, 0, 3), 1_400 * MS, 0, text="!!"))
    steps = [(round(step.gap_ms, 1), step.characters, step.kind) for step in tracer.trace().steps()]
    assert steps == [(200, 2, "reasoning"), (100.5, 2, "answer"), (0, 1, "answer"), (99.5, 2, "answer")]


@given(st.lists(st.tuples(st.integers(0, 10**12), st.text(min_size=1, max_size=300)), max_size=20))
def test_any_trace_is_read_back(pieces: list[tuple[int, str]]) -> None:
    tracer, now = Tracer(0), 0
    for gap, text in pieces:
        now += gap
        tracer.feed(Token(text, 1, "answer", now, 0))
    steps = list(tracer.trace().steps())
    assert [step.characters for step in steps] == [len(text) for _, text in pieces]
    assert sum(step.gap_ms for step in steps) == pytest.approx(now // 100_000 / 10)


@given(st.binary(max_size=40))
def test_whatever_stands_in_a_trace_is_read_without_an_error(data: bytes) -> None:
    assert all(step.characters >= 0 for step in Trace(data).steps())
