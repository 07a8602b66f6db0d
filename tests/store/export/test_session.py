from __future__ import annotations

import json
import os
from dataclasses import replace

import gguf
import pytest
from hypothesis import given

from tests.gguf_files import finish
from tests.store.session_values import sessions
from workbench.core.chat import Message
from workbench.core.errors import ModelfileError, SessionError
from workbench.core.metrics import AnswerMetrics
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.modelfile.meaning import read
from workbench.store import files
from workbench.store.export.session import export_session, session_text
from workbench.store.export.session_json import session_from_json
from workbench.store.sessions.store import DatabaseSessionStore

SESSION = Session(
    id="260821-143205",
    created_at=1_787_322_725.0,
    updated_at=1_787_322_800.0,
    model="demo",
    model_path="/models/demo.gguf",
    system="Be brief.",
    sampling=Sampling(temperature=0.1, stop=("</s>",)),
    load=LoadSettings(type_k="q8_0"),
    tree=Tree.of(
        [
            Turn(Message("user", "Why?"), 1_787_322_750.0),
            Turn(
                Message("assistant", "So.\n\n```python\n1\n```", "Let me see."),
                1_787_322_800.0,
                "demo",
                AnswerMetrics(decode_tps=50.25, completion_tokens=3, ttft_ms=120.4),
                "length",
            ),
        ]
    ),
)


@pytest.mark.parametrize(
    ("own", "name"),
    [("../../.bashrc", "bashrc.md"), ("/etc/x", "etc-x.md"), ("..", "session.md"), ("\ud800", "session.md"),
     ("a\0b\n", "a-b.md"), ("x" * 999, f"{'x' * 80}.md"),
     ("a\\b:c", "a-b-c.md"), ("260821-143205-2", "260821-143205-2.md")],
)  # fmt: skip
def test_an_id_that_is_no_name_of_a_file_stays_in_the_folder(tmp_path, own, name):
    folder = tmp_path / "exports"
    folder.mkdir()
    assert export_session(replace(SESSION, id=own), "md", folder) == folder / name
    assert names(folder) == [name]


def test_markdown():
    assert session_text(SESSION, "md") == (
        "# Why?\n"
        "\n"
        "- Session: `260821-143205`\n"
        "- Date: `2026-08-21 14:33 UTC`\n"
        "- Model: `demo`\n"
        "- File: `/models/demo.gguf`\n"
        "- temperature: `0.1`\n"
        '- stop: `"</s>"`\n'
        "- type_k: `q8_0`\n"
        "\n"
        "## System\n"
        "\n"
        "Be brief.\n"
        "\n"
        "## User\n"
        "\n"
        "Why?\n"
        "\n"
        "## Assistant (demo)\n"
        "\n"
        "<details><summary>Reasoning</summary>\n"
        "\n"
        "Let me see.\n"
        "\n"
        "</details>\n"
        "\n"
        "So.\n"
        "\n"
        "```python\n"
        "1\n"
        "```\n"
        "\n"
        "*3 tokens · 50.2 tokens/s · first token after 120 ms · ended by: length*\n"
    )


def test_markdown_of_odd_values():
    session = Session("x", 0, 0, model="a`b\n## c", sampling=Sampling(stop=("``",)))
    text = session_text(session, "md")
    assert "- Model: `` a`b ## c ``\n" in text
    assert '- stop: ``` "``" ```\n' in text


def test_json_is_one_document_with_everything():
    values = json.loads(session_text(SESSION, "json"))
    assert values["kind"] == "workbench-session"
    assert values["title"] == "Why?"
    assert values["sampling"]["temperature"] == 0.1
    assert values["messages"][1]["reasoning"] == "Let me see."
    assert values["messages"][1]["metrics"]["decode_tps"] == 50.25
    assert values["messages"][1]["metrics"]["load_ms"] is None
    assert session_from_json(session_text(SESSION, "json")) == SESSION


def test_modelfile():
    modelfile = read(session_text(SESSION, "modelfile"))
    assert modelfile.base == "/models/demo.gguf"
    assert modelfile.system == "Be brief."
    assert modelfile.messages[1] == Message("assistant", "So.\n\n```python\n1\n```")


@given(sessions(deleted=False))
def test_json_loses_nothing(session):
    assert session_from_json(session_text(session, "json")) == session
    assert session_text(session, "md")


