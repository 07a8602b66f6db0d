"""The panel of the Models screen: estimates, and other settings on trial."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.screen import Screen
from textual.widgets import Input

from tests.ui.drive import settle, shown
from tests.ui.fakes import FakeClock, FakeLoads
from tests.ui.library_fakes import NamedFiles, library
from tests.ui.models.drive import NARROW, WIDE, opened
from workbench.core.models import LoadRecord, MemoryUse
from workbench.core.parameters import LoadSettings
from workbench.engine.scripted import ScriptedHost
from workbench.ui.kit import figures as fmt


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
