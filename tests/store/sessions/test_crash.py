from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

ROOT = Path(__file__).parents[3]
KILLS = 80
SECOND_NS = 1_000_000_000


@pytest.fixture(scope="module")
def graves():
    """The folders of programs that were killed in the middle of a conversation."""
    # In memory where that can be: what is tested is the death of a program, and a slow disk only takes time.
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if os.access(shared, os.W_OK) else None))
    command = [sys.executable, "-m", "tests.store.sessions.crash_child", str(folder), str(KILLS), "20260821"]
    try:
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT)
        yield [folder / str(number) for number in range(KILLS)]
    finally:
        shutil.rmtree(folder)


@dataclass
class Promised:
    """What the log of a program says."""

    asked: int = -1
    """The last question that the engine was given."""
    done: int = -1
    """The last answer that was stored as a whole."""
    tokens: list[tuple[int, int, int]] = field(default_factory=list)
    """Turn, length and time of every batch of tokens."""
    died: int = 0
    how: str = ""


def promises(home):
    found = Promised()
    for line in (home / "log").read_text().splitlines():
        match line.split():
            case ["asked", turn]:
                found.asked = int(turn)
            case ["token", turn, length, at]:
                found.tokens.append((int(turn), int(length), int(at)))
            case ["done", turn]:
                found.done = int(turn)
            case ["died", at, *how]:
                found.died, found.how = int(at), " ".join(how)
    return found


async def check(home):
    """What is on disk against what was promised; gives how many characters of an answer were cut off."""
    from tests.store.sessions.crash_child import answer, question
    from workbench.store.sessions.store import DatabaseSessionStore

    promised = promises(home)
    assert promised.how == "9", "it died by itself"
    store = DatabaseSessionStore(home / "sessions.db")
    try:
        sessions = await store.interrupted()
        if promised.asked < 0:
            assert len(sessions) <= 1
            return None
        (session,) = sessions
        texts = {"user": [], "assistant": []}
        for turn in session.turns:
            texts[turn.message.role].append(turn.message.content)
        questions, answers = texts["user"], texts["assistant"]
        # The next question may be there before the engine was given it.
        assert questions[: promised.asked + 1] == [question(turn) for turn in range(promised.asked + 1)]
        assert answers[: promised.done + 1] == [answer(turn) for turn in range(promised.done + 1)]
        old = [
            length for turn, length, at in promised.tokens if turn > promised.done and at <= promised.died - SECOND_NS
        ]
        written = answers[promised.done + 1] if len(answers) > promised.done + 1 else ""
        assert answer(promised.done + 1).startswith(written)
        assert len(written) >= max(old, default=0), "more than a second of the answer is lost"
        resumed, journal = await store.resume(session.id)
        assert resumed == session
        await journal.close()
        assert await store.interrupted() == []
        return len(written) if written and written != answer(promised.done + 1) else None
    finally:
        store.close()


async def test_a_killed_program_loses_a_second_of_the_answer_at_most_and_never_an_earlier_word(graves):
    cut = [await check(home) for home in graves]
    # It is no test unless many died in the middle of an answer.
    assert sum(length is not None for length in cut) > KILLS / 5
