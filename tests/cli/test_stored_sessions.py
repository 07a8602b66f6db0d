"""Commands that list, export and import stored sessions."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

from workbench.cli.main import main
from workbench.core.parameters import Sampling
from workbench.store.paths import find_paths
from workbench.store.sessions.store import DatabaseSessionStore


@pytest.fixture
async def stored():
    """A stored conversation; gives its id."""
    from workbench.core.chat import Message
    from workbench.core.metrics import AnswerMetrics
    from workbench.core.models import ModelEntry
    from workbench.core.parameters import LoadSettings
    from workbench.core.tree import Node, Turn

    store = DatabaseSessionStore(find_paths().sessions_file)
    journal = await store.create()
    await journal.settings("Be brief.", Sampling(temperature=0.25, stop=("END",)), LoadSettings(num_ctx=4096))
    await journal.model(ModelEntry("demo", "Demo", path="/models/demo.gguf"))
    answer = Turn(Message("assistant", "It scatters."), 2.0, "demo", AnswerMetrics(decode_tps=12.5), "stop")
    await journal.message(Node(1, 0, Turn(Message("user", "Why is the sky blue?"), 1.0)))
    await journal.message(Node(2, 1, answer))
    await journal.close()
    store.close()
    return journal.id


async def test_sessions(call, stored):
    status, out, _ = call_in_thread(call, "sessions", "--json")
    assert status == 0
    (found,) = json.loads(out)
    assert found["id"] == stored
    assert found["title"] == "Why is the sky blue?"
    assert found["messages"] == 2
    assert found["metrics"]["decode_tps"] == 12.5


async def test_sessions_are_searched(call, stored):
    status, out, _ = call_in_thread(call, "sessions", "--search", "SCATTERS", "--json")
    (found,) = json.loads(out)
    assert (status, found["id"], found["snippet"], found["message"]) == (0, stored, "It scatters.", 2)
    assert found["marks"] == [[3, 11]]
    status, out, _ = call_in_thread(call, "sessions", "--search", "sky blue")
    assert (status, stored in out, "Why is the sky blue?" in out) == (0, True, True)
    status, out, err = call_in_thread(call, "sessions", "--search", "green")
    assert (status, out, "No conversation" in err) == (0, "", True)
    assert call_in_thread(call, "sessions", "--search", " ")[0] == 2


async def test_a_session_leaves_and_comes_back_the_same(call, stored, tmp_path):
    first, second = tmp_path / "one.json", tmp_path / "two.json"
    call_in_thread(call, "export", stored, "--format", "json", "-o", str(first))
    status, out, err = call_in_thread(call, "import", str(first))
    assert (status, out.strip()) == (0, f"{stored}-2")
    assert f"There is a session {stored} already" in err
    call_in_thread(call, "export", f"{stored}-2", "--format", "json", "-o", str(second))
    values = [json.loads(path.read_text()) for path in (first, second)]
    assert values[1].pop("id") == f"{stored}-2"
    del values[0]["id"]
    assert values[0] == values[1]


@pytest.mark.parametrize(
    "own",
    ["../../.bashrc", "/tmp/x", "..", "", "a/../b", "C:\\x", "\ud800", "a\nb", "\x1b[2J", "x" * 5000, "last", "-o"],
)
async def test_an_imported_session_gets_an_id_of_this_program(call, stored, tmp_path, own):
    file, folder = tmp_path / "one.json", tmp_path / "below" / "exports"
    folder.mkdir(parents=True)
    call_in_thread(call, "export", stored, "--format", "json", "-o", str(file))
    file.write_text(json.dumps(json.loads(file.read_text()) | {"id": own}))
    status, out, _ = call_in_thread(call, "import", str(file), "--json")
    name = json.loads(out)["session"]
    assert status == 0
    assert re.fullmatch(r"\d{6}-\d{6}(-\d+)?", name)
    status, out, _ = call_in_thread(call, "export", name, "--format", "md", "-o", str(folder))
    assert (status, out) == (0, f"{folder / name}.md\n")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "not a session exported as JSON"),
        (b"\xff\xfe{", "not UTF-8"),
        (b'{"kind": "workbench-session", "version": 9}', "version 9"),
        (b"\x00" * 1000, "not a session exported as JSON"),
    ],
)
def test_what_is_no_session_is_not_imported(call, tmp_path, data, told):
    path = tmp_path / "bad.json"
    path.write_bytes(data)
    status, _, err = call("import", str(path))
    assert status == 1
    assert told in err
    assert str(path) in err
    assert call("import", str(tmp_path / "none.json"))[0] == 1
    status, out, _ = call("import", str(path), "--json")
    assert json.loads(out)["error"]["kind"] == "session"


def call_in_thread(call, *arguments):
    """Commands start an event loop of their own, which the thread of a running one cannot have."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call, *arguments).result()


