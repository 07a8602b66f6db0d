"""Conversations to store, and strategies that make any."""

from __future__ import annotations

from hypothesis import strategies as st

from workbench.core.chat import Message
from workbench.core.metrics import AnswerMetrics
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.session import Session
from workbench.core.speculation import SpeculationFigures
from workbench.core.trace import Trace
from workbench.core.tree import INTERRUPTED, Making, Node, Tree, Turn

FIGURES = AnswerMetrics(
    decode_tps=50.5, completion_tokens=3, cached_tokens=0, speculation=SpeculationFigures().with_step(3, 2)
)
MADE = Making("/m.gguf", "sha256:ab", "Be brief.", Sampling(seed=7), LoadSettings(num_ctx=512), 7)


class Clock:
    def __init__(self, now=1_787_322_725.0):
        self.now = now

    def __call__(self):
        self.now += 1
        return self.now


class Talk:
    """Numbers the messages of a conversation as they are said."""

    def __init__(self, number=0):
        self.number = number

    def user(self, text, parent=None, reason=""):
        return self._next(Turn(Message("user", text), 5.0, finish_reason=reason), parent)

    def answer(self, text, reasoning="", parent=None, reason="stop"):
        message = Message("assistant", text, reasoning)
        return self._next(Turn(message, 6.0, "demo", FIGURES, reason, MADE, Trace(b"\x01\x02")), parent)

    def partial(self, text, reasoning=""):
        """The next message as it grows; the same number each time."""
        turn = Turn(Message("assistant", text, reasoning), 6.0, "demo", None, INTERRUPTED, MADE)
        return Node(self.number + 1, self.number, turn)

    def _next(self, turn, parent):
        self.number += 1
        return Node(self.number, self.number - 1 if parent is None else parent, turn)


# Lone surrogates are in it; two that make a pair are one character.
texts = st.text(st.characters(exclude_categories=()), max_size=20).map(
    lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
)
samplings = st.builds(Sampling, temperature=st.floats(0, 100), stop=st.lists(texts, max_size=3).map(tuple))
loads = st.builds(LoadSettings, num_ctx=st.integers(0, 9999), type_k=st.sampled_from(["f16", "q4_0"]))
makings = st.builds(Making, texts, texts, texts, samplings, loads, st.none() | st.integers(0, 2**32))
turns = st.builds(
    Turn,
    st.builds(Message, st.sampled_from(["user", "assistant", "system"]), texts, texts),
    st.floats(0, 1e10),
    texts,
    st.none() | st.builds(AnswerMetrics, ttft_ms=st.none() | st.floats(0, 1e6), cached_tokens=st.none() | st.just(0)),
    st.sampled_from(["", "stop", "length", "interrupted", "edited"]),
    st.none() | makings,
    st.builds(Trace, st.binary(max_size=8)),
)


@st.composite
def trees(draw, deleted=True):
    """Any tree, with any of its messages as the leaf."""
    tree = Tree()
    for turn in draw(st.lists(turns, max_size=6)):
        tree = tree.grown(turn, draw(st.sampled_from([0, *(node.number for node in tree.nodes)])))
    for _ in range(draw(st.integers(0, 2)) if deleted else 0):
        if tree.leaf:
            tree = tree.without(draw(st.sampled_from([node.number for node in tree.path()])))
    alive = [node.number for node in tree.nodes if tree.is_alive(node.number)]
    return tree.at(draw(st.sampled_from([0, *alive])))


def sessions(deleted=True):
    """Any session."""
    return st.builds(
        Session,
        id=texts.filter(bool),
        created_at=st.floats(0, 1e10),
        updated_at=st.floats(0, 1e10),
        model=texts,
        model_path=texts,
        system=texts,
        sampling=samplings,
        load=loads,
        tree=trees(deleted=deleted),
        name=texts,
        pinned=st.booleans(),
    )
