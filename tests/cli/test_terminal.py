"""No text of a file, a server or a user reaches the terminal with what a terminal would obey."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import workbench.cli
from tests.servers.ollama import OllamaModel, OllamaServer
from tests.servers.script import Exchange, Script
from workbench.cli.output import note, print_json, say
from workbench.core.chat import Message
from workbench.core.models import ModelEntry
from workbench.core.tree import Node, Turn
from workbench.store.paths import find_paths
from workbench.store.sessions.store import DatabaseSessionStore

HOSTILE = "a\x1b]0;t\x07\x1b[2Jb\x9b31mc\u202ed\udc80e\x7f\x08\u2066\x00"
"""OSC, CSI in both forms, an override, a lone surrogate, and control characters."""
PATH = HOSTILE.replace("\x00", "")
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(*texts):
    for text in texts:
        assert not OBEYED.search(text), ascii(text)


@pytest.fixture
def hostile_session():
    async def store():
        sessions = DatabaseSessionStore(find_paths().sessions_file)
        journal = await sessions.create()
        await journal.model(ModelEntry(HOSTILE, HOSTILE, path=f"/models/{PATH}"))
        await journal.message(Node(1, 0, Turn(Message("user", f"words {HOSTILE}"), 1.0)))
        await journal.close()
        sessions.close()
        return journal.id

    return asyncio.run(store())


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", PATH, "x"),
        ("run", "scripted", "x", "--set", f"{PATH}=1"),
        ("run", "scripted", "x", f"--{PATH}"),
        ("compare", PATH, PATH, "--prompt", "x"),
        ("compare", "scripted", "scripted", "--prompt", "x", "-o", f"/nowhere/{PATH}.md"),
        ("bench", PATH),
        ("bench", "--show", PATH),
        ("bench", "--server", f"http://{PATH}"),
        ("models", PATH),
        ("models", "--sort", PATH),
        ("inspect", f"{PATH}.gguf"),
        ("fit", f"{PATH}.gguf"),
        ("quantize", PATH, "Q4_0"),
        ("quantize", "demo", PATH),
        ("export", PATH),
        ("export", "last", "--format", PATH),
        ("import", PATH),
        ("modelfile", "check", PATH),
        ("modelfile", PATH),
        (PATH,),
    ],
)
def test_words_of_the_command_line_in_messages(call, arguments):
    status, out, err = call(*arguments)
    assert status in {0, 1, 2}
    assert out + err
    harmless(out, err)


@pytest.mark.parametrize(
    "arguments", [("sessions",), ("sessions", "--search", "words"), ("export", "last", "--format", "md,json")]
)
def test_stored_text(call, hostile_session, arguments):
    status, out, err = call(*arguments)
    assert status == 0
    harmless(out, err)
    if arguments[0] == "sessions":
        titles = [each["title"] for each in json.loads(call(*arguments, "--json")[1])]
        assert "\x1b]0;t" in titles[0]


@pytest.mark.parametrize("command", ["models", "inspect", "fit", "modelfile"])
def test_metadata_and_names_of_files(call, tmp_path, short_demo, command):
    folder = tmp_path / PATH
    folder.mkdir()
    (folder / f"{PATH}.gguf").symlink_to(short_demo)
    (folder / "Modelfile").write_text(f"FROM {HOSTILE[:-1]}\nNOSUCH {HOSTILE[:-1]}\n", "utf-8", "replace")
    file = {"models": str(folder), "modelfile": str(folder / "Modelfile")}.get(command, str(folder / f"{PATH}.gguf"))
    _, out, err = call(command, *["check"] * (command == "modelfile"), file)
    harmless(out, err)
    assert out


def test_names_of_a_server(call, serve, monkeypatch):
    served = serve(
        OllamaServer(Script([Exchange("Hi", ("Hello", "."))]), models=[OllamaModel(HOSTILE.replace("\udc80", ""))])
    )
    monkeypatch.setenv("OLLAMA_HOST", served.url)
    _, out, err = call("models", "--servers")
    harmless(out, err)
    _, out, err = call("run", f"{served.url}#nosuch", "x")
    harmless(out, err)


def test_say_and_note_clean_and_json_stays_exact(capsys):
    say(HOSTILE)
    note(HOSTILE)
    out, err = capsys.readouterr()
    harmless(out, err)
    print_json({"name": HOSTILE, HOSTILE: [HOSTILE]})
    out, _ = capsys.readouterr()
    harmless(out)
    assert json.loads(out) == {"name": HOSTILE, HOSTILE: [HOSTILE]}


def test_the_commands_print_no_colours_with_and_without_no_color():
    sources = {path.name: path.read_text("utf-8") for path in Path(workbench.cli.__file__).parent.glob("*.py")}
    assert len(sources) > 20
    for name, text in sources.items():
        # 0 is the end of all colours: it restores a terminal.
        assert not re.search(r"\\(?:x1b|033|e)\[(?!0m)[0-9;]*m|^(?:from|import) rich", text, re.MULTILINE), name


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
def test_an_answer_is_cleaned_on_a_terminal_and_exact_in_a_pipe(tmp_path):
    script = "import sys; from workbench.cli.output import write_exactly; write_exactly('x\\x1b[2Jy\\x9bz')"
    piped = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    assert piped == "x\x1b[2Jy\x9bz".encode()
    parent, child = pty.openpty()
    seen = []
    reader = threading.Thread(target=lambda: seen.append(os.read(parent, 1000)))
    reader.start()
    subprocess.run([sys.executable, "-c", script], stdout=child, check=True)
    reader.join(10)
    os.close(child)
    os.close(parent)
    assert seen[0].decode() == "x␛[2Jy\ufffdz"
