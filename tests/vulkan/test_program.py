"""The program on a Vulkan device: the command line, failures, and the few things that compute."""

from __future__ import annotations

import json

import pytest

from tests.engine.llama.conftest import answer, chat, load, watching
from workbench.core.cancel import CancelToken
from workbench.core.engine import Request
from workbench.core.events import PromptProgress, Token
from workbench.core.parameters import Sampling
from workbench.engine.llama.pace import GPU_CHUNK

pytestmark = pytest.mark.vulkan

NEAR = 0.2
"""Two tokens are near in log-probability: the device rounds differently."""


def test_memory_that_runs_out_is_a_sentence_that_names_the_layers(workbench):
    asked = ("run", "demo", "Hi", "--json", "--set", "num_gpu=31", "--max-tokens", "1")
    # How much the program takes before it loads a model differs between systems.
    for limit_kib in range(1_500_000, 2_100_000, 50_000):
        done = workbench(*asked, limit_kib=limit_kib)
        assert "Traceback" not in done.stderr
        if done.returncode == 1:
            break
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "memory"
    assert "num_gpu" in error["hint"]


def test_the_doctor_names_the_software_device(workbench):
    report = json.loads(workbench("doctor", "--json", "--no-bandwidth").stdout)
    assert "Vulkan" in report["backends"]
    vulkan = [device for device in report["devices"] if device["backend"] == "Vulkan"]
    assert [device["name"] for device in vulkan] == ["Vulkan0", "Vulkan1"]
    assert vulkan[0]["total_bytes"] > 0
    assert vulkan[0]["free_bytes"] is None
    assert {"software-device"} <= {finding["id"] for finding in report["findings"]}


@pytest.mark.parametrize(("visible", "outcome"), [("", "finds no device"), ("7", "does not start")])
def test_the_doctor_says_that_the_backend_has_no_device(workbench, visible, outcome):
    report = json.loads(workbench("doctor", "--json", "--no-bandwidth", GGML_VK_VISIBLE_DEVICES=visible).stdout)
    findings = {finding["id"]: finding for finding in report["findings"]}
    assert f"the backend Vulkan, which {outcome}" in findings["backend-idle"]["text"]


def test_fit_has_each_device(workbench):
    report = json.loads(workbench("fit", "demo", "--json", "--set", "tensor_split=3,1").stdout)
    assert [device["name"] for device in report["devices"]] == ["CPU", "Vulkan0", "Vulkan1"]
    assert report["gpu_layers"] == report["layers"]
    assert all(device["fits"] for device in report["devices"])


async def test_rows_have_a_way_out_where_a_device_cannot_split_them(host):
    from workbench.core.errors import ModelLoadError

    with pytest.raises(ModelLoadError) as caught:
        await load(host, "short", num_gpu=-1, split_mode="row")
    assert "split_mode" in caught.value.hint


async def test_the_text_is_that_of_the_processor_up_to_near_ties(host):
    request = Request(prompt="The quick brown fox jumps over the lazy dog. " * 2,
                      sampling=Sampling(num_predict=4, temperature=0.0), alternatives=2)  # fmt: skip
    on_cpu, on_device = [
        (await answer(await load(host, "short F16", num_gpu=num_gpu, num_ctx=512), request)).of(Token)
        for num_gpu in (0, -1)
    ]
    assert len(on_device) == 4
    for mine, other in zip(on_cpu, on_device, strict=True):
        if mine.id != other.id:
            best, second = (each.logprob for each in mine.choices[0].likeliest[:2])
            assert best - second < NEAR
            break


async def test_escape_waits_for_one_small_chunk(host):
    engine = await load(host, "short", num_gpu=-1, num_ctx=1024)
    cancel, seen = CancelToken(), []

    def note(event: object) -> None:
        if isinstance(event, PromptProgress):
            seen.append(event.done)
            if event.done > event.cached:
                cancel.set()

    with watching(note):
        result = await answer(engine, chat("again and again " * 100), cancel)
    assert result.end.reason == "cancelled"
    assert seen == [0, GPU_CHUNK]
    assert result.end.usage.completion_tokens == 0
