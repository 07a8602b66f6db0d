from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from workbench.store.sessions import FileSessionStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

# Says on its standard output what has been promised to be on disk, each time before it goes on.
CHILD = """
import asyncio, pathlib, sys
from workbench.core.chat import Message
from workbench.core.metrics import AnswerMetrics
from workbench.store.sessions import FileSessionStore

async def main():
    journal = await FileSessionStore(pathlib.Path(sys.argv[1])).create()
    for turn in range(10_000):
        await journal.message(Message("user", f"question {turn} é"))
        print("message", turn, journal.id, flush=True)
        text = ""
        for word in range(20):
            text += f"word {word} 日本 "
            await journal.partial(Message("assistant", text), "demo")
            print("partial", turn, len(text), flush=True)
        await journal.answer(Message("assistant", text), "demo", AnswerMetrics(), "stop")
        print("answer", turn, len(text), flush=True)

asyncio.run(main())
"""


def killed_after(folder, lines):
    """The last promise that a child made which was killed at its promise number `lines`."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        session_id, promise = "", ["none"]
        for _ in range(lines):
            promise = child.stdout.readline().split()
            assert promise, "the child failed"
            if promise[0] == "message":
                session_id = promise[2]
        child.send_signal(signal.SIGKILL)
        # What it still wrote between that promise and its death.
        for line in child.stdout:
            promise = line.split()
        return session_id, promise
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.mark.parametrize("lines", [1, 2, 7, 22, 23, 60, 171])
async def test_a_killed_program_loses_nothing_that_was_promised(tmp_path, lines):
    session_id, (kind, turn, *rest) = killed_after(tmp_path, lines)
    store = FileSessionStore(tmp_path)
    (session,) = await store.interrupted()
    assert session.id == session_id
    turns = session.turns
    questions = [each.message.content for each in turns if each.message.role == "user"]
    answers = [each.message.content for each in turns if each.message.role == "assistant"]
    assert questions[: int(turn) + 1] == [f"question {number} é" for number in range(int(turn) + 1)]
    whole = "".join(f"word {word} 日本 " for word in range(20))
    assert answers[: int(turn)] == [whole] * int(turn)
    if kind in ("partial", "answer"):
        written = answers[int(turn)]
        assert whole.startswith(written)
        assert len(written) >= int(rest[0])
    resumed, journal = await store.resume(session_id)
    assert resumed == session
    await journal.close()
    assert await store.interrupted() == []


@pytest.mark.parametrize("cut", [1, 2, 3, 10, 40, 80])
async def test_any_torn_end_is_read_as_far_as_it_goes_and_then_gone_on_with(tmp_path, cut):
    session_id, _ = killed_after(tmp_path, 45)
    path = tmp_path / f"{session_id}.jsonl"
    torn = path.read_bytes()[:-cut]
    path.write_bytes(torn)
    store = FileSessionStore(tmp_path)
    session, journal = await store.resume(session_id)
    assert session.turns[0].message.content == "question 0 é"
    await journal.message(session.turns[0].message)
    await journal.close()
    assert path.read_bytes().startswith(torn)
    again = await store.open_session(session_id)
    assert again.turns[: len(session.turns)] == session.turns
    assert len(again.turns) == len(session.turns) + 1
    assert json.loads(path.read_bytes().splitlines()[-1])["t"] == "end"
