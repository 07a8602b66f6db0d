from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.chat import Message
from workbench.core.errors import SessionError
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.store.records import encode, message_values, read_story, settings_values
from workbench.store.sessions import FileSessionStore

T0 = 1_787_322_725.0


def line(kind, at=T0, **values):
    return encode(kind, at, **values)


def said(role, content, at=T0, **values):
    kind = "message" if role == "user" else "answer"
    return line(kind, at, **message_values(Message(role, content)), **values)


@pytest.fixture
def store(tmp_path):
    return FileSessionStore(tmp_path)


@pytest.fixture
def write(tmp_path):
    def write_session(name, *lines):
        path = tmp_path / f"{name}.jsonl"
        path.write_bytes(b"".join(lines))
        return path

    return write_session


@pytest.fixture
def three(write):
    write("260101-100000", said("user", "one", T0), line("end"))
    write("260101-110000", said("user", "two", T0 + 50), line("end"))
    write("260202-100000", said("user", "three", T0 + 10), line("end"))


async def test_summaries_are_newest_first(store, three):
    assert [each.title for each in await store.summaries()] == ["two", "three", "one"]


async def test_a_summary(store, write):
    metrics = {"decode_tps": 12.5, "new_in_a_later_version": 1, "ttft_ms": "x", "source": "server", "estimated": True}
    write(
        "a",
        line("session"),
        line("model", entry={"ref": "old"}),
        said("user", "  Why is\n the sky blue?  "),
        said("assistant", "So.", T0 + 1, metrics=metrics),
        line("model", T0 + 2, entry={"ref": "demo", "path": None}),
        said("user", "And?", T0 + 3),
        line("partial", T0 + 4, content="We", model="demo"),
        line("partial", T0 + 5, content="ll", model="demo"),
    )
    (summary,) = await store.summaries()
    assert (summary.id, summary.title, summary.model) == ("a", "Why is the sky blue?", "demo")
    assert (summary.messages, summary.updated_at) == (4, T0 + 5)
    assert summary.metrics == AnswerMetrics(decode_tps=12.5, source="server", estimated=True)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("260101-100000", "260101-100000"),
        ("260101-11", "260101-110000"),
        ("2602", "260202-100000"),
        ("last", "260101-110000"),
    ],
)
async def test_short_names(store, three, name, found):
    assert await store.find(name) == found
    assert (await store.open_session(name)).id == found


@pytest.mark.parametrize(
    ("name", "said_of_it"),
    [
        ("2601", "beginning of 2 sessions"),
        ("260101-110001", "260101-110000"),
        ("", "There is no session ''"),
        ("../260101-100000", "There is no session"),
        ("zzz", "260202-100000"),
    ],
)
async def test_names_that_mean_nothing(store, three, name, said_of_it):
    with pytest.raises(SessionError) as caught:
        await store.find(name)
    assert said_of_it in str(caught.value)


@pytest.mark.parametrize("name", ["last", "x"])
async def test_nothing_is_stored_yet(store, name):
    for ask in (store.find, store.open_session, store.resume, store.dismiss):
        with pytest.raises(SessionError, match=r"no stored session|None is stored"):
            await ask(name)


async def test_a_folder_that_cannot_be_read(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SessionError, match="cannot be read"):
        await FileSessionStore(tmp_path / "file").summaries()


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
async def test_lines_that_make_no_sense_are_passed_over(store, write, garbage):
    path = write("a", garbage, said("user", "one"), garbage, said("assistant", "two"), garbage)
    before = path.read_bytes()
    session, journal = await store.resume("a")
    assert [turn.message.content for turn in session.turns] == ["one", "two"]
    assert session.sampling == Sampling()
    await journal.message(Message("user", "three"))
    assert path.read_bytes().startswith(before)
    assert [turn.message.content for turn in (await store.open_session("a")).turns] == ["one", "two", "three"]


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, b"just text", b'{"title": "somebody else\'s"}\n'])
async def test_a_file_that_is_no_session_is_left_alone(store, write, data):
    path = write("a", data)
    write("b", said("user", "good"))
    assert [each.id for each in await store.summaries()] == ["b"]
    assert [each.id for each in await store.interrupted()] == ["b"]
    for ask in (store.open_session, store.resume):
        with pytest.raises(SessionError, match="holds no session"):
            await ask("a")
    assert path.read_bytes() == data


async def test_a_last_line_without_its_line_end_counts_if_it_is_whole(store, write):
    write("a", said("user", "one"), said("assistant", "two").rstrip(b"\n"))
    session, journal = await store.resume("a")
    await journal.message(Message("user", "three"))
    again = await store.open_session("a")
    assert [turn.message.content for turn in again.turns] == ["one", "two", "three"]
    assert again.turns[:2] == session.turns


async def test_an_answer_that_makes_no_sense_does_not_take_its_partials_along(store, write):
    write("a", said("user", "one"), line("partial", content="tw", model="m"), b'{"t":"answer"}\n')
    session = await store.open_session("a")
    assert [turn.message.content for turn in session.turns] == ["one", "tw"]


async def test_times_that_are_none(store, write):
    write("a", b'{"t":"message","at":1e999,"role":"user","content":"x"}\n{"t":"end","at":null}\n')
    session = await store.open_session("a")
    assert (session.created_at, session.updated_at) == (0.0, 0.0)


async def test_folders_and_other_files_are_no_sessions(store, write, tmp_path):
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    write("a", said("user", "one"))
    assert [each.id for each in await store.summaries()] == ["a"]


# Lone surrogates are in it; two that make a pair are one character.
texts = st.text(st.characters(exclude_categories=()), max_size=30).map(
    lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
)
messages = st.builds(Message, st.sampled_from(["user", "assistant", "system"]), texts, texts)


@given(messages, st.floats(0, 1e10))
def test_any_message_survives(message, at):
    (turn,) = read_story("x", encode("message", at, **message_values(message))).turns
    assert (turn.message, turn.at) == (message, at)


@given(
    st.builds(Sampling, temperature=st.floats(0, 100), top_k=st.integers(0, 99), stop=st.lists(texts).map(tuple)),
    st.builds(LoadSettings, num_ctx=st.integers(0, 9999), use_mmap=st.booleans(), flash_attn=st.sampled_from(["on"])),
    texts,
)
def test_any_settings_survive(sampling, load, system):
    story = read_story("x", encode("settings", 1.0, system=system, **settings_values(sampling, load)))
    assert (story.system, story.sampling, story.load) == (system, sampling, load)


@given(st.lists(texts, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_pieces_of_an_answer_add_up_wherever_they_are_torn(pieces, chance: random.Random):
    lines = [said("user", "q"), *(line("partial", content=piece, model="m") for piece in pieces)]
    data = b"".join(lines)
    cut = chance.randrange(len(lines[0]), len(data) + 1)
    turns = read_story("x", data[:cut]).turns
    content = turns[1].message.content if len(turns) > 1 else ""
    assert "".join(pieces).startswith(content)
    if cut == len(data):
        assert content == "".join(pieces)


def test_the_journal_writes_what_is_read(tmp_path):
    entry = ModelEntry("ref", "name", "Q4", path="/p")
    story = read_story("x", encode("model", 1.0, entry={"ref": entry.ref, "path": entry.path}))
    assert (story.model, story.model_path) == ("ref", "/p")
