"""Two programs on one home at the same moment: what one of them stores, the other never takes away."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest

from workbench.core.config import ServerSetting
from workbench.core.errors import TargetError
from workbench.engine.llama.quantize.quantizer import quantize
from workbench.gguf.check import check_loadable
from workbench.gguf.quantization import QuantizeJob
from workbench.gguf.targets import find_quant_type
from workbench.store.config.write import add_server
from workbench.store.sessions.store import DatabaseSessionStore

ROOT = Path(__file__).parents[2]
ROUNDS = 12

START = """\
import asyncio, sys, time
from pathlib import Path
folder, who, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
GAP = 0.01  # The other looks for a free lock every 5 ms: without a gap it would wait until this one has ended.
"""
TOGETHER = """\
print("ready", flush=True)
sys.stdin.readline()
"""

CONFIG = """
from workbench.store.config.write import save_config
from workbench.core.config import ServerSetting
from workbench.store.config.write import add_server
path = folder / "config" / "config.toml"
keys = (("sampling.top_k", "sampling.seed"), ("load.num_ctx", "paints_per_second"))[who]
TOGETHER
for number in range(1, rounds + 1):
    for key in keys:
        save_config(path, {key: number})
        time.sleep(GAP)
    add_server(path, ServerSetting(f"http://127.0.0.1:{4000 + 100 * who + number}"))
    time.sleep(GAP)
"""

SESSIONS = """
from workbench.core.chat import Message
from workbench.core.tree import Node, Turn
from workbench.store.sessions.store import DatabaseSessionStore

async def talk():
    store = DatabaseSessionStore(folder / "data" / "sessions.db")
    for session in range(rounds):
        journal = await store.create()
        for number in range(1, 5):
            role = "user" if number % 2 else "assistant"
            text = f"program {who}, session {session}, message {number}"
            await journal.message(Node(number, number - 1, Turn(Message(role, text), time.time())))
        assert any(found.id == journal.id for found in await store.summaries())
        await journal.close()
    store.close()

TOGETHER
asyncio.run(talk())
"""

LOADS = """
from workbench.core.models import LoadRecord, MemoryUse
from workbench.core.parameters import LoadSettings
from workbench.store.loads import FileLoadBook
book = FileLoadBook(folder / "loads.json")
TOGETHER
for number in range(rounds):
    record = LoadRecord(f"/m/{who}-{number}", LoadSettings(), "CPU", MemoryUse(1, 2, 3), None, float(number))
    asyncio.run(book.remember(record))
    time.sleep(GAP)