@given(sessions())
def test_what_is_deleted_does_not_leave(session):
    alive = {node.number for node in session.tree.nodes if session.tree.is_alive(node.number)}
    again = session_from_json(session_text(session, "json"))
    assert {node.number for node in again.tree.nodes} == alive
    assert again.turns == session.turns


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_the_folder_is_made(tmp_path):
    path = tmp_path / "new" / "deep" / "chat.md"
    assert export_session(SESSION, "md", path) == path
    assert path.read_text(encoding="utf-8") == session_text(SESSION, "md")
    assert names(path.parent) == ["chat.md"]


def test_an_existing_file_is_never_overwritten_unasked(tmp_path):
    path = tmp_path / "chat.md"
    path.write_text("mine")
    assert export_session(SESSION, "md", path) == tmp_path / "chat-2.md"
    assert export_session(SESSION, "md", path) == tmp_path / "chat-3.md"
    assert path.read_text() == "mine"
    assert export_session(SESSION, "modelfile", tmp_path / "Modelfile") == tmp_path / "Modelfile"
    assert export_session(SESSION, "modelfile", tmp_path / "Modelfile") == tmp_path / "Modelfile-2"
    assert names(tmp_path) == ["Modelfile", "Modelfile-2", "chat-2.md", "chat-3.md", "chat.md"]


def test_a_file_system_without_hard_links(tmp_path, monkeypatch):
    def no_links(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(files.os, "link", no_links)
    assert export_session(SESSION, "md", tmp_path / "a.md") == tmp_path / "a.md"
    assert export_session(SESSION, "md", tmp_path / "a.md") == tmp_path / "a-2.md"
    assert (tmp_path / "a-2.md").read_text(encoding="utf-8") == session_text(SESSION, "md")


@pytest.mark.parametrize(("form", "name"), [("md", ".md"), ("json", ".json"), ("modelfile", ".Modelfile")])
def test_a_folder_gets_a_file_named_after_the_session(tmp_path, form, name):
    assert export_session(SESSION, form, tmp_path) == tmp_path / f"260821-143205{name}"


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    from pathlib import Path

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert export_session(SESSION, "md", Path("~/chat.md")) == tmp_path / "chat.md"


def test_line_ends_are_kept(tmp_path):
    session = Session("x", 0, 0, model="m", system="a\r\nb\rc\nd")
    path = export_session(session, "modelfile", tmp_path / "Modelfile")
    assert read(path.read_bytes()).system == "a\r\nb\rc\nd"


def test_a_lone_surrogate_is_written_as_it_can_be(tmp_path):
    session = Session("x", 0, 0, system="a\ud800b")
    path = export_session(session, "json", tmp_path / "a.json")
    assert session_from_json(path.read_text(encoding="utf-8")) == session
    assert "\\ud800" in export_session(session, "md", tmp_path / "a.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["file/chat.md", "nul\0.md", "x" * 300])
def test_a_path_that_cannot_be_written(tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SessionError, match="cannot be written"):
        export_session(SESSION, "md", tmp_path / name)
    assert names(tmp_path) == ["file"]


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(SessionError, match="No space left"):
        export_session(SESSION, "md", tmp_path / "a.md")
    assert names(tmp_path) == []


def test_a_value_that_cannot_be_held_writes_nothing(tmp_path):
    session = Session("x", 0, 0, model="m", system="a\u00a0b")
    with pytest.raises(ModelfileError, match="SYSTEM"):
        export_session(session, "modelfile", tmp_path / "new" / "Modelfile")
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_an_export_is_private_and_leaves_the_users_folder_as_it_is(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    folder.chmod(0o755)
    old = os.umask(0)
    try:
        written = [export_session(SESSION, "md", folder / "a.md") for _ in range(2)]
    finally:
        os.umask(old)
    assert [path.stat().st_mode & 0o777 for path in (folder, *written)] == [0o755, 0o600, 0o600]


async def test_the_store_exports(tmp_path):
    store = DatabaseSessionStore(tmp_path / "sessions.db")
    assert await store.export(SESSION, "json", tmp_path / "a.json") == tmp_path / "a.json"


def test_a_model_without_a_chat_template_gets_the_one_that_was_used(demo_path, tmp_path):
    plain = tmp_path / "base.gguf"
    writer = gguf.GGUFWriter(plain, "llama")
    finish(writer)
    for path, wanted in ((plain, True), (demo_path, False), (tmp_path / "gone.gguf", False)):
        made = read(session_text(Session("s", 0, 0, "m", str(path)), "modelfile"))
        assert bool(made.template) is wanted
