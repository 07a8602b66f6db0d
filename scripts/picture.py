"""Take the pictures of the documentation: the program itself on the demo model, exported by Textual.

    python -m scripts.picture            writes docs/pictures/*.svg
    python -m scripts.picture FOLDER     writes them there

The main screens are taken in three sizes: NAME.svg at 120x36, NAME-80x24.svg and NAME-200x60.svg. The figures in a
picture are those of the machine that took it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from benchmarks.models import variant
from benchmarks.program import answers
from workbench.cli.composition import compose
from workbench.cli.screen import services_of
from workbench.core.logbook import LogBook
from workbench.ui.app import WorkbenchApp

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures"
SIZE = (120, 36)
"""The size that the screens are designed for; its pictures have no size in their names."""
SIZES = (SIZE, (80, 24), (200, 60))
QUESTIONS = (
    "Give me three tips for sleeping well.",
    "Write a Python function that reverses a string, and explain it in two sentences.",
)
CONFIG = """\
model_folders = ["{models}"]
model_stores = []
[sampling]
temperature = 0.0
seed = 1
num_predict = 220
"""


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: It did not within five minutes.
    """
    deadline = time.monotonic() + 300
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not hold within five minutes")
        await pilot.pause(0.1)
    await pilot.pause(0.5)


def shows(app: WorkbenchApp, text: str) -> bool:
    """Whether the screen shows a text."""
    return text.replace(" ", "&#160;") in app.export_screenshot()


def take(app: WorkbenchApp, name: str) -> None:
    """Write a picture of the screen."""
    size = (app.size.width, app.size.height)
    path = FOLDER / f"{name if size == SIZE else f'{name}-{size[0]}x{size[1]}'}.svg"
    path.write_text(app.export_screenshot(title="workbench"), encoding="utf-8")
    print(path.name, flush=True)


def kept(home: Path, kind: str) -> int:
    """How many results of a kind are kept."""
    return len(list((home / "data" / kind).glob("*.json")))


async def use(
    home: Path, theme: str, size: tuple[int, int], show: Callable[[Pilot[None], WorkbenchApp, Path], Awaitable[None]]
) -> None:
    """Start the program with a home, ask both questions, and let `show` take its pictures."""
    workers = compose()
    app = WorkbenchApp(services_of(workers, LogBook()), "demo")
    before = len(list(answers(home)))
    async with app.run_test(size=size) as pilot:
        app.theme = theme
        await until(pilot, lambda: shows(app, "is ready"))
        for number, question in enumerate(QUESTIONS, before + 1):
            await pilot.press(*question, "enter")
            await until(pilot, lambda number=number: len(list(answers(home))) >= number)
        await show(pilot, app, home)
        await pilot.press("ctrl+q")


async def dark(pilot: Pilot[None], app: WorkbenchApp, home: Path) -> None:
    """The main screens and two dialogs."""
    take(app, "chat")
    for name, key in (("models", "ctrl+o"), ("settings", "f6")):
        await pilot.press(key)
        await until(pilot, lambda: len(app.screen_stack) > 1)
        await pilot.pause(1.0)
        take(app, name)
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)

    await library(pilot, app)
    await race(pilot, app, home)
    await bench(pilot, app, home)


async def library(pilot: Pilot[None], app: WorkbenchApp) -> None:
    """The list of models, and the memory of the selected one."""
    await pilot.press("f4")
    await until(pilot, lambda: shows(app, "SmolLM2-135M-Instruct"))
    # The demo model has a long path, inside an environment: the picture shows another model.
    await pilot.press("down")
    if app.size.width >= SIZE[0]:
        await until(pilot, lambda: shows(app, "to spare") and shows(app, "/tmp/models"))
    await pilot.pause(1.0)
    take(app, "library")


async def race(pilot: Pilot[None], app: WorkbenchApp, home: Path) -> None:
    """Three quantizations side by side."""
    before = kept(home, "races")
    await pilot.press("f3")
    await until(pilot, lambda: shows(app, "idle"))
    await pilot.press(*"Why is the sea salty? Answer in three sentences.", "enter")
    await until(pilot, lambda: kept(home, "races") > before)
    take(app, "race")


async def bench(pilot: Pilot[None], app: WorkbenchApp, home: Path) -> None:
    """A measurement with its plots."""
    before = kept(home, "bench")
    await pilot.press("f5")
    await until(pilot, lambda: shows(app, "Tests"))
    await pilot.press("f9")
    await until(pilot, lambda: kept(home, "bench") > before)
    take(app, "bench")


async def light(_pilot: Pilot[None], app: WorkbenchApp, _home: Path) -> None:
    """The conversation in a light theme."""
    take(app, "light")


def main() -> int:
    """Take all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        # The picker shows the location of a model: a picture needs a short path.
        models = Path(tempfile.gettempdir()) / "models"
        models.mkdir(exist_ok=True)
        for quant in ("Q2_K", "Q4_K_M", "Q8_0", "F16"):
            link = models / variant(quant).name
            link.unlink(missing_ok=True)
            link.symlink_to(variant(quant))
        (home / "config").mkdir()
        (home / "config" / "config.toml").write_text(CONFIG.format(models=models), encoding="utf-8")
        os.environ["WORKBENCH_HOME"] = name
        for size in SIZES:
            asyncio.run(use(home, "workbench-dark", size, dark))
        asyncio.run(use(home, "workbench-light", SIZE, light))
        shutil.rmtree(models)
    return 0


if __name__ == "__main__":
    sys.exit(main())
