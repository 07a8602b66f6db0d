from __future__ import annotations

import gc

import pytest

from tests.ui.drive import app_on, settle
from tests.ui.fakes import FakeClock
from workbench.core.gc_tuning import collect_later
from workbench.engine.scripted import ScriptedHost


async def test_garbage_is_collected_once_the_first_screen_is_drawn(
    host: ScriptedHost, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[bool] = []
    # A real freeze would last to the end of the tests.
    monkeypatch.setattr(gc, "freeze", lambda: drawn.append(bool(app.chat.prompt.region)))
    app = app_on(host, clock)
    with collect_later():
        async with app.run_test(size=(120, 36)) as pilot:
            await settle(pilot)
            assert gc.isenabled()
    assert drawn == [True]
