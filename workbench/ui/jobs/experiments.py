"""The screens that compute: they are imported when they are first used, and not before the first paint."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from workbench.ui.services import Services
from workbench.ui.workspace.workspace import Workspace

if TYPE_CHECKING:
    from workbench.ui.experiment.screen import ExperimentScreen

_SCREENS = {
    "race": "RaceScreen", "bench": "BenchScreen", "decision": "DecisionScreen", "evals": "EvalScreen",
    "quality": "QualityScreen", "tune": "TuneScreen",
}  # fmt: skip
"""The screens by their modes, which are the names of their packages."""

NEIGHBOURS = {"bench": "decision", "evals": "quality"}
"""The modes to which the key of another leads when it is pressed again."""

PALETTE = {
    "decision": ("Decide", "Choose a quantization from everything that was measured."),
    "tune": ("Tune", "Find the fastest settings of a model that fit, or its speed by context depth."),
    "quality": ("Quality over a text", "Measure how much quantizations and cache types differ over a text."),
}
"""The titles and the explanations of those that have no key of their own."""


def make_experiment(
    mode: str, services: Services, workspace: Workspace, key_for: Callable[[str], str]
) -> ExperimentScreen:
    """The screen of a mode."""
    screen: Any = getattr(import_module(f"workbench.ui.{mode}.screen"), _SCREENS[mode])
    found: ExperimentScreen = screen(services, workspace, key_for)
    return found
