"""The screens that lay a model file open and compare two."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input

from tests.gguf.conftest import write_model
from tests.gguf_files import finish
from tests.ui.drive import app_on, press_keys, settle, started
from tests.ui.fakes import FakeClock, FakeFiles
from workbench.core.models import ModelEntry
from workbench.engine.files import report
from workbench.engine.scripted import ScriptedHost
from workbench.ui.dialogs.text_viewer import ArrayDialog, ValueDialog
from workbench.ui.kit.table import natural
from workbench.ui.kit.text import cut, cut_path, padded
from workbench.ui.model_files.compare_pages import why_unrelated
from workbench.ui.model_files.inspect_pages import inspect_pages
from workbench.ui.model_files.pages import TablePage
from workbench.ui.model_files.pages_screen import PagesScreen
from workbench.ui.model_files.screens import compare_screen, inspect_screen
from workbench.ui.widgets.rows import Rows

EVIL = "evil\x1b[2J\u202ename\nline"


def entry(path: Path, quant: str | None = None) -> ModelEntry:
    return ModelEntry(str(path), path.stem, quant, str(path), path.stat().st_size if path.is_file() else None)


def visible_text(rows: Rows) -> str:
    """The text of the rows that are drawn."""
    return "\n".join(rows.render_line(y).text.rstrip() for y in range(rows.size.height))


@pytest.fixture
def odd_model(tmp_path) -> Path:
    path = tmp_path / "odd.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(EVIL)
    writer.add_description("long " * 100_000)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["a\x1b[2J", "b"])
    writer.add_chat_template("{% for m in messages %}\x1b[2J{% if %}")
    writer.add_eos_token_id(77)
    for number in range(1500):
        writer.add_tensor(f"blk.{number // 9}.\x1b[{number}J", np.zeros((2, 32), np.float32))
    finish(writer)
    return path


@pytest.fixture
def opened(host: ScriptedHost, clock: FakeClock):
    """The program with one of the screens on top."""

    @asynccontextmanager
    async def open_screen(
        make, size: tuple[int, int] = (120, 36), files: FakeFiles | None = None
    ) -> AsyncIterator[tuple[Pilot[None], PagesScreen]]:
        app = app_on(host, clock, None, files=files)
        async with app.run_test(size=size) as pilot:
            await settle(pilot)
            screen: Screen[None] = make(app.services)
            app.push_screen(screen)
            await settle(pilot)
            assert isinstance(screen, PagesScreen)
            yield pilot, screen

    return open_screen


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (40, 10)])
async def test_every_page_of_the_demo_model(opened, demo_path, size):
    async with opened(lambda services: inspect_screen(services, entry(demo_path)), size) as (pilot, screen):
        wanted = ("nothing unusual", "general.architecture", "token_embd", "BYTES BY", "CONVERSATION", "TOKENIZER")
        for number, text in enumerate(wanted, start=1):
            await press_keys(pilot, str(number))
            assert text in visible_text(screen.rows)
        await press_keys(pilot, "tab")
        assert "nothing unusual" in visible_text(screen.rows)
        await press_keys(pilot, "escape")
        assert pilot.app.screen is pilot.app.chat


async def test_searching_and_sorting_tensors(opened, demo_path):
    async with opened(lambda services: inspect_screen(services, entry(demo_path))) as (pilot, screen):
        await press_keys(pilot, "3", "slash", *"ffn_up q4_1")
        assert screen.rows.count == 30
        assert "30 of 272 tensors" in str(screen.state.content)
        # Enter leaves the words and goes to the rows.
        await pilot.press("enter", "s", "down")
        assert screen.rows.cursor == 1
        assert "blk.1.ffn_up.weight" in visible_text(screen.rows).split("\n")[2]
        await press_keys(pilot, "enter")
        assert isinstance(pilot.app.screen, ValueDialog)
        await press_keys(pilot, "escape", "escape")
        assert screen.rows.count == 272
        assert not screen.search.has_class("-open")
        await pilot.press("s", "s", "s")
        assert "token_embd.weight" in visible_text(screen.rows).split("\n")[1]
        await pilot.press("S")
        assert "norm.weight" in visible_text(screen.rows).split("\n")[1]
        await pilot.click(screen.rows, offset=(3, 0))
        assert "blk.0." in visible_text(screen.rows).split("\n")[1]


async def test_a_search_that_finds_nothing(opened, demo_path):
    async with opened(lambda services: inspect_screen(services, entry(demo_path))) as (pilot, screen):
        await press_keys(pilot, "2", "slash", *"zzz")
        assert "Nothing matches" in visible_text(screen.rows)
        await press_keys(pilot, "enter", "enter", "s", "escape")
        assert screen.rows.count > 30


async def test_a_whole_array(opened, demo_path):
    async with opened(lambda services: inspect_screen(services, entry(demo_path))) as (pilot, screen):
        await press_keys(pilot, "2", "slash", *"ggml.tokens", "enter", "enter")
        dialog = pilot.app.screen
        assert isinstance(dialog, ArrayDialog)
        assert dialog.rows.count == 49_152
        assert "<|endoftext|>" in visible_text(dialog.rows)
        await pilot.press("pagedown", "down")
        assert "<|endoftext|>" not in visible_text(dialog.rows)
        await press_keys(pilot, *"ġhello")
        assert dialog.rows.count == 2
        await press_keys(pilot, "escape")
        assert pilot.app.screen is screen


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_a_file_that_is_odd_and_hostile(opened, odd_model, size):
    async with opened(lambda services: inspect_screen(services, entry(odd_model)), size) as (pilot, screen):
        first = visible_text(screen.rows)
        assert first.index("It cannot be opened") < first.index("does not compile")
        assert "The file was converted wrongly" in first
        for key in "123456":
            await press_keys(pilot, key)
            text = visible_text(screen.rows)
            assert not {"\x1b", "\u202e"} & set(text)
        await press_keys(pilot, "3", "end")
        assert screen.rows.cursor == 1499
        await press_keys(pilot, "2", "down", "down", "enter")
        assert isinstance(pilot.app.screen, ValueDialog)
        await press_keys(pilot, "end", "escape")
        assert pilot.app.screen is screen


@pytest.mark.parametrize("kind", ["truncated", "random", "missing", "no file"])
async def test_a_file_that_cannot_be_read(opened, demo_path, tmp_path, kind):
    path = tmp_path / "bad.gguf"
    if kind == "truncated":
        path.write_bytes(demo_path.read_bytes()[:300_000])
    elif kind == "random":
        path.write_bytes(bytes(range(256)) * 100)
    model = entry(path)
    if kind == "no file":
        model = replace(model, path=None)
    async with opened(lambda services: inspect_screen(services, model)) as (pilot, screen):
        said = {"truncated": "incomplete", "random": "not a GGUF", "missing": "no such file", "no file": "no file"}
        assert said[kind] in visible_text(screen.rows)
        await press_keys(pilot, "1", "tab", "slash", "s", "S", "y", "enter", "escape")
        assert pilot.app.screen is pilot.app.chat


async def test_an_unexpected_error_is_shown_and_logged(opened, demo_path, caplog):
    class BrokenFiles(FakeFiles):
        async def inspect(self, path: Path) -> object:
            raise ZeroDivisionError

    screens = opened(lambda services: inspect_screen(services, entry(demo_path)), files=BrokenFiles())
    async with screens as (_, screen):
        assert "failed: ZeroDivisionError" in visible_text(screen.rows)
    assert "Traceback" in caplog.text


async def test_copying(opened, demo_path):
    async with opened(lambda services: inspect_screen(services, entry(demo_path))) as (pilot, _):
        await pilot.press("2", "y")
        assert pilot.app.clipboard == "general.architecture = llama"
        await pilot.press("5", "y")
        assert "for message in messages" in pilot.app.clipboard


async def test_resizing_keeps_the_page_and_the_row(opened, demo_path):
    async with opened(lambda services: inspect_screen(services, entry(demo_path))) as (pilot, screen):
        await pilot.press("3", *["down"] * 50)
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert screen.rows.cursor == 50
        await pilot.resize_terminal(20, 6)
        await settle(pilot)
        await pilot.resize_terminal(120, 36)
        await settle(pilot)
        assert screen.rows.cursor == 50
        await press_keys(pilot, "2", "3")
        assert screen.rows.cursor == 50


async def test_sections_can_be_clicked(opened, demo_path):
    async with opened(lambda services: inspect_screen(services, entry(demo_path))) as (pilot, screen):
        await pilot.click(screen.sections, offset=(18, 0))
        await settle(pilot)
        assert "general.architecture" in visible_text(screen.rows)
        await pilot.click(screen.rows, offset=(5, 3))
        assert screen.rows.cursor == 2


async def test_the_open_model_from_the_palette(host, clock):
    async with started(host, clock) as (app, pilot):
        await press_keys(pilot, "ctrl+p", *"inspect the model")
        await press_keys(pilot, "enter")
        assert isinstance(app.screen, PagesScreen)
        await press_keys(pilot, "escape")
        assert isinstance(app.screen.focused, type(app.chat.prompt))


async def test_comparing_two(opened, demo_path, tmp_path):
    other = write_model(tmp_path / "other.gguf")
    async with opened(lambda services: compare_screen(services, entry(demo_path), entry(other))) as (pilot, screen):
        text = visible_text(screen.rows)
        assert "They are different base models" in text
        assert "TENSOR TYPES, FROM A TO B" in text
        await press_keys(pilot, "2", "s", "enter")
        assert isinstance(pilot.app.screen, ValueDialog)
        await press_keys(pilot, "escape", "3")
        assert "general.name" in visible_text(screen.rows)
        await press_keys(pilot, "escape")
        assert pilot.app.screen is pilot.app.chat


async def test_comparing_a_file_with_itself(opened, demo_path):
    model = entry(demo_path)
    async with opened(lambda services: compare_screen(services, model, model), (80, 24)) as (pilot, screen):
        text = visible_text(screen.rows)
        assert "Both are the same file" in text
        await press_keys(pilot, "2", "enter", "s", "3")
        assert "Nothing matches" in visible_text(screen.rows)


async def test_comparing_with_what_is_broken(opened, demo_path, tmp_path):
    missing = entry(tmp_path / "missing.gguf")
    async with opened(lambda services: compare_screen(services, entry(demo_path), missing)) as (_, screen):
        assert "no such file" in visible_text(screen.rows)


def test_why_unrelated(demo_path, tmp_path):
    demo = report(demo_path).inspection
    tiny = report(write_model(tmp_path / "tiny.gguf")).inspection
    gemma = report(write_model(tmp_path / "gemma.gguf", architecture="gemma2")).inspection
    assert why_unrelated(demo, demo) == ""
    assert "names or shapes" in why_unrelated(demo, tiny)
    assert "architectures differ" in why_unrelated(tiny, gemma)


def test_a_label_that_the_tensors_contradict(demo_path):
    pages = inspect_pages(report(demo_path), "It is called Q4_K_M, and its tensors are Q4_1.")
    assert pages[0].badge == "▲1"
    assert "its tensors are Q4_1" in "\n".join(line.plain for line in pages[0].lines(80))


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
def test_rows_fit_their_width(demo_path, odd_model, width):
    for path in (demo_path, odd_model):
        for page in inspect_pages(report(path)):
            if isinstance(page, TablePage) and width >= 60:
                lines = [page.header(width), *(page.row(index, width) for index in range(min(50, len(page.shown))))]
                assert max(line.cell_length for line in lines) <= width + 2


def test_cutting():
    assert cut("short", 10) == "short"
    assert cut("a\x1b[2J\nb", 20) == "a␛[2J b"
    assert cut("日本語の名前", 7) == "日本語…"
    assert padded("日本", 6) == "日本  "
    assert padded("12", 4, right=True) == "  12"
    assert cut_path("/a/very/long/path/model.gguf", 12) == "…/model.gguf"
    assert cut("x" * 10_000, 0) == ""
    assert sorted(["blk.10.a", "blk.9.a"], key=natural) == ["blk.9.a", "blk.10.a"]


async def test_an_input_keeps_its_keys(opened, demo_path):
    """What the rows and the screen have keys for can be typed into the search."""
    async with opened(lambda services: inspect_screen(services, entry(demo_path))) as (pilot, screen):
        await pilot.press("3", "slash", *"ksr1gy")
        assert screen.query_one(Input).value == "ksr1gy"
