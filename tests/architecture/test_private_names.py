"""Private names of Textual may change with any release: one module uses them, and says of which version."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

UI = Path(__file__).resolve().parents[2] / "workbench" / "ui"
MODULES = sorted(path for path in UI.rglob("*.py") if path.name != "_compat.py")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def names_of_our_own() -> set[str]:
    """The private names that the modules of the screen define: functions, attributes, fields, parameters."""
    found = set()
    for path in UI.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    found.add(name)
                case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                    found.add(name)
    return {name for name in found if is_private(name)}


OWN = names_of_our_own()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(UI)))
def test_private_names_of_textual_are_used_in_one_module(path):
    wrong = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.ImportFrom(module=module, names=names) if module and module.partition(".")[0] == "textual":
                wrong += [module] if any(map(is_private, module.split("."))) else []
                wrong += [alias.name for alias in names if is_private(alias.name)]
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name) if is_private(name) and name not in OWN:
                wrong.append(f"{name}, line {node.lineno}")
            case ast.Attribute(value=ast.Attribute(), attr=name) if is_private(name):
                wrong.append(f"{ast.unparse(node)}, line {node.lineno}")
            case ast.Call(func=ast.Name(id="getattr" | "setattr"), args=[_, ast.Constant(value=str(name)), *_]):
                wrong += [f"{name!r}, line {node.lineno}"] if is_private(name) else []
    assert not wrong
