"""Text leaves for the terminal at one place, which cleans it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CLI = Path(__file__).resolve().parents[2] / "workbench" / "cli"
MODULES = sorted(path for path in CLI.glob("*.py") if path.name != "output.py")
STATIC = {"f'workbench {__version__}'", "_help()"}
"""Texts of this program, which are printed before anything else is imported."""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_commands_print_nothing_by_themselves(path):
    wrong = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            # Without positional arguments, escape sequences of this program itself are printed.
            case ast.Call(func=ast.Name(id="print"), args=[text, *more]) if more or ast.unparse(text) not in STATIC:
                wrong.append(f"print, line {node.lineno}")
            case ast.Attribute(value=ast.Attribute(attr="stdout" | "stderr"), attr="write" | "writelines" | "buffer"):
                wrong.append(f"{ast.unparse(node)}, line {node.lineno}")
    assert not wrong
