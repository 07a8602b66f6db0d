"""Kills the whole program at random moments, and checks after each that nothing was lost and the next start works.

    KILLS=200 KILL_SEED=1 python -m tests.reliability.kills

One home is used for all lives, so that each start is also the check of the kill before. What the screen has shown as
sent, stored or written has to be there afterwards: a question that is answered, and a finished answer, in the database;
a message that waits for its model in the history of prompts or the drafts; an export as a whole; a theme in the config.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.common import WORKBENCH
from benchmarks.models import variant
from benchmarks.program import CTRL_U, ESCAPE, Program, answered, home_folder, stored_rows
from benchmarks.terminal import Terminal
from workbench.gguf.check import check_loadable

F3, F7, F8, F9, CTRL_L, CTRL_R, DOWN = "\x1bOR", "\x1b[18~", "\x1b[19~", "\x1b[20~", "\x0c", "\x12", "\x1b[B"
COMMENT = "# A comment that no kill may take away.\n"
CONFIG = (
    COMMENT + "model_folders = ['{folder}']\nmodel_stores = []\nfind_servers = false\n"
    "[sampling]\nnum_predict = 60\n[load]\nnum_thread = 1\nnum_ctx = 2048\n"
)
OFFER = "A session was interrupted"
AT_ONCE_SECONDS = 0.1
"""What the screen has shown for so long counts as acknowledged; before, it may be on its way to the disk."""


class LostError(AssertionError):
    """Something that was acknowledged is gone, or the next start fails."""


def need(condition: object, what: str) -> None:
    if not condition:
        raise LostError(what)


class Kills:
    """Starts, uses and kills programs on one home; `real` is whether real models take part."""

    def __init__(self, home: Path, seed: int, *, real: bool) -> None:
        self._home = home
        self._chance = random.Random(seed)
        self._number = 0
        self._asked: set[str] = set()
        self._finished: set[str] = set()
        self._typed: set[str] = set()
        self._draft = ""
        """The first line of the text that the last program had in its prompt."""
        self.done: Counter[str] = Counter()
        self.interrupted = 0
        self.cut_answers = 0
        self._scripted: dict[str, Callable[[Program], float]] = {
            "chat": self._chat,
            "load": self._load,
            "export": self._export,
            "config": self._config,
        }
        self._real: dict[str, Callable[[Program], float]] = (
            {"chat, real model": self._chat, "swap": self._swap, "race": self._race, "engine": self._engine}
            if real
            else {}
        )
        self._targets = real

    def life(self) -> None:
        """Start a program, use it, kill it, and check the home."""
        self._number += 1
        kinds = [*self._scripted, *self._real, *(["quantize"] if self._targets else [])]
        kind = kinds[self._number % len(kinds)]
        if kind == "quantize":
            self._quantize()
        else:
            uses = {**self._scripted, **self._real}
            model = str(variant("Q4_K_M")) if kind in self._real else "scripted"
            host = ["--engine-host", "child"] if kind == "engine" else []
            with Program(self._home, model, *host) as program:
                self._begin(program)
                program.drain(uses[kind](program))
                self._kill(program)
        self.done[kind] += 1
        self.check()

    def _kill(self, program: Terminal) -> None:
        need(program.is_running, f"the program ended by itself:\n{program.text}")
        os.kill(program.pid, signal.SIGKILL)
        status = program.wait_for_exit()
        need(status == -signal.SIGKILL, f"it ended with {status}:\n{program.text}")
        need(b"Traceback" not in program.raw, f"a traceback is on the screen:\n{program.text}")

    def _begin(self, program: Program) -> None:
        """Wait for the start; where a session was interrupted, it has to be offered."""
        offered = stored_rows(
            self._home, "SELECT id FROM session WHERE holder IS NOT NULL AND messages > 0 AND deleted_at IS NULL"
        )
        try:
            program.wait_for("Send", *([OFFER] if offered else []))
        except TimeoutError as error:
            raise LostError(f"the next start does not work: {error}") from error
        program.wait_for(" is ready", seconds=60)
        if offered:
            self.interrupted += 1
            resume = self._chance.random() < 0.5
            program.send(CTRL_R if resume else ESCAPE)
            program.wait_until(lambda text: OFFER not in text, what="an answered offer")
            if resume:
                program.drain(0.2)
                program.wait_until(lambda text: "Loading" not in text, 60, "a loaded model")
        # The text of a program that was killed is in the prompt again.
        program.wait_until(lambda text: self._draft[:40] in text, what="the unsent text")
        program.send(CTRL_U)

    # Uses: each gives the seconds after which the program is killed

    def _text(self) -> str:
        return f"question {self._number} {self._chance.randrange(10**6)}"

    def _ask(self, program: Program, text: str) -> None:
        program.send(text)
        program.wait_for(text)
        program.send("\r")

    def _chat(self, program: Program) -> float:
        text = self._text()
        self._ask(program, text)
        moment = self._chance.uniform(0, 1.5)
        if moment < 0.3:
            return moment
        # The answer begins only when the question is on the disk.
        self._wait_for_answer(program, text)
        self._asked.add(text)
        if moment > 1.2:
            program.wait_until(lambda shown: "Writing" not in shown, 60, "a finished answer")
            program.drain(AT_ONCE_SECONDS)
            self._finished.add(text)
            return 0.0
        return moment

    def _wait_for_answer(self, program: Program, text: str) -> None:
        """Wait until an answer is written, or was: a short one is on the screen for less than a look at it takes."""
        program.wait_until(lambda shown: "Writing" in shown or text in answered(self._home), 60, f"an answer to {text}")

    def _load(self, program: Program) -> float:
        """Load again, with a message that waits for the model."""
        program.send(F9)
        program.wait_until(lambda text: "Loading" in text, what="a load")
        text = self._text()
        program.send(f"{text}\r")
        try:
            program.wait_for("your message waits", seconds=0.6)
        except TimeoutError:
            return 0.0
        program.drain(AT_ONCE_SECONDS)
        self._typed.add(text)
        self.done["message waited"] += 1
        return self._chance.uniform(0, 0.6)

    def _swap(self, program: Program) -> float:
        self._chat(program)
        program.send(CTRL_L)
        return self._chance.uniform(0, 1.5)

    def _race(self, program: Program) -> float:
        program.send(F3)
        program.wait_for("Ask all lanes")
        program.wait_until(lambda text: text.count("idle") >= 2, 30, "lanes")
        self._ask(program, self._text())
        return self._chance.uniform(0, 6)

    def _engine(self, program: Program) -> float:
        """Kill the process that hosts the engine while it answers, load again, and ask again."""
        text = self._text()
        self._ask(program, text)
        self._wait_for_answer(program, text)
        self._asked.add(text)
        program.drain(self._chance.uniform(0, 1))
        for child in psutil.Process(program.pid).children():
            if any("engine.child.worker" in word for word in child.cmdline()):
                child.send_signal(self._chance.choice((signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)))
                self.done["engine killed"] += 1
                child.wait(20)
        program.drain(0.5)
        program.send(F9)
        program.wait_until(lambda shown: "Loading" in shown, what="a load")
        program.wait_until(lambda shown: " is ready" in shown, 60, "a loaded model")
        return self._chat(program)

    def _export(self, program: Program) -> float:
        text = self._text()
        self._ask(program, text)
        self._wait_for_answer(program, text)
        program.send(F7)
        program.wait_for("Export the conversation")
        program.send(f"{DOWN}{DOWN}\r")
        if self._chance.random() < 0.3:
            program.wait_for("Written to")
            self.done["export acknowledged"] += 1
            need(list((self._home / "data" / "exports").glob("*.json")), "an export is not there")
            return 0.0
        return self._chance.uniform(0, 0.25)

    def _config(self, program: Program) -> float:
        program.send(F8)
        program.wait_for("Theme")
        program.send(f"{DOWN}\r")
        return self._chance.uniform(0, 0.15)

    def _quantize(self) -> None:
        """Make a model file; the child that writes it may outlive the program for a moment."""
        folder = self._home / "models"
        folder.mkdir(exist_ok=True)
        target = folder / f"made-{self._number}.gguf"
        command = [WORKBENCH, "quantize", str(variant("F16")), "Q4_0", "--threads", "1", "-o", str(target)]
        with Terminal(command, env={**os.environ, "WORKBENCH_HOME": str(self._home)}) as terminal:
            terminal.drain(self._chance.uniform(0.3, 6))
            children = psutil.Process(terminal.pid).children() if terminal.is_running else []
            if terminal.is_running:
                os.kill(terminal.pid, signal.SIGKILL)
            terminal.wait_for_exit()
        _, staying = psutil.wait_procs(children, 20)
        need(not staying, f"a child process stays: {staying}")
        unfinished = list(folder.glob(".*.part"))
        need(not unfinished, f"an unfinished file stays: {unfinished}")
        if target.exists():
            self.done["quantize finished"] += 1
            check_loadable(target)
            target.unlink()

    # Checks

    def check(self) -> None:
        """What is on the disk, while no program runs."""
        if (self._home / "data" / "sessions.db").exists():
            need(stored_rows(self._home, "PRAGMA integrity_check") == [("ok",)], "the database is damaged")
        asked = [row[0] for row in stored_rows(self._home, "SELECT content FROM message WHERE role = 'user'")]
        finished = answered(self._home)
        self.cut_answers = len(asked) - len(finished)
        questions = {*asked}
        need(self._asked <= questions, f"questions are lost: {self._asked - questions}")
        need(self._finished <= finished, f"answers are lost: {self._finished - finished}")
        prompts = self._home / "state" / "prompts"
        kept = (prompts / "history.jsonl").read_text(encoding="utf-8") if (prompts / "history.jsonl").exists() else ""
        drafts = [path.read_text(encoding="utf-8") for path in prompts.glob("drafts/*.txt")]
        self._draft = next((text.strip().partition("\n")[0] for text in drafts if text.strip()), "")
        kept += "".join(drafts)
        lost = {text for text in self._typed - questions if text not in kept}
        need(not lost, f"waiting messages are lost: {lost}")
        config = (self._home / "config" / "config.toml").read_text(encoding="utf-8")
        need(config.startswith(COMMENT), "the comments of the config are lost")
        need(tomllib.loads(config)["sampling"] == {"num_predict": 60}, "the config has changed")
        for path in (self._home / "data" / "exports").glob("*.json"):
            need(json.loads(path.read_bytes())["kind"] == "workbench-session", f"{path} is half-written")
        for path in (self._home / "data").rglob("races/*.json"):
            json.loads(path.read_bytes())

    def finish(self) -> None:
        """A last start, which is left by its key."""
        with Program(self._home, "scripted") as program:
            self._begin(program)
            program.quit()
        self.check()


def run(kills: int, seed: int, *, real: bool) -> Kills:
    """So many lives, on a new home.

    Raises:
        LostError: Something was lost.
    """
    folder = variant("Q4_K_M").parent if real else Path("/nowhere")
    with home_folder(CONFIG.format(folder=folder)) as home:
        found = Kills(home, seed, real=real)
        for _ in range(kills):
            found.life()
        found.finish()
    return found


def main() -> int:
    """Run, and print what was done."""
    kills, seed = int(os.environ.get("KILLS", "200")), int(os.environ.get("KILL_SEED", "1"))
    began = time.monotonic()
    try:
        found = run(kills, seed, real=True)
    except LostError as error:
        print(f"seed {seed}: {error}")
        return 1
    print(f"{kills} kills in {time.monotonic() - began:.0f} s, seed {seed}; nothing was lost")
    print(f"{found.interrupted} starts offered an interrupted session; {found.cut_answers} answers ended early")
    print("\n".join(f"| {kind} | {count} |" for kind, count in sorted(found.done.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
