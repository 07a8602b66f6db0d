from __future__ import annotations

import json

import pytest

from tests.store.session_values import FIGURES, MADE, Talk
from workbench.core.errors import SessionError
from workbench.core.session import Session
from workbench.core.tree import Tree, View
from workbench.store.export.session_json import session_from_json, session_json
from workbench.store.sessions.store import DatabaseSessionStore


def branched():
    talk = Talk()
    nodes = (talk.user("q"), talk.answer("a"), talk.answer("b", "Hm.", parent=1), talk.user("q2", parent=2))
    return Session("260821-143205", 1.0, 2.0, tree=Tree(nodes, View(4)), name="Talk", pinned=True)


def text(**changes):
    return json.dumps(session_json(branched()) | changes)


def with_message(place, **changes):
    values = session_json(branched())
    values["messages"][place - 1] |= changes
    return json.dumps(values)


def test_the_form():
    values = session_json(branched())
    assert (values["kind"], values["version"], values["leaf"]) == ("workbench-session", 2, 4)
    message = values["messages"][2]
    assert (message["number"], message["parent"], message["content"], message["reasoning"]) == (3, 1, "b", "Hm.")
    assert message["making"]["digest"] == MADE.digest
    assert message["making"]["seed"] == 7
    assert message["metrics"]["decode_tps"] == FIGURES.decode_tps
    assert message["trace"] == "AQI="


async def test_a_session_that_was_imported_is_identical(tmp_path):
    store = DatabaseSessionStore(tmp_path / "sessions.db")
    name = await store.keep(session_from_json(text()))
    assert json.dumps(session_json(await store.open_session(name))) == text()
    assert await store.keep(session_from_json(text())) == f"{name}-2", "another session keeps its id"
    store.close()


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("", "not a session exported as JSON"),
        ("[]", "not a session exported as JSON"),
        ("1", "not a session exported as JSON"),
        ("[" * 100_000, "not a session exported as JSON"),
        ('{"kind": "other"}', "not a session exported as JSON"),
        ('{"kind": "workbench-session"}', "version None"),
        (text(version=1), "version 1"),
        (text(version=3), "version 3"),
        (text(version="2"), "version 2"),
        (text(version=True), "version True"),
        (text(later=1), "'later'"),
        (text(id=3), "'id'"),
        (text(pinned=1), "'pinned'"),
        (text(created_at=-1), "'created_at'"),
        (text(created_at=float("nan")), "'created_at'"),
        (text(updated_at=1e300), "'updated_at'"),
        (text(sampling={"top_k": -4}), "top_k"),
        (text(sampling={"smoothing": 1}), "'smoothing'"),
        (text(sampling=[]), "'sampling'"),
        (text(messages={}), "'messages'"),
        (text(leaf=9), "'leaf'"),
        (text(leaf=-1), "'leaf'"),
        (text(leaf=True), "'leaf'"),
        (text(messages=[3], leaf=0), "message 1"),
        (with_message(1, parent=4), "no tree"),
        (with_message(1, parent=1), "no tree"),
        (with_message(3, parent=7), "message 7, which is not there"),
        (with_message(2, number=1), "has the number 1"),
        (with_message(2, number=0), "from 1"),
        (with_message(2, number=9), "no|order"),
        (with_message(2, number=2**70), "'number'"),
        (with_message(2, at="x"), "'at'"),
        (with_message(2, role="tool"), "message 2"),
        (with_message(2, content=None), "message 2"),
        (with_message(2, colour="red"), "'colour'"),
        (with_message(2, metrics={"decode_tps": "fast"}), "'decode_tps'"),
        (with_message(2, metrics={"decode_tps": 1e999}), "'decode_tps'"),
        (with_message(2, metrics={"source": "rumour"}), "'source'"),
        (with_message(2, metrics={"joy": 3}), "'joy'"),
        (with_message(2, making={"path": ""}), "'digest'|no 'digest'"),
        (with_message(2, making=3), "'making'"),
        (with_message(2, trace="not base64!"), "'trace'"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(bad, told):
    with pytest.raises(SessionError, match=told):
        session_from_json(bad)


def test_what_is_missing_is_named():
    values = session_json(branched())
    for name in set(values) - {"kind", "version", "title", "name"}:
        with pytest.raises(SessionError, match=name):
            session_from_json(json.dumps({key: value for key, value in values.items() if key != name}))
