from __future__ import annotations

import pytest

from tests.ui.race.drive import MakeHost, entry, scripted
from workbench.core.errors import ModelLoadError
from workbench.engine.scripted import ScriptedHost, ScriptedModel


@pytest.fixture
def host(make_host: MakeHost) -> ScriptedHost:
    broken = ScriptedModel(entry("Q2_K", 60, "Broken"), (), load_error=ModelLoadError("The file is truncated."))
    return make_host([scripted("F16", 300), scripted("Q4_K_M", 100), scripted("Q8_0", 200), broken])
