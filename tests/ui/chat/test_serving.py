from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tests.ui.drive import press_keys, settle, shown, started, turns
from tests.ui.fakes import FakeClock, models
from workbench.core.errors import WorkbenchError
from workbench.core.metrics import AnswerMetrics
from workbench.core.serving import ServedModel, ServedRequest, Serving, ServingAddress
from workbench.engine.scripted import ScriptedHost, ScriptedModel
from workbench.ui.chat.serving_dialog import ServingDialog

ASKED = ServedRequest(
    7, "127.0.0.1 Open\x1b[31mAI/Python", "/v1/chat/completions", time.time(), "decode", True,
    AnswerMetrics(ttft_ms=120.0, decode_tps=35.25, prompt_tokens=1204, cached_tokens=1100, completion_tokens=12),
)  # fmt: skip


class FakeServing(Serving):
    def __init__(self) -> None:
        self.at = ""
        self.addresses: list[ServingAddress] = []
        self.used: list[ServedModel | None] = []
        self.listed: list[ServedRequest] = []
        self.refuses: WorkbenchError | None = None

    @property
    def url(self) -> str:
        return self.at

    def listen(self, address: ServingAddress) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.addresses.append(address)

    def start(self, model: ServedModel) -> None:
        self.used.append(model)
        self.at = f"http://{self.addresses[-1].host}:{self.addresses[-1].port}"

    def use(self, model: ServedModel | None) -> None:
        self.used.append(model)

    def requests(self) -> Sequence[ServedRequest]:
        return self.listed

    async def stop(self) -> None:
        self.at = ""


def rows(dialog: ServingDialog) -> list[str]:
    return [dialog.rows._row(index, 90).plain for index in range(dialog.rows.count)]


@pytest.fixture
def host(make_host: Callable[[Sequence[ScriptedModel]], ScriptedHost]) -> ScriptedHost:
    return make_host(models())


async def test_a_key_serves_the_model_lists_who_asks_and_stops(host: ScriptedHost, clock: FakeClock) -> None:
    serving = FakeServing()
    async with started(host, clock, serving=lambda: serving, size=(120, 36)) as (app, pilot):
        await press_keys(pilot, "alt+s")
        [served] = serving.used
        assert served is not None
        assert served.shared
        assert served.engine is app.workspace.engine
        assert served.engine.info.settings.num_parallel == 4
        assert "served at http://127.0.0.1:11435/v1" in turns(app)[-1]
        assert "served at http://127.0.0.1:11435" in shown(app)

        await press_keys(pilot, "alt+s")
        assert isinstance(app.screen, ServingDialog)
        assert rows(app.screen) == ["Nobody has asked yet."]
        serving.listed = [replace(ASKED, number=8, state="stop", running=False), ASKED]
        app.screen.look()
        await settle(pilot)
        await pilot.press("down")
        assert "request 7, /v1/chat/completions" in shown(app)
        text = rows(app.screen)[1]
        assert "\x1b" not in text
        assert text.split() == [
            "▸",
            "127.0.0.1",
            "Open␛[31mAI/Python",
            "decode",
            "120",
            "ms",
            "35.2",
            "1,204,",
            "1,100",
        ]

        await press_keys(pilot, "x")
        assert serving.at == ""
        assert "no longer served" in shown(app)
        assert "shows who asks" not in shown(app)


async def test_the_service_follows_the_model_of_the_chat_and_ends_with_the_program(
    host: ScriptedHost, clock: FakeClock
) -> None:
    serving = FakeServing()
    async with started(host, clock, serving=lambda: serving, size=(80, 24)) as (app, pilot):
        await press_keys(pilot, *"/serve :8080", "enter")
        assert serving.addresses[-1] == ServingAddress(port=8080)
        await press_keys(pilot, "ctrl+l")
        assert [model and model.name for model in serving.used] == [
            "SmolLM2-135M-Instruct:Q4_K_M", None, "SmolLM2-135M-Instruct:Q8_0",
        ]  # fmt: skip
        await press_keys(pilot, *"/serve 0.0.0.0:80", "enter")
        assert "no key is set" in shown(app) + "".join(turns(app))
        await press_keys(pilot, "ctrl+q")
    assert serving.at == ""


async def test_what_cannot_be_served_is_said(host: ScriptedHost, clock: FakeClock) -> None:
    serving = FakeServing()
    serving.refuses = WorkbenchError("Serving needs two more packages.", "Install them.")
    async with started(host, clock, serving=lambda: serving, size=(80, 24)) as (app, pilot):
        await press_keys(pilot, "alt+s")
        assert "two more packages" in turns(app)[-1]
        assert not serving.used
