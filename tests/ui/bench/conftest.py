from __future__ import annotations

import pytest

from tests.ui.bench.drive import MakeHost
from tests.ui.fakes import FakeBench, models
from workbench.engine.scripted import ScriptedHost


@pytest.fixture
def host(make_host: MakeHost) -> ScriptedHost:
    return make_host(models())


@pytest.fixture
def bench() -> FakeBench:
    return FakeBench()
