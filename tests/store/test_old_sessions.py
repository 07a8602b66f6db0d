from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.session_values import texts
from workbench.core.chat import Message
from workbench.core.metrics import AnswerMetrics
from workbench.core.parameters import LoadSettings, Sampling
from workbench.store.locks import try_lock
from workbench.store.old_sessions import read_story
from workbench.store.sessions import DatabaseSessionStore

T0 = 1_787_322_725.0


def line(kind, at=T0, **values):
    text = json.dumps({"t": kind, "at": at, **values}, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def said(role, content, at=T0, **values):
    return line("message" if role == "user" else "answer", at, role=role, content=content, **values)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "sessions"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path, folder):
    store = DatabaseSessionStore(tmp_path / "sessions.db", folder)
    yield store
    store.close()


def write(folder, name, *lines):
    (folder / f"{name}.jsonl").write_bytes(b"".join(lines))


async def test_old_files_are_taken_over_once_and_kept(store, folder, tmp_path):
    write(
        folder,
        "260101-100000",
        line("session"),
        line("settings", system="Be brief.", sampling={"top_k": 3, "no": 1}, load={"num_ctx": 512}),
        line("model", entry={"ref": "demo", "path": "/m"}),
        said("user", "Why?"),
        said(
            "assistant", "So.", T0 + 1, model="demo", metrics={"decode_tps": 12.5, "ttft_ms": "x"}, finish_reason="stop"
        ),
        line("end", T0 + 2),
    )
    write(folder, "260101-110000", said("user", "cut", T0 + 9), line("partial", T0 + 10, content="Onc", model="demo"))
    write(folder, "260101-120000", b"\x00" * 100)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (interrupted,) = await store.interrupted()
    assert interrupted.id == "260101-110000"
    assert [turn.finish_reason for turn in interrupted.turns] == ["", "interrupted"]
    session = await store.open_session("260101-10")
    assert (session.system, session.sampling, session.load) == (
        "Be brief.",
        Sampling(top_k=3),
        LoadSettings(num_ctx=512),
    )
    assert (session.model, session.model_path) == ("demo", "/m")
    assert session.turns[1].metrics == AnswerMetrics(decode_tps=12.5)
    assert [each.id for each in await store.summaries()] == ["260101-110000", "260101-100000"]
    await store.delete("260101-100000")
    store.close()
    again = DatabaseSessionStore(tmp_path / "sessions.db", folder)
    assert [each.id for each in await again.summaries()] == ["260101-110000"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    again.close()


async def test_what_an_old_program_still_writes_waits(store, folder, tmp_path):
    write(folder, "a", said("user", "one"))
    with (folder / "a.jsonl").open("rb") as held:
        assert try_lock(held.fileno())
        assert await store.summaries() == []
    store.close()
    again = DatabaseSessionStore(tmp_path / "sessions.db", folder)
    assert [each.id for each in await again.summaries()] == ["a"]
    again.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\xfe garbage\n",
        b"{}\n[]\n1\nnull\n",
        b'{"t": 1}\n{"t":"later kind","at":1}\n',
        b'{"t":"message","role":"tool","content":"x"}\n',
        b'{"t":"message","role":"user","content":1}\n',
        b'{"t":"answer","content":"x"}\n{"t":"model","entry":3}\n',
        b'{"t":"partial"\n',
        b"[" * 100_000 + b"\n",
        b'{"t":"settings","at":"x","sampling":{"top_k":-1,"no":1},"load":4}\n',
        b"\r\n\n",
    ],
)
def test_lines_that_make_no_sense_are_passed_over(garbage):
    data = b"".join([garbage, said("user", "one"), garbage, said("assistant", "two"), garbage])
    session = read_story("a", data).session
    assert [turn.message.content for turn in session.turns] == ["one", "two"]
    assert session.sampling == Sampling()


def test_times_that_are_none():
    data = b'{"t":"message","at":1e999,"role":"user","content":"x"}\n{"t":"end","at":null}\n'
    session = read_story("a", data).session
    assert (session.created_at, session.updated_at) == (0.0, 0.0)


@given(st.sampled_from(["user", "assistant", "system"]), texts, texts, st.floats(0, 1e10))
def test_any_message_is_read(role, content, reasoning, at):
    (turn,) = read_story("x", line("message", at, role=role, content=content, reasoning=reasoning)).session.turns
    assert (turn.message, turn.at) == (Message(role, content, reasoning), at)


@given(st.lists(texts, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_pieces_of_an_answer_add_up_wherever_they_are_torn(pieces, chance: random.Random):
    lines = [said("user", "q"), *(line("partial", content=piece) for piece in pieces)]
    data = b"".join(lines)
    cut = chance.randrange(len(lines[0]), len(data) + 1)
    turns = read_story("x", data[:cut]).session.turns
    content = turns[1].message.content if len(turns) > 1 else ""
    assert "".join(pieces).startswith(content)
    if cut == len(data):
        assert content == "".join(pieces)
