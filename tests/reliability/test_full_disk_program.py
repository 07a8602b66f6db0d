"""The whole program with its home on a disk without any space: it works, says so, and loses no typed word."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("fcntl", reason="needs a pseudo-terminal")

from benchmarks.common import WORKBENCH
from benchmarks.program import CTRL_N, CTRL_Q, ESCAPE, Program
from tests.reliability.disks import mounted

F7, F8, CTRL_R, DOWN = "\x1b[18~", "\x1b[19~", "\x12", "\x1b[B"


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk", 2 * 2**20) as found:
        yield found


def test_the_program_on_a_full_disk(disk, tmp_path):
    disk.fill()
    with Program(disk.folder / "home", "scripted", "--set", "num_predict=12") as program:
        program.wait_until_ready()
        program.send("first words")
        program.wait_for("first words", "No space left on device")
        program.send("\r")
        program.wait_for("The session is not being stored", "the disk is full", "tok/s  ·")
        program.send("typed and not sent")
        program.wait_for("typed and not sent")
        program.send(F8)
        program.wait_for("Theme")
        program.send(f"{DOWN}\r")
        program.wait_for("The theme is not stored", "No space left")
        program.send(CTRL_R)
        program.wait_for("Search all messages")
        assert "no such table" not in program.text
        program.send(ESCAPE)
        program.wait_until(lambda text: "Search all messages" not in text)
        program.send(F7)
        program.wait_for("Export the conversation")
        program.send(f"{DOWN}\r")
        program.wait_for("The export cannot be written to", "Free some space")
        assert "typed and not sent" in program.text
        # With space again, everything that was said is stored by the next record.
        disk.free()
        program.send(CTRL_N)
        program.wait_until(lambda text: "first words" not in text, what="a new conversation")
        program.send(CTRL_Q)
        assert program.wait_for_exit() == 0, program.raw[-3000:].decode(errors="replace")
        assert b"Traceback" not in program.raw
    done = subprocess.run(
        [WORKBENCH, "export", "last", "--format", "md", "-o", "-"],
        env={"WORKBENCH_HOME": str(disk.folder / "home"), "PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "first words" in done.stdout, done.stderr


def test_leaving_while_the_disk_is_full(disk):
    disk.fill()
    with Program(disk.folder / "home", "scripted") as program:
        program.wait_until_ready()
        program.ask("first words")
        program.wait_for("the disk is full")
        program.send(CTRL_Q)
        assert program.wait_for_exit() == 0, program.raw[-3000:].decode(errors="replace")
        assert b"Traceback" not in program.raw