"""


def run_two(folder: Path, script: str, rounds: int = ROUNDS) -> None:
    """Run a script in two programs that begin together; both have to succeed."""
    text = START + script.replace("TOGETHER\n", TOGETHER)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", text, str(folder), str(who), str(rounds)],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for who in range(2)
    ]
    ready = [program.stdout.readline() for program in programs]
    for program in programs:
        with suppress(BrokenPipeError):
            print(file=program.stdin, flush=True)
    for said, program in zip(ready, programs, strict=True):
        output = said + program.communicate(timeout=50)[0]
        assert program.returncode == 0, output


def test_changes_of_the_config_are_all_there(tmp_path):
    run_two(tmp_path, CONFIG)
    values = tomllib.loads((tmp_path / "config" / "config.toml").read_text(encoding="utf-8"))
    assert values["sampling"] == {"top_k": ROUNDS, "seed": ROUNDS}
    assert values["load"] == {"num_ctx": ROUNDS}
    assert values["paints_per_second"] == ROUNDS
    wanted = {f"http://127.0.0.1:{4000 + 100 * who + number}" for who in range(2) for number in range(1, ROUNDS + 1)}
    assert set(values["servers"]) == wanted
    assert len(values["servers"]) == len(wanted)


@pytest.mark.parametrize(
    "before",
    ['servers = "http://one:1"\n', 'servers = ["http://one:1", {url = "http://two:2", key_env = "KEY"}, 7]\n', ""],
)
def test_a_server_is_added_once_and_the_others_stay_as_they_were_typed(tmp_path, before):
    path = tmp_path / "config.toml"
    path.write_text(before, encoding="utf-8")
    add_server(path, ServerSetting("http://new:3"))
    add_server(path, ServerSetting("http://new:3"))
    listed = tomllib.loads(before).get("servers", [])
    listed = listed if isinstance(listed, list) else [listed]
    assert tomllib.loads(path.read_text(encoding="utf-8"))["servers"] == [*listed, "http://new:3"]


def test_records_of_loads_are_all_there(tmp_path):
    run_two(tmp_path, LOADS)
    loads = json.loads((tmp_path / "loads.json").read_text(encoding="utf-8"))["loads"]
    assert {load["path"] for load in loads} == {f"/m/{who}-{number}" for who in range(2) for number in range(ROUNDS)}


async def test_two_programs_that_store_their_first_sessions_together(tmp_path):
    for number in range(3):
        home = tmp_path / str(number)
        home.mkdir()
        run_two(home, SESSIONS)
        store = DatabaseSessionStore(home / "data" / "sessions.db")
        found = [await store.open_session(each.id) for each in await store.summaries()]
        store.close()
        texts = sorted(turn.message.content for session in found for turn in session.turns)
        assert texts == sorted(
            f"program {who}, session {session}, message {message}"
            for who in range(2)
            for session in range(ROUNDS)
            for message in range(1, 5)
        )
        assert all(len(session.turns) == 4 for session in found)


def test_two_programs_on_the_screen_and_commands_beside_them(tmp_path):
    pytest.importorskip("fcntl", reason="needs a pseudo-terminal")
    from benchmarks.common import WORKBENCH
    from benchmarks.program import CTRL_Q, Program, answered

    home = tmp_path / "home"
    (home / "config").mkdir(parents=True)
    (home / "config" / "config.toml").write_text("# mine\n[sampling]\nnum_predict = 12\n", encoding="utf-8")
    env = {**os.environ, "WORKBENCH_HOME": str(home)}

    def command(*arguments: str) -> str:
        done = subprocess.run([WORKBENCH, *arguments], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with Program(home, "scripted") as one, Program(home, "scripted") as two:
        programs = (one, two)
        for program in programs:
            program.wait_until_ready()
        for turn in range(3):
            for name, program in zip("ab", programs, strict=True):
                program.ask(f"{name}, question {turn}")
            command("sessions", "--search", "question")
            for name, program in zip("ab", programs, strict=True):
                question = f"{name}, question {turn}"
                program.wait_until(lambda _, question=question: question in answered(home), what="an answer")
                # The session of another program is no interrupted one, and is not taken away from it.
                assert "locked" not in program.text
                assert "not being stored" not in program.text
        sessions = {each["title"][:1]: each["id"] for each in json.loads(command("sessions", "--json"))}
        for session in sessions.values():
            command("export", session, "--format", "json", "-o", str(tmp_path))
        one.send("\x1b[19~")
        one.wait_for("Theme")
        one.send("\x1b[B\r")
        one.wait_until(lambda text: "Theme" not in text.replace("Themes", ""), what="a closed dialog")
        for program in programs:
            program.send(CTRL_Q)
            assert program.wait_for_exit() == 0
            assert b"Traceback" not in program.raw
    assert set(sessions) == {"a", "b"}
    for name in "ab":
        text = command("export", sessions[name], "--format", "md", "-o", "-")
        assert [f"{name}, question {turn}" in text for turn in range(3)] == [True] * 3
    text = (home / "config" / "config.toml").read_text(encoding="utf-8")
    assert "# mine\n[sampling]\nnum_predict = 12\n" in text
    assert "theme = " in text
    assert not [*(home / "data" / "running").glob("*.lock")]


async def test_two_quantizations_into_one_file(tmp_path, short_demo):
    job = QuantizeJob(short_demo, tmp_path / "made.gguf", find_quant_type("Q8_0"), allow_requantize=True)
    found = await asyncio.gather(quantize(job), quantize(job), return_exceptions=True)
    (refused,) = (each for each in found if isinstance(each, BaseException))
    assert isinstance(refused, TargetError)
    assert "there is something already" in refused.message
    assert [path.name for path in tmp_path.iterdir()] == ["made.gguf"]
    check_loadable(job.target)
