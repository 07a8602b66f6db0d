"""What a tuning says where settings fail, memory is short, the machine is busy, or it is stopped."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.lab.tune.scripted import CORES, ScriptedBencher, Tools, job_of
from workbench.core.bench import Conditions
from workbench.core.engine import DeviceNeed, Needs
from workbench.core.errors import EngineError, ModelLoadError, ParameterError
from workbench.core.load_settings import LoadSettings
from workbench.core.units import GIB
from workbench.lab.tune.goal import TuneLimits, parse_max_gb, work_of
from workbench.lab.tune.record import as_json, as_markdown


def six_threads(way, work):
    """Decode is fastest with six threads; nothing else matters."""
    return 0.0, 1.0 + 0.1 * abs((way.n_threads or CORES) - 6)


def flat(way, work):
    return 1.0, 1.0


def quiet(seconds, **options) -> ScriptedBencher:
    return ScriptedBencher(seconds, random.Random(1), **{"noise": 0.005, "drift": 0.0, "outliers": 0.0, **options})


async def tuned(bencher, today=None, price=None, watch=None, **plan):
    tools = Tools(bencher)
    if price is not None:
        tools.price = price
    if watch is not None:
        tools.watch.conditions = watch
    job = job_of(tools, today, **plan)
    await job.run()
    return job


async def test_the_best_is_proved_in_pairs_and_can_be_kept():
    job = await tuned(quiet(six_threads), work=work_of("decode"))
    record = job.record
    assert record.verdict == "better"
    assert record.sentence.startswith("threads 6 instead of 8: 1.2")
    assert record.sentence.endswith("all else made no difference that could be seen.")
    # Prompts keep their threads.
    assert record.values == {"num_thread": 6, "num_thread_batch": 8}
    assert record.command == ("settings", "m", "--set", "num_thread=6", "--set", "num_thread_batch=8")
    assert "threads 6 instead of 8" in as_markdown(record)
    found = as_json(record)
    assert {"best", "baseline", "ratio", "interval", "trials", "verdict", "command"} <= found.keys()


async def test_settings_that_are_already_best_are_a_result():
    job = await tuned(quiet(flat))
    record = job.record
    assert record.verdict == "already best"
    assert record.sentence.startswith("Your settings are already best. The nearest other, ")
    assert (record.values, record.command) == ({}, ())


async def test_threads_change_without_another_context_and_the_weights_are_loaded_once():
    bencher = quiet(six_threads)
    await tuned(bencher, work=work_of("decode"))
    # The search, and each of the two comparisons.
    assert len(bencher.loads) <= 3
    searched = [each for each in bencher.contexts if each.n_threads == 0]
    assert {each.flash_attn for each in searched} == {"auto", "off"}


async def test_a_lever_that_breaks_off_has_a_row_with_the_reason():
    bencher = quiet(flat, failures={"flash_attn=off": EngineError("llama.cpp ended: GGML_ASSERT failed.")})
    job = await tuned(bencher)
    (row,) = [trial for trial in job.record.trials if trial.state == "failed"]
    assert (row.changes, row.reason) == (
        ("flash attention off instead of auto",),
        "llama.cpp ended: GGML_ASSERT failed.",
    )
    assert job.error is None
    # The process may have ended: the next way loads the model again.
    assert len(bencher.loads) >= 3


async def test_a_process_that_is_killed_from_outside_is_started_again():
    bencher = quiet(flat, killed_at=5)
    job = await tuned(bencher, work=work_of("decode"))
    assert (job.error, job.record.verdict) == (None, "already best")
    assert {trial.state for trial in job.record.trials} == {"today", "measured"}


async def test_a_lever_that_is_refused_or_does_not_fit_is_not_loaded():
    def price(load):
        refused = ModelLoadError("A quantized V cache needs flash attention.") if load.type_v != "f16" else None
        taken = GIB * (4 if load.num_ubatch > 512 else 1)
        return Needs((DeviceNeed("CPU", taken, 2 * GIB),), 4096, refusal=refused)

    bencher = quiet(flat)
    job = await tuned(bencher, price=price, work=work_of("prompt", 1000), caches=("q8_0",))
    rows = {trial.changes: (trial.state, trial.reason) for trial in job.record.trials}
    refused = ("K cache q8_0 instead of f16", "V cache q8_0 instead of f16")
    assert rows[refused] == ("refused", "A quantized V cache needs flash attention.")
    large = ("batch 1024 instead of 512", "micro-batch 1024 instead of 512")
    assert rows[large] == ("no room", "needs 4.0 GiB on CPU, where 2.0 GiB are free")
    assert not any(each.type_v != "f16" or each.n_ubatch > 512 for each in bencher.contexts)


def by_ubatch(load):
    """Memory that grows with the micro-batch."""
    return Needs((DeviceNeed("CPU", GIB + load.num_ubatch * 2**20, 8 * GIB),), load.num_ctx or 4096)


async def test_constraints_that_today_misses_begin_at_the_nearest_settings_that_meet_them():
    limits = TuneLimits(parse_max_gb("1.3"))
    job = await tuned(quiet(flat), price=by_ubatch, limits=limits)
    record = job.record
    assert record.start.n_ubatch == 256
    assert "Your settings do not meet the constraints: micro-batch 256 instead of 512 does." in record.notes
    assert record.values == {"num_ubatch": 256}


async def test_a_context_that_was_asked_for_is_kept_too():
    job = await tuned(quiet(flat), replace(LoadSettings(), num_ctx=2048), limits=TuneLimits((), 16384))
    assert job.record.values == {"num_ctx": 16384}


async def test_constraints_that_nothing_meets_name_the_hardest():
    job = await tuned(quiet(flat), price=by_ubatch, limits=TuneLimits(parse_max_gb("CPU=1"), 8192))
    assert "the memory on CPU: with a context of 8,192 tokens the least is 1.1 GiB" in job.error.message
    assert "128.0 MiB more than the limit of 1.0 GiB" in job.error.message


@pytest.mark.parametrize("text", ["", "0", "CPU=", "x", "nan", "CPU=1,,", "1e99"])
def test_limits_that_are_none(text):
    with pytest.raises(ParameterError):
        parse_max_gb(text)


BUSY, QUIET = Conditions(others_percent=50.0, others_s=1.0), Conditions(others_percent=0.0, others_s=0.0)


async def test_a_busy_machine_is_waited_for_and_the_run_is_repeated():
    job = await tuned(quiet(flat), watch=[BUSY, BUSY, QUIET, QUIET], work=work_of("decode"))
    assert job.record.trials[0].disturbed == 0
    assert not job.record.notes


async def test_a_machine_that_stays_busy_is_said():
    job = await tuned(quiet(flat), watch=[BUSY] * 5000, work=work_of("decode"))
    assert job.record.trials[0].disturbed == job.record.trials[0].runs
    assert job.record.notes == ("Other programs computed for longer than the search waits: such runs are marked.",)


async def test_a_busy_machine_can_end_the_search():
    job = await tuned(quiet(flat), watch=[BUSY], work=work_of("decode"), busy="stop")
    assert job.record.verdict == "unproved"
    assert job.record.notes == ("Other programs compute: the search has stopped.",)


async def test_stopping_keeps_what_is_known():
    bencher = quiet(six_threads)
    job = job_of(Tools(bencher), work=work_of("decode"))
    job._on_change = lambda: bencher.runs > 30 and job.stop()
    await job.run()
    assert job.record.verdict == "unproved"
    assert job.record.sentence.startswith("So far threads 6 instead of 8 looks faster (1.")
    assert (bencher.open_contexts, job.record.values) == (0, {})


def on_a_gpu(load):
    """A model of 33 layers, all of which fit on the GPU."""
    devices = (DeviceNeed("CPU", GIB, 8 * GIB), DeviceNeed("CUDA0", GIB, 8 * GIB))
    return Needs(devices, 4096, ("CUDA0",), 33, 33, 33)


async def test_levers_that_load_the_weights_again_are_tried_in_few_rounds():
    def faster_with_layers(way, work):
        layers = 33 if way.n_gpu_layers < 0 else way.n_gpu_layers
        return 0.0, 2.0 - layers / 33

    bencher = quiet(faster_with_layers)
    job = await tuned(bencher, replace(LoadSettings(), num_gpu=8), price=on_a_gpu, work=work_of("decode"))
    assert "GPU layers 33 instead of 8" in job.record.sentence
    layers = [each.n_gpu_layers for each in bencher.loads]
    assert max(layers.count(count) for count in (0, 16, 24)) <= 3
    # As many as fit are 33 already.
    assert -1 not in layers


async def test_equal_settings_in_other_words_are_tried_once():
    job = await tuned(quiet(flat), replace(LoadSettings(), num_thread=CORES, flash_attn="on"))
    changed = [trial.changes for trial in job.record.trials]
    assert len(changed) == len(set(changed))
    assert changed[0] == ()
