"""Answers in a format, in the chat."""

from __future__ import annotations

import pytest

from tests.ui.fakes import FakeClock, app_on, settle, shown
from workbench.core.errors import FormatError
from workbench.engine.scripted import ScriptedHost


def refuse_files(value: str, exact: bool) -> None:
    if value != "json":
        raise FormatError(f"{value} cannot be held: {exact}.")


async def test_a_format_is_set_and_checked_and_the_answer_is_judged(host: ScriptedHost, clock: FakeClock) -> None:
    app = app_on(host, clock, check_format=refuse_files)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press(*"/set format json", "enter")
        await settle(pilot)
        await pilot.press(*"why", "enter")
        await settle(pilot)
        assert host.opened[0].requests[0].sampling.format == "json"
        assert "does not have its format: it is no JSON" in " ".join(shown(app).split())
        with pytest.raises(FormatError, match=r"/a\.json cannot be held: True"):
            await app.workspace.change("Be brief.", {"format": "/a.json", "top_k": 7})
        conversation = app.workspace.conversation
        assert (conversation.sampling.format, conversation.sampling.top_k) == ("json", 7)
        assert conversation.system == "Be brief."
        await pilot.press(*"/set noformat", "enter")
        await settle(pilot)
        assert conversation.sampling.format == ""
