"""Answers in a format, in the chat."""

from __future__ import annotations

import pytest

from tests.ui.drive import press_keys, shown, started
from tests.ui.fakes import FakeClock
from workbench.core.errors import FormatError
from workbench.engine.scripted import ScriptedHost


def refuse_files(value: str, exact: bool) -> None:
    if value != "json":
        raise FormatError(f"{value} cannot be held: {exact}.")


async def test_a_format_is_set_and_checked_and_the_answer_is_judged(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, check_format=refuse_files) as (app, pilot):
        await press_keys(pilot, *"/set format json", "enter")
        await press_keys(pilot, *"why", "enter")
        assert host.opened[0].requests[0].sampling.format == "json"
        assert "does not have its format: it is no JSON" in " ".join(shown(app).split())
        with pytest.raises(FormatError, match=r"/a\.json cannot be held: True"):
            await app.workspace.change("Be brief.", {"format": "/a.json", "top_k": 7})
        conversation = app.workspace.conversation
        assert (conversation.sampling.format, conversation.sampling.top_k) == ("json", 7)
        assert conversation.system == "Be brief."
        await press_keys(pilot, *"/set noformat", "enter")
        assert conversation.sampling.format == ""
