"""Programs that hold a conversation with the scripted engine until they are killed.

Usage: `python -m tests.store.sessions.crash_child FOLDER KILLS SEED`. Everything is imported once; each program is a
fork, with a database and a log of its own in FOLDER. The log says, in the order of the events, what was promised to be
stored:

    asked TURN            the engine was given the question TURN
    token TURN LENGTH AT  the answer had LENGTH characters at AT
    done TURN             the answer was stored as a whole
    died AT               the program was killed

Times are in nanoseconds of a clock that runs `FASTER` than the real one, so that many seconds of talk fit in a test.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import sys
import time
from pathlib import Path

from tests.ui.fakes import FakeClock, fake_services
from workbench.core.config import Config
from workbench.core.events import Token
from workbench.core.models import ModelEntry
from workbench.engine.scripted import Pace, Script, ScriptedHost, ScriptedModel
from workbench.store.sessions.store import DatabaseSessionStore
from workbench.ui.workspace.pacing import Clocks
from workbench.ui.workspace.workspace import Workspace

FASTER = 4
AT_ONCE = 14
LONGEST_LIFE = 0.6
"""Seconds after which a program is killed, at most."""


def now_ns() -> int:
    return time.monotonic_ns() * FASTER


async def sleep(seconds: float) -> None:
    await asyncio.sleep(seconds / FASTER)


def question(turn: int) -> str:
    return f"question {turn} é"


def answer(turn: int) -> str:
    """Long ones and short ones, each its own."""
    return f"answer {turn} " + "日本 words and words " * (30 if turn % 2 else 2)


class Logged:
    """An engine that writes down what it was asked and what it said."""

    def __init__(self, engine, log: int) -> None:
        self._engine = engine
        self._log = log
        self.info = engine.info
        self.turn = 0

    def say(self, *words: object) -> None:
        os.write(self._log, (" ".join(map(str, words)) + "\n").encode())

    async def generate(self, request, cancel):
        assert request.messages[-1].content == question(self.turn)
        self.say("asked", self.turn)
        length = 0
        async for batch in self._engine.generate(request, cancel):
            length += sum(len(event.text) for event in batch if isinstance(event, Token))
            yield batch
            self.say("token", self.turn, length, now_ns())


async def talk(folder: Path, log: int) -> None:
    """One program: asks, and asks again, and stores everything."""
    scripts = tuple(Script.of(answer(turn)) for turn in range(200))
    model = ScriptedModel(ModelEntry("tiny", "tiny"), scripts, Pace(decode_tps=60))
    host = ScriptedHost([model], clock=FakeClock(), sleep=sleep)
    store = DatabaseSessionStore(folder / "sessions.db")
    services = fake_services(host, store=store, config=Config())
    workspace = Workspace(services, lambda error: os._exit(7), Clocks(now_ns, lambda: 0.0))
    engine = Logged(await workspace.open("tiny", "tiny"), log)
    for turn in range(len(scripts)):
        engine.turn = turn
        outcome = await workspace.answer(engine, question(turn), lambda *_: None)
        assert outcome.message.content == answer(turn)
        engine.say("done", turn)
        if turn % 3 == 2:
            conversation = workspace.conversation
            path = conversation.tree.path()
            if conversation.walk(path[0].number, 1):
                await workspace.record_view()
            conversation.delete(path[-1].number)
            await workspace.record_view()
            conversation.turn_back("undo")
            await workspace.record_view()


def live(folder: Path) -> None:
    """Be one program, until the end."""
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        asyncio.run(talk(folder, log))
    finally:
        os._exit(9)


def has_answered(home: Path) -> bool:
    """Whether a program has written anything of an answer; on a busy machine that takes a while."""
    log = home / "log"
    return log.exists() and b"token" in log.read_bytes()


def main(folder: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    gc.freeze()
    numbers = list(range(kills))
    while numbers:
        group, numbers = numbers[:AT_ONCE], numbers[AT_ONCE:]
        lives: list[tuple[float, int, Path]] = []
        for number in group:
            home = folder / str(number)
            home.mkdir()
            pid = os.fork()
            if pid == 0:
                live(home)
            lives.append((chance.uniform(0.01, LONGEST_LIFE), pid, home))
        # One in four may die before its first answer begins; the life of the others is counted from there on.
        started = {pid: time.monotonic() for _, pid, home in lives if int(home.name) % 4 == 0}
        patience = time.monotonic() + 10
        while lives:
            for life, pid, home in list(lives):
                if pid not in started and (has_answered(home) or time.monotonic() > patience):
                    started[pid] = time.monotonic()
                if pid in started and time.monotonic() - started[pid] >= life:
                    kill(pid, home)
                    lives.remove((life, pid, home))
            time.sleep(0.002)


def kill(pid: int, home: Path) -> None:
    """Kill a program, and write down when and how it died."""
    died = now_ns()
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with (home / "log").open("ab") as log:
        log.write(f"died {died} {os.WTERMSIG(status) if os.WIFSIGNALED(status) else 'by itself'}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
