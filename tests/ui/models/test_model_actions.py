"""What the keys of the Models screen do with the selected model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.ui.drive import shown, until
from tests.ui.fakes import ANSWER, FakeClock
from tests.ui.library_fakes import NamedFiles, library
from tests.ui.models.drive import SMOL_Q8, opened
from workbench.core.models import LibraryView, ModelEntry
from workbench.engine.scripted import ScriptedHost
from workbench.ui.kit import figures as fmt
from workbench.ui.model_files.pages_screen import PagesScreen
from workbench.ui.quantize.dialog import QuantizeDialog


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
