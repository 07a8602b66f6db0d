"""The installed program in a terminal of its own, used as a person uses it, on the real demo model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fcntl", reason="needs a pseudo-terminal")

from benchmarks.program import stored_rows
from benchmarks.terminal import Terminal

WORKBENCH = str(Path(sys.executable).parent / "workbench")
ENTER, ESCAPE, CTRL_O, CTRL_Q, F7 = "\r", "\x1b", "\x0f", "\x11", "\x1b[18~"
TAB, F3, LEFT, RIGHT = "\t", "\x1bOR", "\x1b[D", "\x1b[C"
ALTERNATE_SCREEN, MOUSE, CURSOR, FOCUS = 1049, 1000, 25, 1004
UP, DOWN, PAGE_UP, PAGE_DOWN, F5 = "\x1b[A", "\x1b[B", "\x1b[5~", "\x1b[6~", "\x1b[15~"


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    (folder / "config").mkdir(parents=True)
    settings = "[sampling]\ntemperature = 0.0\nseed = 1\nnum_predict = 48\n[load]\nnum_ctx = 2048\n"
    (folder / "config" / "config.toml").write_text(settings, encoding="utf-8")
    return folder


@pytest.fixture
def start(home):
    """Starts the program in a terminal; whatever still runs at the end is ended."""
    terminals = []

    def begin(*arguments, **size):
        env = {**os.environ, "WORKBENCH_HOME": str(home)}
        terminals.append(Terminal([WORKBENCH, *arguments], env=env, cwd=str(home), **size))
        return terminals[-1]

    yield begin
    for terminal in terminals:
        terminal.close()


def ask(terminal, text):
    terminal.send(text)
    terminal.wait_for(text)
    terminal.send(ENTER)


def is_on(terminal, mode):
    """Whether a private mode of the terminal was switched on last, rather than off; None where it never was."""
    switches = re.findall(rb"\x1b\[\?(?:\d+;)*%d(?:;\d+)*([hl])" % mode, terminal.raw)
    return switches[-1] == b"h" if switches else None


def answers(home):
    """The finished answers, in order."""
    query = "SELECT content, metrics, finish_reason FROM message WHERE metrics IS NOT NULL ORDER BY key"
    return [
        {"content": row[0], "metrics": json.loads(row[1]), "finish_reason": row[2]} for row in stored_rows(home, query)
    ]


def assert_terminal_is_as_it_was(terminal):
    assert terminal.is_restored
    assert is_on(terminal, ALTERNATE_SCREEN) is False
    assert is_on(terminal, MOUSE) is False
    assert is_on(terminal, CURSOR) is True
    assert is_on(terminal, FOCUS) is False
    titles = re.findall(rb"\x1b\]2;([^\x1b]*)\x1b|(\x1b\[2[23];2t)", terminal.raw)
    if titles:  # A program that ends at once sets none.
        assert titles[0][1] == b"\x1b[22;2t", "the title is put on the stack first"
        assert titles[-2:] == [(b"", b""), (b"", b"\x1b[23;2t")], "and taken from there at the end"


def test_a_conversation_from_start_to_exit(start, home):
    terminal = start("demo")
    terminal.wait_for("is ready", "Send")
    assert is_on(terminal, ALTERNATE_SCREEN) is True

    ask(terminal, "Why is the sky blue?")
    terminal.wait_until(lambda text: len(answers(home)) == 1, what="an answer")
    metrics = answers(home)[0]["metrics"]
    first_words = " ".join(answers(home)[0]["content"].split()[:4])
    figures = [f"{metrics['prompt_tokens']} tokens", f"0 of {metrics['prompt_tokens']}", "TTFT"]
    terminal.wait_for(first_words, f"{metrics['completion_tokens']} tokens", *figures)

    ask(terminal, "And at night?")
    terminal.wait_until(lambda text: len(answers(home)) == 2, what="a second answer")
    second = answers(home)[1]["metrics"]
    assert second["cached_tokens"] >= metrics["prompt_tokens"], "the second message goes on from the first"
    terminal.wait_for(f"{second['cached_tokens']} of {second['prompt_tokens']}")

    terminal.send(F7)
    terminal.wait_for("Export the conversation")
    terminal.send(ENTER)
    exports = home / "data" / "exports"
    terminal.wait_until(lambda text: any(exports.glob("*")), what="the export")

    # The title is written twice a second, which a quick machine may need no more for all of this.
    title = re.compile(rb"\x1b\]2;[^\x1b]*SmolLM2[^\x1b]* tokens/s")
    terminal.wait_until(lambda text: title.search(terminal.raw) is not None, what="model and speed in the title")
    terminal.send(CTRL_Q)
    assert terminal.wait_for_exit() == 0
    assert_terminal_is_as_it_was(terminal)
    (modelfile,) = exports.glob("*")
    text = modelfile.read_text(encoding="utf-8")
    assert text.startswith(("FROM ", "#"))
    assert "MESSAGE user Why is the sky blue?" in text
    assert "PARAMETER temperature 0" in text
    check = [WORKBENCH, "modelfile", "check", str(modelfile), "--json"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["ok"], done.stdout


def test_escape_stops_an_answer_and_keeps_what_was_written(start, home):
    (home / "config" / "config.toml").write_text("[sampling]\nseed = 1\n", encoding="utf-8")
    terminal = start("demo")
    terminal.wait_for("is ready")
    ask(terminal, "Write a very long story about the sea.")
    terminal.wait_for("Writing")
    terminal.send(ESCAPE)
    terminal.wait_until(lambda text: bool(answers(home)), what="the stopped answer")
    assert answers(home)[0]["finish_reason"] == "cancelled"
    assert answers(home)[0]["content"]
    terminal.wait_for("stopped")
    terminal.send(CTRL_Q)
    assert terminal.wait_for_exit() == 0


def test_an_answer_that_was_being_written_survives_a_kill(start, home):
    (home / "config" / "config.toml").write_text("[sampling]\nseed = 1\n", encoding="utf-8")
    terminal = start("demo")
    terminal.wait_for("is ready")
    ask(terminal, "Write a very long story about the sea.")
    terminal.wait_until(lambda text: bool(stored_rows(home, "SELECT 1 FROM piece")), what="a piece of the answer")
    terminal.close()

    again = start("demo")
    again.wait_for("interrupted", "Write a very long story")
    again.send(CTRL_Q)
    assert again.wait_for_exit() == 0


def test_without_a_model_the_program_opens_and_says_how_to_get_one(start, home):
    (home / "config" / "config.toml").write_text('model = ""\n', encoding="utf-8")
    terminal = start()
    terminal.wait_for("/load demo")
    terminal.send(CTRL_Q)
    assert terminal.wait_for_exit() == 0
    assert_terminal_is_as_it_was(terminal)


def test_a_small_terminal_that_grows(start):
    terminal = start("scripted", columns=80, rows=24)
    terminal.wait_for("Send")
    terminal.resize(120, 36)
    terminal.wait_for("DECODE", "CONTEXT")
    terminal.resize(80, 24)
    terminal.wait_until(lambda text: "DECODE" not in text and "Send" in text, what="the narrow screen")
    terminal.send(CTRL_O)
    terminal.wait_for("scripted")
    terminal.send(ESCAPE)
    terminal.send(CTRL_Q)
    assert terminal.wait_for_exit() == 0


WIDE_TEXT = """FROM demo
MESSAGE user Compare the quantizations.
MESSAGE assistant \"\"\"
| model | quantization | tokens per second | remarks |
|---|---|--:|---|
| SmolLM2-135M-Instruct | Q4_K_M | 142.3 | surprisingly usable for summarization |
| Llama-3.2-1B-Instruct | Q8_0 | 32.9 | see https://huggingface.co/bartowski/Llama-3.2-1B-Instruct-GGUF |

