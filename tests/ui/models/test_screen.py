from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, Label

from tests.ui.drive import app_on, settle, shown, until
from tests.ui.fakes import ANSWER, FakeClock, FakeLoads, models
from tests.ui.library_fakes import FakeCatalog, NamedFiles, library
from workbench.core.config import Config
from workbench.core.errors import EngineError
from workbench.core.models import LibraryView, LoadRecord, MemoryUse, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.engine.scripted import Script, ScriptedHost, ScriptedModel
from workbench.ui.app import WorkbenchApp
from workbench.ui.kit import figures as fmt
from workbench.ui.model_files.pages_screen import PagesScreen
from workbench.ui.models.dialogs import FilterDialog, FolderDialog, ProblemsDialog
from workbench.ui.models.model_list import Heading
from workbench.ui.models.screen import ModelsScreen
from workbench.ui.quantize.dialog import QuantizeDialog

WIDE, NARROW = (120, 36), (80, 24)
SMOL_Q8 = 144_811_072
"""Bytes of the Q8_0 file of SmolLM2 in `library`."""
MEMORY = MemoryUse(100_000_000, 50_000_000, 20_000_000)


class Library:
    """The Models screen of a program, and what a test asks of it."""

    def __init__(self, pilot: Pilot[None], app: WorkbenchApp, catalog: FakeCatalog, host: ScriptedHost) -> None:
        self.pilot, self.app, self.catalog, self.host = pilot, app, catalog, host

    @property
    def screen(self) -> ModelsScreen:
        assert isinstance(self.app.screen, ModelsScreen)
        return self.app.screen

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await settle(self.pilot)

    @property
    def selected(self) -> str:
        row = self.screen.models.row
        return f"[{row.name}]" if isinstance(row, Heading) else row.label if row else ""

    @property
    def rows(self) -> list[str]:
        """The rows that the list draws."""
        widget = self.screen.list
        return [widget._row(index, widget.room).plain.rstrip() for index in range(widget.count)]

    @property
    def panel(self) -> str:
        return "\n".join(line.plain for line in self.screen.panel.lines)

    @property
    def state(self) -> str:
        return str(self.screen.query_one("#models-state", Label).content)

    async def go_to(self, quant: str, name: str = "SmolLM2-135M-Instruct") -> None:
        """Put the cursor on a quantization."""
        rows = self.screen.models.rows
        index = next(
            index
            for index, row in enumerate(rows)
            if isinstance(row, ModelEntry) and (row.quant, row.name) == (quant, name)
        )
        self.screen.list.move_to(index)
        await settle(self.pilot)


@pytest.fixture
def host(clock: FakeClock) -> ScriptedHost:
    scripted = [
        ScriptedModel(model, (Script.of(ANSWER), Script.of("And so on.")), memory=MEMORY)
        for model in library().models
        if not model.problem
    ]
    return ScriptedHost([*scripted, *models()], clock=clock, sleep=clock.sleep)


@asynccontextmanager
async def opened(
    host: ScriptedHost,
    clock: FakeClock,
    demo_path: Path,
    *views: LibraryView,
    size: tuple[int, int] = WIDE,
    model: str | None = None,
    **services: object,
) -> AsyncIterator[Library]:
    catalog = services.pop("catalog", None) or FakeCatalog(*(views or (library(),)))
    assert isinstance(catalog, FakeCatalog)
    services.setdefault("files", NamedFiles(demo_path))
    app = app_on(host, clock, model, catalog=catalog, **services)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("f4")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen) and app.screen.is_current)
        await settle(pilot)
        yield Library(pilot, app, catalog, host)


# The list


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


# What is done with models


async def test_enter_opens_the_file_and_escape_comes_back(
    host: ScriptedHost, clock: FakeClock, demo_path: Path
) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.go_to("Q8_0")
        await at.press("enter")
        assert isinstance(at.app.screen, PagesScreen)
        await at.press("escape")
        assert at.selected == "SmolLM2-135M-Instruct Q8_0"


