from __future__ import annotations

from collections.abc import Iterator

import pytest
from textual.css import stylesheet as textual_stylesheet
from textual.css.errors import UnresolvedVariableError
from textual.css.stylesheet import Stylesheet, StylesheetError, StylesheetParseError
from textual.css.tokenizer import TokenError
from textual.dom import DOMNode

from tests.ui.drive import app_on, press_keys, settle
from tests.ui.fakes import FakeClock
from workbench.engine.scripted import ScriptedHost
from workbench.ui import _compat
from workbench.ui._compat import KeptStylesheet
from workbench.ui.app import WorkbenchApp
from workbench.ui.prompt.prompt import Prompt

SHEET = "Label { color: $ink; &:hover { color: $paper; } } .wide { width: 3fr; }"
MISTAKES = (StylesheetError, StylesheetParseError, TokenError, UnresolvedVariableError)
DARK, LIGHT = {"ink": "#ffffff", "paper": "#000000"}, {"ink": "#000000", "paper": "#ffffff"}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The texts that were really parsed."""
    texts: list[str] = []
    parse = textual_stylesheet.parse

    def count(scope: str, css: str, *arguments: object, **options: object) -> object:
        texts.append(css)
        return parse(scope, css, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(textual_stylesheet, "parse", count)
    _compat._parsed.clear()
    yield texts
    _compat._parsed.clear()


def sheet(variables: dict[str, str], css: str = SHEET, kind: type[Stylesheet] = KeptStylesheet) -> Stylesheet:
    made = kind(variables=variables)
    made.add_source(css, ("", "a test"))
    return made


def test_the_same_text_with_the_same_variables_is_parsed_once(parsed: list[str]) -> None:
    first, second = sheet(DARK), sheet(dict(reversed(DARK.items())))
    assert first.css == second.css
    first.set_variables(dict(DARK))
    first.reparse()
    assert parsed == [SHEET]


def test_other_variables_give_the_rules_of_textual_and_earlier_ones_are_cached(parsed: list[str]) -> None:
    ours = sheet(DARK)
    dark = ours.css
    ours.set_variables(LIGHT)
    ours.reparse()
    light = ours.css
    assert light != dark
    ours.set_variables(DARK)
    ours.reparse()
    assert ours.css == dark
    assert parsed == [SHEET, SHEET]
    assert [dark, light] == [sheet(variables, kind=Stylesheet).css for variables in (DARK, LIGHT)]


def test_changing_the_variables_of_one_sheet_keeps_the_cache_of_another(parsed: list[str]) -> None:
    stays, changes = sheet(DARK), sheet(DARK)
    assert stays.rules == changes.rules
    changes.set_variables(LIGHT)
    changes.reparse()
    stays.reparse()
    assert stays.css == sheet(DARK).css != changes.css
    assert len(parsed) == 2


@pytest.mark.parametrize("wrong", ["Label { colour: red; }", "Label { color: $no_such_ink; }", "Label { color"])
def test_an_invalid_sheet_is_refused_each_time_and_keeps_the_rules(parsed: list[str], wrong: str) -> None:
    ours = sheet(DARK)
    before = ours.css
    for _ in range(2):
        ours.add_source(wrong, ("", "another"))
        ours._invalid_css.clear()
        with pytest.raises(MISTAKES):
            ours.reparse()
        ours.set_variables(DARK)
        assert "\n\n".join(rule.css for rule in ours._rules) == before


def test_the_cache_is_bounded(parsed: list[str]) -> None:
    for number in range(_compat.THEMES_KEPT + 5):
        sheet(DARK | {"ink": f"#0000{number:02}"}).parse()
    assert len(_compat._parsed) == _compat.THEMES_KEPT


def test_nodes_whose_ids_no_rule_names_have_one_place() -> None:
    ids = _compat._matched_by(sheet(DARK, "#form Label, #name.wide { width: 3fr; } Label { height: 1; }").rules)[1]
    assert ids == {"form", "name"}
    first, second, name = (_compat._path(DOMNode(id=each), ids) for each in ("first", "second", "name"))
    assert first == second != name


def styles(app: WorkbenchApp) -> list[tuple[object, ...]]:
    """The rules of every widget of the screen, and of its component classes."""
    return [
        (
            node,
            node._has_hover_style,
            node.styles.base.css,
            {name: each.base.css for name, each in sorted(node._component_styles.items())},
        )
        for node in app.screen.walk_children(with_self=True)
    ]


async def test_widgets_have_the_styles_of_textual(host: ScriptedHost, clock: FakeClock) -> None:
    app = app_on(host, clock)

    def check() -> None:
        ours, plain = styles(app), Stylesheet(variables=app.get_css_variables())
        plain.source = app.stylesheet.source.copy()
        plain.parse()
        for node in app.screen.walk_children(with_self=True):
            plain.apply(node)
        assert ours == styles(app)

    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await press_keys(pilot, *"why", "enter")
        check()
        for _ in range(2):
            await pilot.hover(Prompt)
            await pilot.press("ctrl+home", "tab")
            app.chat.prompt.disabled = not app.chat.prompt.disabled
            app.chat.transcript.toggle_class("-follows")
            app.theme = "workbench-light" if app.theme == "workbench-dark" else "workbench-dark"
            await settle(pilot)
            check()
        await press_keys(pilot, "f6")
        check()
        await press_keys(pilot, "escape", "f5")
        check()
        await pilot.press(*"9x")
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        check()
