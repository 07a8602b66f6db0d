"""No text of a file, a model, a server or the user is parsed as markup, whichever widget shows it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.screen import Screen
from textual.widgets import Input
from textual.widgets._toast import Toast

import workbench.ui
from tests.ui.drive import app_on, press_keys, settle, started, until
from tests.ui.fakes import FakeClock, fake_services
from workbench.core.config import Config
from workbench.core.models import ScanProblem
from workbench.engine.scripted import ScriptedHost
from workbench.ui.chat.edit_dialog import EditDialog
from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.dialogs.export import ExportDialog
from workbench.ui.dialogs.text_viewer import ValueDialog
from workbench.ui.model_files.screens import ArrayDialog
from workbench.ui.models.dialogs import FilterDialog, ProblemsDialog
from workbench.ui.models.model_list import Filter
from workbench.ui.sessions.dialog import NameDialog

HOSTILE = ["[/x]", "[@click=app.quit]press", "[bold", "[red]r[/]", "[$primary]", "\\[/x]", "[link='"]
_PARSERS = {"Label", "Static", "OptionList", "Button", "Checkbox", "RadioButton", "SelectionList", "Tree", "DataTable"}
_TITLES = {"border_title", "border_subtitle", "tooltip"}


def _source_files() -> list[Path]:
    return sorted(Path(workbench.ui.__path__[0]).rglob("*.py"))


@pytest.mark.parametrize("path", _source_files(), ids=lambda path: path.stem)
def test_widgets_that_parse_markup_are_made_without_it(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        place = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _PARSERS:
            given = {each.arg: each.value for each in node.keywords}
            assert isinstance(markup := given.get("markup"), ast.Constant), place
            assert markup.value is False, place
        if isinstance(node, ast.Assign):
            targets = [each for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Attribute)]
            if any(target.attr in _TITLES for target in targets):
                values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
                for value in values:
                    is_plain = isinstance(value, ast.Call) and ast.unparse(value.func) == "plain"
                    assert is_plain or isinstance(value, ast.Constant), place
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("from_markup", "render_str"), place


_DIALOGS: dict[str, Callable[[str, ScriptedHost], Screen[object]]] = {
    "value": lambda text, _: ValueDialog(text, text),
    "array": lambda text, host: ArrayDialog(fake_services(host).files, Path("/m.gguf"), text),
    "confirm": lambda text, _: ConfirmDialog(text, text, text),
    "edit": lambda text, _: EditDialog(text, text, text),
    "export": lambda text, _: ExportDialog(text, {".md": text, "x": text}, Path("/exports"), text),
    "filter": lambda text, _: FilterDialog([(Filter("source", text), 1)], None, 1),
    "problems": lambda text, _: ProblemsDialog([ScanProblem(text, text)]),
    "name": lambda text, _: NameDialog(text),
}


def drawn(screen: Screen[object]) -> str:
    """The text of a screen, row by row."""
    return "\n".join(strip.text for strip in screen._compositor.render_strips())


@pytest.mark.parametrize("dialog", _DIALOGS)
async def test_a_dialog_shows_hostile_text_as_it_is(dialog: str, host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, None, size=(120, 40)) as (app, pilot):
        for text in HOSTILE:
            app.push_screen(_DIALOGS[dialog](text, host))
            await settle(pilot)
            assert text in drawn(app.screen)
            strips = app.screen._compositor.render_strips()
            styles = [segment.style for strip in strips for segment in strip if segment.style is not None]
            assert not any("@click" in style.meta for style in styles)
            app.pop_screen()


async def test_a_notification_shows_hostile_text_as_it_is(host: ScriptedHost, clock: FakeClock) -> None:
    app = app_on(host, clock, None)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await settle(pilot)
        for text in HOSTILE:
            app.chat.notify(text, title=text, timeout=60)
            app.screen.query_one("#transcript").notify(f"{text}\x1b[2J", markup=True, timeout=60)
            await settle(pilot)
            await until(pilot, lambda: len(app.screen.query(Toast)) == 2)
            shown = drawn(app.screen)
            assert shown.count(text) == 3
            assert "\x1b" not in shown
            app.clear_notifications()
            await until(pilot, lambda: not app.screen.query(Toast))


@pytest.mark.parametrize("key", ["left_square_bracket", "left_square_bracket,slash,right_square_bracket", "backslash"])
async def test_the_palette_shows_keys_that_look_like_markup(key: str, host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, None, config=Config(keymap={"app.race": key}), size=(120, 40)) as (app, pilot):
        await press_keys(pilot, "ctrl+p")
        assert isinstance(app.screen, CommandPalette)
        app.screen.query_one(Input).value = "Race"
        await until(pilot, lambda: "Race  (" in drawn(app.screen))
