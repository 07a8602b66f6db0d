from __future__ import annotations

from pathlib import Path

import pytest

from tests.ui.fakes import ANSWER, FakeClock, models
from tests.ui.library_fakes import library
from tests.ui.models.drive import MEMORY
from workbench.core.models import ModelEntry
from workbench.engine.scripted import Script, ScriptedHost, ScriptedModel
from workbench.gguf.check import check_loadable
from workbench.gguf.fit import FitModel


@pytest.fixture
def host(clock: FakeClock) -> ScriptedHost:
    scripted = [
        ScriptedModel(model, (Script.of(ANSWER), Script.of("And so on.")), memory=MEMORY)
        for model in library().models
        if not model.problem
    ]
    return ScriptedHost([*scripted, *models()], clock=clock, sleep=clock.sleep)


@pytest.fixture(scope="module")
def demo(demo_path: Path) -> FitModel:
    return FitModel(check_loadable(demo_path))


@pytest.fixture
def demo_entry(demo_path: Path) -> ModelEntry:
    return ModelEntry("demo", "SmolLM2-135M-Instruct", "Q4_1", str(demo_path), 98_432_288, bits_per_weight=5.74)
