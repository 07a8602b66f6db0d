"""Made sessions."""

from __future__ import annotations

from hypothesis import strategies as st

from workbench.core.chat import Message
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn

T0 = 1_787_322_725.0
runny = st.text("图书 aส้\ud800", max_size=8)


def session(session_id, *said, at=T0, **values):
    turns = [Turn(Message("assistant" if index % 2 else "user", text), at) for index, text in enumerate(said)]
    return Session(session_id, at, at, tree=Tree.of(turns), **values)