```python
measure(model="SmolLM2-135M-Instruct", quantization="Q4_K_M", repetitions=5, prompt=512)
```

The last words.
\"\"\"
"""


def test_wide_texts_are_read_and_scrolled_and_arrows_walk_through_a_form(start, home):
    modelfile = home / "wide.modelfile"
    modelfile.write_text(WIDE_TEXT, encoding="utf-8")
    terminal = start(str(modelfile), columns=80, rows=24)
    terminal.wait_for("is ready", "↪", "The last words.")
    terminal.send(PAGE_UP + PAGE_UP)
    terminal.wait_for("Compare the quantizations.", "tokens per second  142.3")
    terminal.send(PAGE_DOWN + PAGE_DOWN)
    terminal.wait_for("The last words.")
    terminal.send(F5)
    terminal.wait_for("Under load", "Prompt tokens (pp)")
    terminal.send(UP)
    terminal.wait_for("The first model is A, the reference.")
    terminal.send(DOWN + DOWN)
    terminal.wait_for("Generated tokens (tg)")
    terminal.send(CTRL_Q)
    assert terminal.wait_for_exit() == 0


def test_a_broken_model_file_is_said_on_the_screen(start, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF\x03\x00\x00\x00")
    terminal = start(str(broken))
    terminal.wait_for("the file ends in the file header")
    terminal.wait_for("Send")
    terminal.send(CTRL_Q)
    assert terminal.wait_for_exit() == 0
    assert_terminal_is_as_it_was(terminal)


def test_without_a_terminal_the_screen_is_refused_in_a_sentence(home):
    env = {**os.environ, "WORKBENCH_HOME": str(home)}
    done = subprocess.run(
        [WORKBENCH, "demo"], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "terminal" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_newcomer_gets_to_three_lanes_and_reaches_each_of_them(start, home):
    terminal = start("demo", columns=80, rows=24)
    terminal.wait_for("is ready")
    terminal.send(F3)
    terminal.wait_for("F16", "Q8_0", "Q4_K_M", "MiB", "are free")
    terminal.send(ENTER)
    terminal.send(ENTER)
    ask(terminal, "Count to fifty.")
    kept = home / "data" / "races"
    terminal.wait_until(lambda text: any(kept.glob("*.json")), 90, what="the race")
    (race,) = (json.loads(path.read_text(encoding="utf-8")) for path in kept.glob("*.json"))
    assert [lane["quant"] for lane in race["lanes"]] == ["F16", "Q8_0", "Q4_K_M"]
    assert all(lane["completion_tokens"] and lane["text"] for lane in race["lanes"]), race

    terminal.wait_for("lanes 1-2/3 →")
    assert "Q4_K_M" not in terminal.text.splitlines()[0]
    for key in (TAB, TAB, RIGHT):
        terminal.send(key)
    terminal.wait_for("lanes ← 2-3/3")
    terminal.wait_until(lambda text: "Q4_K_M" in text.splitlines()[0], what="the third lane")
    terminal.send(LEFT + LEFT)
    terminal.wait_for("lanes 1-2/3 →")
    terminal.send(ESCAPE)
    terminal.wait_for("Send")
    terminal.send("why")
    terminal.wait_for("│ why")
    terminal.send(CTRL_Q)
    assert terminal.wait_for_exit() == 0
