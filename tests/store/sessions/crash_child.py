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
import itertools
import os
import random
import select
import signal
import sys
import time
from dataclasses import dataclass
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
PATIENCE_S = 10
"""How long a program may take to begin its first answer; on a busy machine that takes a while."""


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

    def __init__(self, engine, log: int, answers: int) -> None:
        self._engine = engine
        self._log = log
        self._answers = answers
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
            if self._answers:
                os.close(self._answers)
                self._answers = 0


async def talk(folder: Path, log: int, answers: int) -> None:
    """One program: asks, and asks again, and stores everything."""
    scripts = tuple(Script.of(answer(turn)) for turn in range(200))
    model = ScriptedModel(ModelEntry("tiny", "tiny"), scripts, Pace(decode_tps=60))
    host = ScriptedHost([model], clock=FakeClock(), sleep=sleep)
    store = DatabaseSessionStore(folder / "sessions.db")
    services = fake_services(host, store=store, config=Config())
    workspace = Workspace(services, lambda error: os._exit(7), Clocks(now_ns, lambda: 0.0))
    engine = Logged(await workspace.open("tiny", "tiny"), log, answers)
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


def live(folder: Path, answers: int) -> None:
    """Be one program, until the end."""
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        asyncio.run(talk(folder, log, answers))
    finally:
        os._exit(9)


@dataclass
class Life:
    """A program that runs."""

    pid: int
    home: Path
    seconds: float
    answers: int
    """A pipe that the program closes when it has written anything of an answer; 0 from then on."""
    until: float
    """When it is killed."""


def start(home: Path, seconds: float, *, early: bool) -> Life:
    """Begin a program that is killed so many seconds after its first answer begins, or after its start if `early`."""
    home.mkdir()
    answers, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        live(home, writing)
    os.close(writing)
    return Life(pid, home, seconds, answers, time.monotonic() + (seconds if early else PATIENCE_S))


def main(folder: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    gc.freeze()
    numbers, lives = iter(range(kills)), list[Life]()
    while True:
        for number in itertools.islice(numbers, AT_ONCE - len(lives)):
            # One in four may die before its first answer begins.
            lives.append(start(folder / str(number), chance.uniform(0.01, LONGEST_LIFE), early=number % 4 == 0))
        if not lives:
            return
        silent = {life.answers: life for life in lives if life.answers}
        first = min(life.until for life in lives)
        for answers in select.select(silent, [], [], max(0.0, first - time.monotonic()))[0]:
            life = silent[answers]
            os.close(answers)
            life.answers = 0
            life.until = min(life.until, time.monotonic() + life.seconds)
        for life in [life for life in lives if time.monotonic() >= life.until]:
            kill(life)
            lives.remove(life)


def kill(life: Life) -> None:
    """Kill a program, and write down when and how it died."""
    died = now_ns()
    os.kill(life.pid, signal.SIGKILL)
    _, status = os.waitpid(life.pid, 0)
    if life.answers:
        os.close(life.answers)
    with (life.home / "log").open("ab") as log:
        log.write(f"died {died} {os.WTERMSIG(status) if os.WIFSIGNALED(status) else 'by itself'}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