async def test_two_marked_models_are_compared(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.press("c")
        assert "marks the models to compare" in at.state
        await at.go_to("Q4_K_M")
        await at.press("space")
        assert at.selected == "SmolLM2-135M-Instruct Q8_0"
        assert "1 marked" in shown(at.app)
        await at.press("space", "c")
        screen = at.app.screen
        assert isinstance(screen, PagesScreen)
        one, other = (line.plain for line in screen.title_lines.lines)
        assert one.startswith(" A ")
        assert "Q4_K_M" in one
        assert other.startswith(" B ")
        assert "Q8_0" in other
        await at.press("escape", "escape")
        assert at.screen.models.marked == []
        await at.go_to("Q4_K_M")
        await at.press("space", "c")
        assert isinstance(at.app.screen, PagesScreen)


async def test_a_quantization_is_made_of_the_selected_model(
    host: ScriptedHost, clock: FakeClock, demo_path: Path
) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.go_to("F16")
        await at.press("m")
        dialog = at.app.screen
        assert isinstance(dialog, QuantizeDialog)
        assert [entry.quant for entry in dialog._sources] == ["F16", "Q8_0", "Q4_K_M", "Q2_K"]
        await at.press("escape")
        assert at.screen.is_current


async def test_the_path_is_copied(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.go_to("Q8_0")
        await at.press("y")
        assert at.app.clipboard == "/models/SmolLM2-135M-Instruct-Q8_0.gguf"
        assert any(note.message.startswith("Copied: /models/") for note in at.app._notifications)


async def test_a_model_is_loaded_and_the_conversation_kept(
    host: ScriptedHost, clock: FakeClock, demo_path: Path
) -> None:
    async with opened(host, clock, demo_path, model=library().models[1].ref) as at:
        await at.press("f2", *"why", "enter")
        await at.press("f4")
        await at.go_to("Q8_0")
        await at.press("l")
        assert at.app.screen is at.app.chat
        assert at.app.focused is at.app.chat.prompt
        await at.press(*"and", "enter")
        assert [engine.info.model.quant for engine in host.opened] == ["Q4_K_M", "Q8_0"]
        assert [message.content for message in host.opened[1].requests[0].messages] == ["why", ANSWER, "and"]
        await at.press("f4")
        assert "●" in next(row for row in at.rows if fmt.size(SMOL_Q8) in row)


async def test_what_is_broken_is_not_loaded(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.go_to("Q5_K_M", "Mistral-Nemo-Instruct-2407")
        assert "truncated: 4628040000 bytes are missing" in at.panel.replace("\n", " ")
        await at.press("l")
        assert "cannot be loaded" in at.state
        assert host.opened == []
        at.screen.list.action_first()
        await at.press("l", "y")
        assert "Go to one of the quantizations first." in at.state


async def test_a_model_without_a_file_can_be_loaded_but_not_opened(
    host: ScriptedHost, clock: FakeClock, demo_path: Path
) -> None:
    far = ModelEntry("qwen", "Qwen2.5-0.5B-Instruct", "Q4_K_M", source="server")
    async with opened(host, clock, demo_path, LibraryView((far,), complete=True)) as at:
        await at.press("end", "enter")
        assert "has no file" in at.state
        assert "no file, so its memory" in at.panel
        await at.press("l")
        assert [engine.info.model.ref for engine in host.opened] == ["qwen"]


async def test_the_keys_lead_there_and_back(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.go_to("Q8_0")
        await at.press("escape", "escape", "escape")
        assert at.screen.is_current
        assert "F2 goes to the chat" in at.state
        await at.press("enter", "f2")
        assert at.app.screen is at.app.chat
        await at.press("f4")
        assert at.selected == "SmolLM2-135M-Instruct Q8_0"


async def test_an_unexpected_error_is_reported(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    class Odd(NamedFiles):
        async def fit_model(self, path, adapter=None):  # type: ignore[no-untyped-def, override]
            raise RuntimeError("odd")

    async with opened(host, clock, demo_path) as at:
        at.app.services = replace(at.app.services, files=Odd(demo_path))
        at.screen.estimator._services = at.app.services
        at.screen.estimator._models.clear()
        at.screen.list.action_last()
        await until(at.pilot, lambda: "failed: RuntimeError" in at.state)
        assert at.screen.is_current


# Does it fit


async def test_the_panel_estimates_the_selected_model(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.go_to("Q8_0")
        assert "✓ fits, 4.6 GiB to spare" in at.panel
        assert "8,192 of 8,192" in at.panel
        assert "not loaded here yet" in at.panel
        await at.go_to("Q8_0", "Qwen2.5-0.5B-Instruct")
        assert "≠ The label says Q8_0, but most" in at.panel
        await at.go_to("F16")
        assert "2 LOCATIONS" in at.panel
        assert "ollama: smollm2:135m" in at.panel
        assert "sha256 d5e9" in at.panel


async def test_a_heading_says_which_of_its_quantizations_fit(
    host: ScriptedHost, clock: FakeClock, demo_path: Path
) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.go_to("F16")
        await at.press("left")
        assert at.panel.count("✓ 8,192") == 4


async def test_what_if_keys_reprice_at_once(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.go_to("Q8_0")
        screen = at.screen

        def kv() -> int:
            model = screen.models.model
            estimate = screen.estimator.estimate(model) if model else None
            return estimate.fit.kv_bytes if estimate else 0

        before = kv()
        await at.press("left_square_bracket")
        assert screen.estimator.what_if.values == {}, "they are keys of the panel"
        await at.press("tab", "left_square_bracket")
        assert "• 4,096" in at.panel
        assert kv() == before // 2
        await at.press("K", "v")
        assert kv() == before // 2 * 17 // 32
        assert "• q8_0" in at.panel
        await at.press("right_square_bracket")
        assert screen.estimator.what_if.values == {"type_k": "q8_0", "type_v": "q8_0", "num_ctx": 8192}
        await at.press("a", "b")
        assert {"flash_attn", "num_batch"} <= screen.estimator.what_if.values.keys()
        await at.press("minus")
        assert "no GPU" in at.state
        await at.press("backspace")
        assert screen.estimator.what_if.values == {}
        assert kv() == before
        await at.press("right_curly_bracket")
        assert screen.estimator.what_if.values == {"num_ctx": 8192}


async def test_a_context_is_typed(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.go_to("Q8_0")
        await at.press("tab", *"3000")
        line = at.screen.query_one("#models-number", Input)
        assert line.value == "3000"
        await at.press("enter")
        assert at.screen.estimator.what_if.values == {"num_ctx": 3000}
        assert at.app.focused is at.screen.panel
        await at.press("number_sign", *"x", "enter")
        assert "not a number of tokens" in at.state
        await at.press("escape")
        assert at.screen.estimator.what_if.values == {"num_ctx": 3000}


async def test_a_model_is_loaded_with_the_settings_on_trial(
    host: ScriptedHost, clock: FakeClock, demo_path: Path
) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.go_to("Q8_0")
        await at.press("tab", "left_square_bracket", "K", "L")
        assert at.app.screen is at.app.chat
        assert host.opened[0].info.settings.num_ctx == 4096
        load = at.app.workspace.conversation.load
        assert (load.num_ctx, load.type_k) == (4096, "q8_0")
        await at.press("f4")
        assert at.screen.estimator.what_if.values == {}
        assert at.screen.estimator.what_if.settings.num_ctx == 4096


async def test_what_the_last_load_took_is_shown(host: ScriptedHost, clock: FakeClock, demo_path: Path) -> None:
    loads = FakeLoads()
    taken, estimate = MemoryUse(100_000_000, 50_000_000, 21_200_000), MemoryUse(100_000_000, 50_000_000, 21_884_800)
    path = str(library().models[2].path)
    await loads.remember(LoadRecord(path, LoadSettings(num_ctx=8192), "CPU", taken, estimate, 1.0, 52.1))
    async with opened(host, clock, demo_path, loads=loads) as at:
        await at.go_to("Q8_0")
        assert f"last load: {fmt.size(171_200_000)}, estimate +0.4 %" in at.panel
        assert "52.1 tokens/s" in at.panel


async def test_only_the_model_on_which_the_cursor_rests_is_read(
    host: ScriptedHost, clock: FakeClock, demo_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.ui.models.fit.SETTLE_SECONDS", 0.5)
    files = NamedFiles(demo_path)
    async with opened(host, clock, demo_path, files=files) as at:
        files.read.clear()
        at.screen.list.move_to(len(at.rows) - 4)
        await at.pilot.press("down", "down", "down")
        await settle(at.pilot)
        assert files.read == ["/models/SmolLM2-135M-Instruct-F16.gguf"]


# The cost of a key


async def test_a_key_draws_what_it_changes_and_lays_nothing_out(
    host: ScriptedHost, clock: FakeClock, demo_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(host, clock, demo_path) as at:
        await at.go_to("Q4_K_M")
        drawn: list[str] = []
        laid_out: list[Screen[object]] = []
        row = at.screen.list._row
        monkeypatch.setattr(at.screen.list, "_row", lambda *place: drawn.append("row") or row(*place))
        monkeypatch.setattr(Screen, "_refresh_layout", lambda screen, *_, **__: laid_out.append(screen))
        await at.press("down")
        assert len(drawn) == 2
        await at.press("s", "s")
        assert laid_out == []


# On a narrow screen


async def test_the_panel_is_behind_a_key_on_a_narrow_screen(
    host: ScriptedHost, clock: FakeClock, demo_path: Path
) -> None:
    async with opened(host, clock, demo_path, size=NARROW) as at:
        await at.go_to("Q8_0")
        assert not at.screen.panel.display
        assert "✓ fits" in shown(at.app)
        assert "context 8,192" in shown(at.app)
        await at.press("tab")
        assert at.screen.panel.display
        assert not at.screen.list.display
        await at.press("left_square_bracket")
        assert "• 4,096" in at.panel
        await at.press("escape")
        assert at.screen.list.display
        assert at.app.focused is at.screen.list
        await at.pilot.resize_terminal(*WIDE)
        await settle(at.pilot)
        assert at.screen.panel.display
        assert at.screen.list.display


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