async def test_an_exported_modelfile_reads_back_to_the_same_values(call, stored, tmp_path):
    target = tmp_path / "Modelfile"
    status, out, _ = call_in_thread(call, "export", stored, "--format", "modelfile", "-o", str(target))
    assert (status, out.strip()) == (0, str(target))
    status, out, _ = call_in_thread(call, "modelfile", "check", str(target), "--json")
    found = json.loads(out)
    assert status == 1
    assert [each["message"] for each in found["errors"]] == ["FROM /models/demo.gguf: there is no such file"]
    commands = [(command["name"], command.get("parameter") or command.get("role"), command["args"])
                for command in found["commands"]]  # fmt: skip
    assert commands == [
        ("from", None, "/models/demo.gguf"),
        ("system", None, "Be brief."),
        ("parameter", "temperature", "0.25"),
        ("parameter", "stop", "END"),
        ("parameter", "num_ctx", "4096"),
        ("message", "user", "Why is the sky blue?"),
        ("message", "assistant", "It scatters."),
    ]


async def test_a_modelfile_names_the_model_as_the_user_wants(call, stored):
    def base(*arguments):
        status, out, err = call_in_thread(call, "export", stored, "--json", *arguments)
        assert status == 0, err
        return Path(json.loads(out)["files"][0]["path"]).read_text().partition("FROM ")[2].partition("\n")[0]

    assert base() == base("--from", "path") == "/models/demo.gguf"
    assert base("--from", "llama3.2:3b") == "llama3.2:3b"
    status, out, _ = call_in_thread(call, "export", stored, "--json", "--from", "hf")
    assert status == 1
    assert "/models/demo.gguf has no known name in Hugging Face" in json.loads(out)["error"]["message"]


async def test_several_formats_go_to_the_exports_folder(call, stored):
    status, out, _ = call_in_thread(call, "export", "last", "--format", "md,json", "--json")
    assert status == 0
    files = json.loads(out)["files"]
    assert [file["format"] for file in files] == ["md", "json"]
    assert "It scatters." in Path(files[0]["path"]).read_text()


async def test_several_formats_go_to_a_folder_of_the_user(call, stored, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    status, out, _ = call_in_thread(call, "export", "last", "--format", "md,json", "--output=~/mine")
    assert status == 0
    assert [Path(line).parent for line in out.splitlines()] == [tmp_path / "me" / "mine"] * 2


async def test_a_folder_that_cannot_be_made_is_a_sentence(call, stored, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = call_in_thread(call, "export", "last", "--format", "md,json", "-o", str(tmp_path / "file"))
    assert status == 1
    assert err.startswith(f"workbench: The export cannot be written to {tmp_path / 'file'}: File exists.")


async def test_a_conversation_on_standard_output(stored, capfdbinary):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, ["export", "last", "--format", "md", "-o", "-"]).result() == 0
    assert b"It scatters." in capfdbinary.readouterr().out


async def test_an_export_is_utf_8_in_every_locale(stored, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    store = DatabaseSessionStore(find_paths().sessions_file)
    await store.rename(stored, "Œuvre é")
    store.close()
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, ["export", "last", "--format", "md", "-o", "-"]).result() == 0
    assert written.getvalue().startswith("# Œuvre é\n".encode())


def test_a_session_that_is_not_there(call):
    status, _, err = call("export", "nonesuch")
    assert status == 1
    assert "nonesuch" in err
