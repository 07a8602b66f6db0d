"""The actions of the Models screen on files: check and repair, use from there too, join, delete."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.ui.fakes import FakeClock
from tests.ui.models.drive import opened
from tests.ui.pull.fakes import FakePulls
from workbench.core.models import ModelEntry
from workbench.core.pulls import FileCheck
from workbench.core.sharing import Destination, Joining, Removal
from workbench.engine.scripted import ScriptedHost
from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.dialogs.text_viewer import TextDialog
from workbench.ui.models.file_actions import ShareDialog
from workbench.ui.models.screen import ModelsScreen


class FakeSharing:
    """Records what was done."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def destinations(self, model: ModelEntry) -> Sequence[Destination]:
        return [Destination("huggingface", "Hugging Face", problem="it is there"), Destination("lmstudio", "LM", "/lm")]

    def share(self, model: ModelEntry, program: str, name: str = "") -> Sequence[str]:
        self.done.append(program)
        return ["/lm/x.gguf: a hard link, nothing was copied."]

    def copies(self, model: ModelEntry) -> Joining:
        return Joining("/hub/x", ("/lm/x",), 2**30)

    def join(self, joining: Joining) -> Sequence[str]:
        self.done.append(joining)
        return ["1.0 GiB came free."]

    def removal(self, model: ModelEntry) -> Removal:
        return Removal(("/hub/x",), 2**30, ("llama.cpp loses it too.",))

    def remove(self, removal: Removal) -> None:
        self.done.append(removal)


async def test_a_damaged_model_is_repaired_after_a_question(host: ScriptedHost, clock: FakeClock, demo_path: Path):
    pulls = FakePulls()
    pulls.check = FileCheck(False, ("/hub/x: its SHA-256 should be abc…",))
    async with opened(host, clock, demo_path, pulls=lambda: pulls) as at:
        await at.go_to("Q8_0")
        model = at.screen.models.model
        await at.press("V")
        assert isinstance(at.app.screen, ConfirmDialog)
        assert pulls.checks == [(model.path, False)]
        await at.press("enter")
        assert pulls.checks[1:] == [(model.path, True)]
        assert isinstance(at.app.screen, TextDialog)


async def test_sharing_joining_and_deleting_ask_first(host: ScriptedHost, clock: FakeClock, demo_path: Path):
    sharing = FakeSharing()
    async with opened(host, clock, demo_path, sharing=lambda: sharing) as at:
        await at.go_to("Q8_0")
        await at.press("T")
        assert isinstance(at.app.screen, ShareDialog)
        await at.press("enter")
        assert sharing.done == ["lmstudio"]
        await at.press("escape", "J")
        assert isinstance(at.app.screen, ConfirmDialog)
        await at.press("escape")
        assert len(sharing.done) == 1
        await at.press("J", "enter")
        assert isinstance(sharing.done[1], Joining)
        await at.press("escape", "delete")
        assert "llama.cpp loses it too." in at.app.screen.query_one("#confirm-text").content
        await at.press("enter")
        assert isinstance(sharing.done[2], Removal)
        assert isinstance(at.app.screen, ModelsScreen)
        assert "is deleted: 1.0 GiB came free" in at.state
