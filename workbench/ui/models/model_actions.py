"""Actions of the Models screen on models: inspect, compare and quantize their files, and unload them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from textual.screen import Screen

from workbench.core.errors import WorkbenchError
from workbench.core.models import ModelEntry, variants_of
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.models.model_list import Heading, ModelList
from workbench.ui.services import Services
from workbench.ui.widgets.clipboard import CopyOut


@dataclass(frozen=True)
class ModelActions:
    """Acts on the selected and the marked models of a list."""

    services: Services
    models: ModelList
    key_for: Callable[[str], str]
    """Gives the key of a binding."""
    say: Callable[[str], None]
    """Shows a message."""
    host: Screen[None]

    def selected(self) -> ModelEntry | None:
        """The selected model; None, with a message, where it is a heading."""
        model = self.models.model
        if model is None:
            rows = self.models.rows
            self.say("Go to one of the quantizations first." if rows else "There is no model in the list.")
        return model

    def has_file(self, model: ModelEntry) -> bool:
        """Whether a model has a file; if not, there is a message."""
        if model.path is None:
            self.say(f"{model.label} has no file to look at.")
        return model.path is not None

    def inspect(self, model: ModelEntry) -> None:
        if self.has_file(model):
            from workbench.ui.model_files.screens import inspect_screen

            self.host.app.push_screen(inspect_screen(self.services, model))

    def compare(self) -> None:
        chosen, here = self.models.marked, self.models.model
        if len(chosen) == 1 and here is not None and here not in chosen:
            chosen = [*chosen, here]
        if len(chosen) != 2:
            key = self.key_for("models.mark")
            self.say(f"{key} marks the models to compare: two are needed, {len(chosen)} marked now.")
        elif all(self.has_file(model) for model in chosen):
            from workbench.ui.model_files.screens import compare_screen

            self.host.app.push_screen(compare_screen(self.services, chosen[0], chosen[1]))

    def quantize(self) -> None:
        row = self.models.row
        model = row.members[0] if isinstance(row, Heading) else self.selected()
        if model is not None and self.has_file(model):
            from workbench.ui.quantize.dialog import QuantizeDialog

            self.host.app.push_screen(QuantizeDialog(self.services, model, variants_of(model, self.models.view.models)))

    def tune(self) -> None:
        model = self.selected()
        if model is not None and self.has_file(model):
            self.host.run_worker(self._tune(model), group="tune", exit_on_error=False)

    async def _tune(self, model: ModelEntry) -> None:
        from workbench.ui.tune.screen import TuneScreen

        await self.host.app.run_action("app.experiment('tune')")
        self.host.app.get_screen("tune", TuneScreen).take(model)

    def copy_path(self) -> None:
        model = self.selected()
        if model is not None and self.has_file(model):
            self.host.post_message(CopyOut(model.path or "", clean_line(f"Copied: {model.path}")))

    def list_problems(self) -> None:
        from workbench.ui.models.dialogs import ProblemsDialog

        if problems := self.models.view.problems:
            self.host.app.push_screen(ProblemsDialog(problems))
        else:
            self.say("Every place could be read.")

    async def unload(self) -> bool:
        """Ask the server of the selected model to unload it. Returns whether it did."""
        model, servers = self.selected(), self.services.servers
        if model is None:
            return False
        if model.loaded is None or servers is None:
            self.say(f"{model.label} is not on a server: it is closed when another model is opened.")
            return False
        if not model.loaded:
            self.say(f"{model.label} is not loaded.")
            return False
        self.say(f"Unloading {model.label}…")
        try:
            await servers.unload(model.ref)
        except WorkbenchError as error:
            self.services.logs.add("error", "servers", str(error))
            self.say(str(error))
            return False
        self.say(f"{model.label} is unloaded.")
        return True

    def add_folder(self) -> None:
        """Let the user add a folder, and look for models there."""
        from workbench.ui.models.dialogs import FolderDialog

        def chosen(folder: Path | None) -> None:
            if folder is None:
                return
            try:
                self.services.add_folder(folder)
            except WorkbenchError as error:
                self.say(str(error))
            else:
                self.say(f"{folder} is searched from now on.")
                self.host.run_worker(self.host.run_action("scan"), group="scan", exit_on_error=False)

        services = self.services
        self.host.app.push_screen(FolderDialog(services.config.model_folders, services.config_path), chosen)


ACTIONS: Mapping[str, Callable[[ModelActions], None]] = {
    "compare": ModelActions.compare,
    "copy": ModelActions.copy_path,
    "quantize": ModelActions.quantize,
    "tune": ModelActions.tune,
    "problems": ModelActions.list_problems,
    "folder": ModelActions.add_folder,
}
"""The actions that need nothing but a key."""
