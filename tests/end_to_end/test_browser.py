"""The screen in a real browser, on the demo model: typing, streaming, swapping, copying, other sizes, and the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyte
import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("textual_serve", reason="textual-serve is not installed")

WORKBENCH = str(Path(sys.executable).parent / "workbench")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
CONFIG = "[sampling]\ntemperature = 0.0\nseed = 1\nnum_predict = 64\n[load]\nnum_ctx = 2048\n"
# The private sequences of newer keyboard protocols, which pyte would show as text.
_UNKNOWN = re.compile(rb"\x1b\[[<=>][0-9;:]*[A-Za-z]")


class Page:
    """A page of the browser. What it draws is pixels: its text is that of the frames which it gets."""

    def __init__(self, page, seconds=60):
        self.page, self._seconds = page, seconds
        self.requests = []
        self._screen = pyte.Screen(80, 24)
        self._stream = pyte.ByteStream(self._screen)
        page.on("request", lambda request: self.requests.append(request.url))
        self.errors = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("websocket", self._follow)

    def _follow(self, socket):
        self.requests.append(socket.url)
        columns, rows = map(int, re.search(r"width=(\d+)&height=(\d+)", socket.url).groups())
        self._screen.reset()
        self._screen.resize(rows, columns)
        socket.on("framereceived", self._draw)
        socket.on("framesent", self._resize)

    def _draw(self, data):
        if isinstance(data, bytes):
            self._stream.feed(_UNKNOWN.sub(b"", data))

    def _resize(self, data):
        kind, *rest = json.loads(data)
        if kind == "resize":
            self._screen.resize(rest[0]["height"], rest[0]["width"])

    @property
    def text(self):
        return "\n".join(self._screen.display)

    def wait_for(self, *texts):
        self.wait_until(lambda: all(text in self.text for text in texts), " and ".join(texts))

    def wait_until(self, condition, what):
        deadline = time.monotonic() + self._seconds
        while not condition():
            assert time.monotonic() < deadline, f"the page does not show {what}: {self.errors}\n{self.text}"
            self.page.wait_for_timeout(50)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def ask(self, text):
        self.page.keyboard.type(text)
        self.wait_for(text)
        self.press("Enter")


@pytest.fixture
def home(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


@pytest.fixture
def server(home):
    """The address of the screen, and the process that serves it."""
    env = {**os.environ, "WORKBENCH_HOME": str(home)}
    models = home / "data" / "models"
    models.mkdir(parents=True)
    make = [
        WORKBENCH,
        "quantize",
        "demo",
        "Q8_0",
        "--allow-requantize",
        "-o",
        str(models / "SmolLM2-135M-Instruct-Q8_0.gguf"),
    ]
    subprocess.run(make, env=env, check=True, capture_output=True)
    command = [WORKBENCH, "--web", "--port", "0", "demo"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        try:
            yield re.search(r"http://\S+", process.stderr.readline())[0], process
        finally:
            process.kill()


def programs(process):
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_typing_streaming_and_swapping_in_chromium(server, home):
    url, process = server
    address = url.partition("/?")[0].removeprefix("http://")
    with playwright.sync_playwright() as drivers:
        browser = drivers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        allowed = ["clipboard-read", "clipboard-write"]
        context = browser.new_context(viewport={"width": 1200, "height": 760}, permissions=allowed)
        page = Page(context.new_page())
        page.page.goto(url)
        page.wait_for("is ready", "DECODE")
        assert "key=" not in page.page.url
        blank = page.page.screenshot()

        page.ask("Why is the sky blue?")
        page.wait_for("64 tokens")
        page.wait_until(lambda: re.search(r"Gap p50 +\d", page.text), "the figures of the answer")
        assert page.page.screenshot() != blank, "the answer is drawn"
        page.ask("/copy")
        page.wait_for("Copied")
        copied = page.page.evaluate("navigator.clipboard.readText()")
        assert len(copied) > 40
        assert copied.split()[0] in page.text

        page.press("Control+l")
        page.wait_for("Q8_0  ", "is ready")
        page.ask("And at night?")
        page.wait_until(
            lambda: re.search(r"tokens +· +SmolLM2-135M-Instruct Q8_0", page.text), "the other one's answer"
        )

        page.press("F5")
        page.wait_for("2 tests, 5 times each")
        page.press("F1")
        page.wait_for("Everywhere")
        page.press("Escape", "F2")
        page.wait_for("DECODE")
        page.page.set_viewport_size({"width": 700, "height": 460})
        page.wait_until(lambda: "DECODE" not in page.text and "Send" in page.text, "the narrow screen")
        assert {request.split("/")[2] for request in page.requests} == {address}, "nothing leaves the machine"
        assert page.errors == []

        assert len(programs(process)) >= 1
        page.page.close()
        deadline = time.monotonic() + 30
        while programs(process) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not programs(process), "a closed page ends its program"

        again = Page(context.new_page())
        again.page.goto(url)
        again.wait_for("is ready", "A session was interrupted", "Why is the sky blue?")
        left = programs(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        _, alive = psutil.wait_procs(left, 30)
        assert not alive, "the end of the server ends the programs"
        again.page.get_by_text("The program has ended.").wait_for()
        browser.close()
