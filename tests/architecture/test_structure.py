"""The shape of the house: what keeps a newcomer able to find a line, and a change small."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "workbench"
MOST_LINES = 350
MOST_PUBLIC_METHODS = 25
MOST_FILES_OF_UI = 8
SAME_NAME = {
    "Token": "the lexer of Go templates and the events of an engine each call it so",
}
"""Type names that are the right word of two fields, with the reason."""


@cache
def modules() -> dict[str, ast.Module]:
    """Every module by its dotted name, parsed."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports_of(tree: ast.Module, known: set[str]) -> set[str]:
    """The modules of this program that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {name if (name := f"{node.module}.{alias.name}") in known else node.module for alias in node.names}
    return found & known


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in arrows[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            component = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(component) > 1:
                found.append(sorted(component))

    for name in arrows:
        if name not in index:
            visit(name)
    return found


def test_the_root_of_ui_is_read_at_a_glance():
    files = [path.name for path in (PACKAGE / "ui").glob("*.py")]
    assert len(files) <= MOST_FILES_OF_UI, files


def test_no_modules_import_each_other_in_a_circle():
    known = set(modules())
    assert not circles({name: imports_of(tree, known) - {name} for name, tree in modules().items()})


def test_no_packages_of_ui_import_each_other_in_a_circle():
    def package(name: str) -> str:
        parts = name.split(".")
        return ".".join(parts[:3]) if (PACKAGE / "ui" / parts[min(2, len(parts) - 1)]).is_dir() else name

    known = set(modules())
    arrows: dict[str, set[str]] = defaultdict(set)
    for name, tree in modules().items():
        if name.startswith("workbench.ui."):
            ours = {package(other) for other in imports_of(tree, known) if other.startswith("workbench.ui.")}
            arrows[package(name)] |= ours - {package(name)}
    for others in list(arrows.values()):
        for other in others:
            arrows.setdefault(other, set())
    assert not circles(arrows)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_a_class_has_few_public_methods():
    crowded = {}
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                count = sum(
                    isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and not each.name.startswith("_")
                    for each in node.body
                )
                if count > MOST_PUBLIC_METHODS:
                    crowded[f"{module}.{node.name}"] = count
    assert not crowded


def test_a_type_name_means_one_thing():
    places = defaultdict(list)
    for module, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module)
    assert not {name: found for name, found in places.items() if len(found) > 1 and name not in SAME_NAME}
