"""Every style sheet styles widgets and component classes that exist: a selector that matches nothing fails silently."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.app import App
from textual.css.model import SelectorType
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode

import workbench.ui
from workbench.ui.themes import FALLBACK, variable_defaults

FOLDER = Path(workbench.ui.__file__).parent
SHEETS = sorted(FOLDER.rglob("*.tcss"))


def subclasses(kind: type[DOMNode]) -> Iterator[type[DOMNode]]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


@pytest.fixture(scope="module")
def nodes() -> list[type[DOMNode]]:
    import textual.command
    import textual.widgets

    for name in textual.widgets.__all__:
        getattr(textual.widgets, name)
    for module in pkgutil.walk_packages(workbench.ui.__path__, "workbench.ui."):
        importlib.import_module(module.name)
    return list(subclasses(DOMNode))


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_selector_names_something(path: Path, nodes: list[type[DOMNode]]) -> None:
    sheet = Stylesheet(variables={**App().get_css_variables(), **variable_defaults(FALLBACK)})
    sheet.add_source(path.read_text(encoding="utf-8"), read_from=(str(path), ""))
    selectors = [selector for rule in sheet.rules for each in rule.selector_set for selector in each.selectors]
    types = {node.__name__ for node in nodes}
    components = {name for node in nodes for name in node.__dict__.get("COMPONENT_CLASSES", ())}
    assert selectors
    assert {each.name for each in selectors if each.type is SelectorType.TYPE} <= types
    assert {each.name for each in selectors if each.type is SelectorType.CLASS and "--" in each.name} <= components
