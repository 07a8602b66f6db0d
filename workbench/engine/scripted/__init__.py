"""A deterministic engine that ships: for tests, for screenshots, and for `workbench scripted` without any model.

It plays scripts at a given pace. The figures are those of that pace and of a simple tokenizer; they say nothing about
any model.
"""

from __future__ import annotations

from workbench.engine.scripted.engine import ScriptedEngine
from workbench.engine.scripted.host import ScriptedHost
from workbench.engine.scripted.script import NO_DELAY, SECOND, WELCOME, Pace, Script, ScriptedModel, pieces

__all__ = [
    "NO_DELAY", "SECOND", "WELCOME", "Pace", "Script", "ScriptedEngine", "ScriptedHost", "ScriptedModel", "pieces",
]  # fmt: skip
