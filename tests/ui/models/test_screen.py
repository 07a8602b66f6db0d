from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from textual.events import Key

from tests.ui.drive import app_on, settle, shown, until
from tests.ui.fakes import FakeClock
from tests.ui.library_fakes import FakeCatalog, NamedFiles, library
from tests.ui.models.drive import NARROW, SMOL_Q8, WIDE, opened
from workbench.core.config import Config
from workbench.core.errors import EngineError
from workbench.core.models import LibraryView, ModelEntry
from workbench.engine.scripted import ScriptedHost
from workbench.ui.kit import figures as fmt
from workbench.ui.models.dialogs import FilterDialog, FolderDialog, ProblemsDialog
from workbench.ui.models.screen import ModelsScreen


async def test_every_model_stands_below_its_base_model(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        rows = at.rows
        assert [row.split()[1] for row in rows if "▾" in row] == [
            "Mistral-Nemo-Instruct-2407",
            "Qwen2.5-0.5B-Instruct",
            "SmolLM2-135M-Instruct",
        ]
        q8 = next(row for row in rows if fmt.size(SMOL_Q8) in row)
        assert q8.split() == ["Q8_0", "Q8_0", "8.51", *fmt.size(SMOL_Q8).split(), "/models"]
        assert "truncated" in next(row for row in rows if "Q5_K_M" in row)
        assert any("Q8_0 ≠" in row for row in rows)
        assert "+1" in next(row for row in rows if "F16" in row)
        assert "7 models · 1 place could not be read (!)" in at.state


async def test_the_cursor_begins_at_the_open_model(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path, model=library().models[2].ref) as at:
        assert at.selected == "SmolLM2-135M-Instruct Q8_0"
        assert "●" in next(row for row in at.rows if fmt.size(SMOL_Q8) in row)


async def test_models_appear_during_a_scan(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    whole = library()
    early = LibraryView(whole.models[1:3], (), read=40, found=1000)
    later = LibraryView(whole.models[:4], whole.problems, read=900, found=1000)
    catalog = FakeCatalog(early)
    async with opened(host, clock, demo_path, catalog=catalog) as at:
        assert at.state == "2 models · reading 40 of 1,000"
        await at.go_to("Q8_0")
        for view in (later, whole, replace(whole, models=whole.models[::-1])):
            at.screen.library_changed(view)
            await settle(at.pilot)
            assert at.selected == "SmolLM2-135M-Instruct Q8_0"
            assert at.screen.list.cursor == at.screen.models.cursor
        at.screen.library_changed(replace(whole, models=whole.models[:2]))
        await settle(at.pilot)
        assert at.selected


async def test_a_scan_does_not_block_keys(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    catalog = FakeCatalog(library())
    app = app_on(host, clock, None, catalog=catalog, files=NamedFiles(demo_path))
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        catalog.hold()
        await pilot.press("f4")
        await until(pilot, lambda: catalog.asked)
        assert isinstance(app.screen, ModelsScreen)
        await pilot.press("s", "slash", *"q", "escape", "space", "l", "c", "m", "enter")
        assert "Looking for models" in str(app.screen.state.content) or app.screen._message.text
        catalog.release()
        await settle(pilot)
        assert len(app.screen.models.shown) == 7


async def test_r_searches_again(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        before = len(at.catalog.asked)
        await at.press("r")
        assert at.catalog.asked[before:] == [True]


async def test_a_failed_scan_is_reported(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    class Failing(FakeCatalog):
        async def watch(self, *, again=False):  # type: ignore[no-untyped-def, override]
            raise EngineError("The library is locked.", "Try again.")
            yield

    async with opened(host, clock, demo_path, catalog=Failing(library())) as at:
        assert "The library is locked." in at.state


async def test_folding(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.go_to("F16")
        await at.press("left")
        assert at.selected == "[SmolLM2-135M-Instruct]"
        assert at.rows[-1].startswith(" ▸")
        assert "Q2_K Q4_K_M" in at.rows[-1]
        await at.press("enter")
        assert at.rows[at.screen.models.cursor].startswith(" ▾")
        await at.press("left", "right", "z")
        assert len(at.rows) == 3
        await at.press("z")
        assert len(at.rows) == 10


async def test_sorting_and_grouping(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.go_to("Q8_0")
        await at.press("t", "s")
        assert at.selected == "SmolLM2-135M-Instruct Q8_0"
        assert "by size" in shown(at.app)
        sizes = [row.size_bytes or 0 for row in at.screen.models.rows if isinstance(row, ModelEntry)]
        assert sizes == sorted(sizes, reverse=True)
        await at.press("S")
        assert "by size, reversed" in shown(at.app)
        sizes = [row.size_bytes or 0 for row in at.screen.models.rows if isinstance(row, ModelEntry)]
        assert sizes == sorted(sizes)


async def test_a_click_on_a_title_sorts(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        header = at.screen.list._header
        assert header is not None
        await at.pilot.click("#models-list", offset=(header.plain.index("bits") + 1, 0))
        await settle(at.pilot)
        assert at.screen.models.order.title == "bits"


async def test_searching(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        width = at.screen.list.size.width
        await at.press("slash", *"qwen q4")
        assert not at.screen.show_vertical_scrollbar
        assert at.screen.list.size.width == width
        assert at.selected == "Qwen2.5-0.5B-Instruct Q4_K_M"
        assert "of 7 models" in at.state
        await at.press("up")
        assert at.selected == "[Qwen2.5-0.5B-Instruct]"
        await at.press("down", "enter")
        assert at.app.focused is at.screen.list
        await at.press("escape")
        assert at.screen.models.query == ""
        assert at.selected == "Qwen2.5-0.5B-Instruct Q4_K_M"
        await at.press("slash", *"zzzz")
        assert "Nothing matches" in at.rows[1]
        await at.press("enter", "space", "l", "enter", "escape")
        assert len(at.rows) == 10


async def test_who_types_fast_types_into_the_search(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        for key in ("slash", "m", "i", "s", "t", "space", "l"):
            # All are on their way before the search has the focus.
            at.screen.list.post_message(Key(key, {"slash": "/", "space": " "}.get(key, key)))
        await settle(at.pilot)
        assert at.screen.search.value == "mist l"
        await at.press("backspace", "backspace", "enter", "space")
        assert at.screen.search.value == "mist"
        assert [model.name for model in at.screen.models.marked] == ["Mistral-Nemo-Instruct-2407"]


async def test_filters(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.press("F")
        assert isinstance(at.app.screen, FilterDialog)
        await at.press("escape")
        assert len(at.rows) == 10
        await at.press("F", "j", "j", "k", "enter")
        assert at.screen.models.filter is not None
        assert 0 < len(at.screen.models.shown) < 7
        assert "only " in shown(at.app)
        await at.press("escape")
        assert len(at.screen.models.shown) == 7
        await at.press("f")
        kept = at.screen.models.filter
        assert kept is not None
        assert kept.kind == "source"
        for _ in at.screen.models.filters():
            await at.press("f")
        await at.press("escape")
        assert at.screen.models.filter is None


async def test_a_folder_is_added_from_the_keyboard(
    host: ScriptedHost, clock: FakeClock, demo_path: Path, tmp_path: Path
) -> None:
    added: list[Path] = []

    def add(folder: Path) -> Sequence[str]:
        added.append(folder)
        return ()

    (tmp_path / "gguf files").mkdir()
    async with opened(host, clock, demo_path, config_path=Path("/the/config.toml"), add_folder=add) as at:
        await at.press("A")
        dialog = at.app.screen
        assert isinstance(dialog, FolderDialog)
        assert "/the/config.toml" in str(dialog.state.content)
        await at.press(*f"{tmp_path}/ggux", "enter")
        assert f"There is no folder {tmp_path}/ggux." in str(dialog.state.content)
        await at.press("backspace", "tab", "enter")
        assert added == [tmp_path / "gguf files"]
        assert "is searched from now on" in at.state
        assert at.catalog.asked == [False, True]


async def test_problems_can_be_listed(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.press("exclamation_mark")
        assert isinstance(at.app.screen, ProblemsDialog)
        text = "\n".join(line.plain for line in at.app.screen.rows.lines)
        assert "/mnt/nas/models" in text
        assert "Permission denied" in text
        await at.press("escape")
        at.screen.library_changed(replace(library(), problems=()))
        await at.press("exclamation_mark")
        assert "Every place could be read." in at.state


@pytest.mark.parametrize("folders", [(), ("/my/models",)])
async def test_an_empty_library_says_what_to_do(
    host: ScriptedHost, clock: FakeClock, demo_path: Path, folders: Sequence[str]
) -> None:
    view, config = LibraryView(complete=True), Config(model_folders=tuple(folders))
    async with opened(host, clock, demo_path, view, size=NARROW, config=config) as at:
        text = "\n".join(at.rows)
        assert "There is no model" in text
        assert "workbench demo" in text
        assert ("/my/models" if folders else "model_folders") in text
        await at.press(*"slcmykvabx", "space", "enter", "left", "right", "g", "z", "L", "0", "up", "end", "tab", "tab")
        assert at.screen.is_current


async def test_keys_that_mean_nothing_do_nothing(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path, size=NARROW) as at:
        await at.press(*"qweuiodh@#$%&*()", "shift+tab", "delete", "insert", "ctrl+a", "f7")
        assert at.screen.is_current
        assert len(at.rows) == 10


async def test_ctrl_c_says_that_it_quits_the_second_time(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.press("ctrl+c")
        assert at.state == "Ctrl+C again quits."


async def test_the_help_begins_with_the_keys_of_this_screen(
    host: ScriptedHost, clock: FakeClock, demo_path: Path
) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.press("f1")
        text = shown(at.app)
        assert text.index("\nModels of this machine\n") < text.index("\nConversation\n")
