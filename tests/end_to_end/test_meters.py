"""The program in a terminal of its own, on machines that a stub of NVIDIA's library makes up."""

from __future__ import annotations

import pytest

pytest.importorskip("fcntl", reason="needs a pseudo-terminal")

from benchmarks.program import Program
from tests.telemetry.stub import GB10, GIB, QUADRO_600, RTX_4090, Play, compile_stub

ENTER, ESCAPE, CTRL_Q, F3, F10 = "\r", "\x1b", "\x11", "\x1bOR", "\x1b[21~"
A_MINUTE_MS = 60_000
OFTEN = "from workbench.telemetry import resting; resting.REST_S = 1.0"
"""No model is on the cards of these tests: they would be read every 15 seconds."""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compile_stub(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def play(tmp_path):
    return Play(tmp_path / "nvml.txt")


@pytest.fixture
def start(library, play, tmp_path):
    """Starts the program beside the stub; whatever still runs at the end is ended."""
    terminals = []
    home = tmp_path / "home"
    home.mkdir()

    def begin(*arguments, **size):
        env = {"LD_LIBRARY_PATH": str(library.parent), "FAKE_NVML_FILE": str(play.path)}
        terminals.append(Program(home, *arguments, env=env, python=OFTEN, **size))
        return terminals[-1]

    yield begin
    for terminal in terminals:
        terminal.close()


def leave(terminal):
    terminal.send(CTRL_Q)
    assert terminal.wait_for_exit() == 0
    assert "Traceback" not in terminal.text


def test_a_card_is_shown_live_and_that_this_build_cannot_use_it_is_told_with_what_to_type(start, play):
    play.show(RTX_4090)
    terminal = start("scripted")
    terminal.wait_for("RTX 4090", "1.0/24.0 GiB", "61 °C  123/450 W  2,520 MHz", "42 %", "power-limited")
    # Which build this is, llama.cpp says itself, in a process of its own.
    terminal.wait_for("This build of llama.cpp cannot use NVIDIA", "▲ 1 alarm F10")
    play.change(_0__used=20 * GIB, _0__throttle=0x20)
    terminal.wait_for("20.0/24.0 GiB", "▲ too hot: slowed down", "▲ 2 alarms F10")
    terminal.send(F10)
    terminal.wait_for("ALARMS", "pip install", "compute capability 8.9", "0000:01:00.0", "last minute")
    terminal.send(ESCAPE)
    terminal.wait_for("Send")
    terminal.send(F3)
    terminal.wait_for("Ask all lanes", "vram 20.0/24.0 GiB")
    leave(terminal)


def test_two_cards_on_a_narrow_screen_are_one_line(start, play):
    play.show(RTX_4090, RTX_4090 | {"uuid": "GPU-2", "pci": "00000000:02:00.0", "temperature": 77})
    terminal = start("scripted", columns=80, rows=24)
    terminal.wait_for("2 GPUs 2.0/48.0 GiB", "busy 42 %", "77 °C")
    leave(terminal)


def test_a_gpu_that_shares_the_memory_of_the_system(start, play):
    play.show(GB10)
    terminal = start("scripted")
    terminal.wait_for("GB10", "shares the system's memory", "40 °C  4 W")
    leave(terminal)


def test_a_card_that_is_too_old_is_told_and_why(start, play):
    play.show(QUADRO_600)
    terminal = start("scripted")
    terminal.wait_for("Quadro 600 is too old", "▲ 1 alarm")
    terminal.send(F10)
    terminal.wait_for("compute capability 2.1", "The CPU computes.")
    leave(terminal)


def with_card(start, play):
    """The program on a card, with a model."""
    play.show(RTX_4090)
    terminal = start("scripted", "--set", "num_predict=8")
    terminal.wait_for("1.0/24.0 GiB", "is ready")
    return terminal


def test_a_card_that_falls_off_the_bus_and_comes_back(start, play):
    terminal = with_card(start, play)
    play.change(error=15)
    terminal.wait_for("No figures of NVIDIA GPUs: The GPU fell", "▲ 1 alarm F10")
    terminal.wait_until(lambda text: "24.0 GiB" not in text, what="the panel without the card")
    terminal.send("Still there?" + ENTER)
    terminal.wait_for("tokens  ·  scripted")
    play.change(error=None)
    terminal.wait_for("1.0/24.0 GiB", "are back")
    leave(terminal)


def test_a_driver_that_hangs_does_not_hold_up_the_screen(start, play):
    terminal = with_card(start, play)
    play.change(block_ms=A_MINUTE_MS)
    terminal.wait_for("s old")
    terminal.send("Still there?" + ENTER)
    terminal.wait_for("tokens  ·  scripted")
    terminal.send(F10)
    terminal.wait_for("a driver does not answer")
    terminal.send(ESCAPE)
    leave(terminal)


def test_without_a_driver_there_is_no_empty_block(start):
    terminal = start("scripted")
    terminal.wait_for("is ready", "Processors", "This process")
    terminal.wait_until(lambda text: "GiB of" in text, what="the meters of the machine")
    assert "vram" not in terminal.text
    assert "▲" not in terminal.text
    terminal.send(F10)
    terminal.wait_for("NVIDIA", "not on this machine")
    leave(terminal)
