"""The sampler chain, held against a chain that is built as llama.cpp's `common/sampling.cpp` builds it."""

from __future__ import annotations

import ctypes

import pytest

from tests.engine.llama.conftest import answer, load
from tests.gguf.conftest import write_model
from workbench.core.cancel import CancelToken
from workbench.core.engine import Request
from workbench.core.events import Failed
from workbench.core.parameters import SAMPLERS, LoadSettings, Sampling
from workbench.engine.llama.checkpoints import CheckpointLimits, CheckpointPool
from workbench.engine.llama.runtime import shared_runtime

PROMPT = [*range(10, 60), *range(10, 40)]
STEPS = 24
N_CTX = 256

CASES = {
    "defaults": {},
    "all tokens": {"top_k": 0, "top_p": 1.0},
    "greedy": {"temperature": 0.0},
    "greedy with penalties": {"temperature": 0.0, "repeat_penalty": 1.3, "presence_penalty": 0.5},
    "greedy with all filters": {"temperature": 0.0, "top_k": 3, "top_p": 0.1, "min_p": 0.5, "top_n_sigma": 1.0},
    "greedy with typical": {"temperature": 0.0, "typical_p": 0.3},
    "greedy with XTC": {"temperature": 0.0, "xtc_probability": 1.0, "xtc_threshold": 0.0, "top_k": 5},
    "penalties over the whole context": {"repeat_penalty": 1.5, "repeat_last_n": -1, "frequency_penalty": 0.2},
    "a small window": {"repeat_penalty": 1.3, "repeat_last_n": 8, "temperature": 1.5},
    "biases that lower": {"logit_bias": ("40=-3", "41=-inf"), "top_k": 20, "temperature": 1.5},
    "an enormous window": {"repeat_penalty": 1.5, "repeat_last_n": 2**31 - 1},
    "min-p": {"min_p": 0.2, "top_p": 1.0},
    "typical": {"typical_p": 0.5, "top_k": 0},
    "top-n-sigma": {"top_n_sigma": 1.5, "temperature": 2.0},
    "XTC": {"xtc_probability": 0.6, "xtc_threshold": 0.001, "temperature": 1.5},
    "XTC off by its threshold": {"xtc_probability": 1.0, "xtc_threshold": 0.6},
    "DRY": {"dry_multiplier": 3.0, "dry_base": 2.0, "dry_allowed_length": 1, "temperature": 0.5},
    "DRY greedy": {"dry_multiplier": 5.0, "dry_allowed_length": 0, "temperature": 0.0},
    "DRY with breakers": {"dry_multiplier": 5.0, "dry_penalty_last_n": 20, "dry_sequence_breakers": ("A", "\n", "é")},
    "DRY without breakers": {"dry_multiplier": 5.0, "dry_sequence_breakers": ()},
    "mirostat 1": {"mirostat": 1, "mirostat_tau": 3.0, "repeat_penalty": 1.5},
    "mirostat 2": {"mirostat": 2, "mirostat_tau": 4.0, "mirostat_eta": 0.3, "temperature": 1.5},
    "adaptive-p": {"adaptive_target": 0.3, "top_p": 1.0, "temperature": 1.0},
    "adaptive-p with filters": {"adaptive_target": 0.7, "adaptive_decay": 0.5, "min_p": 0.05},
    "bias": {"logit_bias": ("40=3.5", "41=-inf", "42=-2")},
    "bias and greedy": {"logit_bias": ("40=100",), "temperature": 0.0},
    "temperature first": {"samplers": ("temperature", "top_k", "top_p"), "temperature": 1.7},
    "top-p before top-k": {"samplers": ("top_p", "top_k", "temperature"), "top_p": 0.4, "top_k": 7},
    "without temperature": {"samplers": ("min_p", "top_k"), "temperature": 0.1, "min_p": 0.3},
    "penalties last": {"samplers": ("top_k", "temperature", "penalties"), "repeat_penalty": 1.8},
    "no sampler": {"samplers": ()},
    "everything": {
        "repeat_penalty": 1.2, "dry_multiplier": 0.8, "top_n_sigma": 3.0, "top_k": 60, "typical_p": 0.9, "top_p": 0.95,
        "min_p": 0.01, "xtc_probability": 0.5, "xtc_threshold": 0.02, "temperature": 1.3, "logit_bias": ("50=1",),
    },
}  # fmt: skip


def reference_chain(api, it: Sampling, vocab, size: int):
    """Every sampler, also where it is off, in the order of llama.cpp; the draw last."""
    chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())

    def add(sampler) -> None:
        api.llama_sampler_chain_add(chain, sampler)

    pairs = [(int(token), float(bias)) for token, _, bias in (text.partition("=") for text in it.logit_bias)]
    if pairs:
        add(api.llama_sampler_init_logit_bias(size, len(pairs), (api.llama_logit_bias * len(pairs))(*pairs)))
    window, reach = (N_CTX if each < 0 else min(each, N_CTX) for each in (it.repeat_last_n, it.dry_penalty_last_n))
    breakers = [text.encode() for text in it.dry_sequence_breakers]
    made = {
        "penalties": lambda: api.llama_sampler_init_penalties(
            size, window, it.repeat_penalty, it.frequency_penalty, it.presence_penalty
        ),
        "dry": lambda: api.llama_sampler_init_dry(
            vocab, it.dry_multiplier, it.dry_base, it.dry_allowed_length, reach,
            (ctypes.c_char_p * len(breakers))(*breakers), len(breakers),
        ),
        "top_n_sigma": lambda: api.llama_sampler_init_top_n_sigma(it.top_n_sigma),
        "top_k": lambda: api.llama_sampler_init_top_k(it.top_k),
        "typ_p": lambda: api.llama_sampler_init_typical(it.typical_p, 0),
        "top_p": lambda: api.llama_sampler_init_top_p(it.top_p, 0),
        "min_p": lambda: api.llama_sampler_init_min_p(it.min_p, 0),
        "xtc": lambda: api.llama_sampler_init_xtc(it.xtc_probability, it.xtc_threshold, 0, it.seed),
        "temperature": lambda: api.llama_sampler_init_temp_ext(it.temperature, 0.0, 1.0),
    }  # fmt: skip
    if it.mirostat:
        add(made["temperature"]())
        if it.mirostat == 1:
            add(api.llama_sampler_init_mirostat(size, it.seed, it.mirostat_tau, it.mirostat_eta, 100))
        else:
            add(api.llama_sampler_init_mirostat_v2(it.seed, it.mirostat_tau, it.mirostat_eta))
        return chain
    for name in it.samplers:
        add(made[name]())
    if it.adaptive_target >= 0:
        add(api.llama_sampler_init_adaptive_p(it.adaptive_target, it.adaptive_decay, it.seed))
    else:
        add(api.llama_sampler_init_dist(it.seed))
    return chain


FEW_CANDIDATES = ("defaults", "greedy with penalties", "min-p", "XTC", "a small window", "biases that lower")
"""Cases whose chain does not see a whole large vocabulary."""


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samplers")
    return {size: write_model(folder / f"{size}.gguf", vocab=size) for size in (0, 4096)}


@pytest.mark.parametrize(("case", "size"), [(case, 0) for case in CASES] + [(case, 4096) for case in FEW_CANDIDATES])
async def test_it_chooses_what_the_chain_of_llama_cpp_chooses(toys, case, size):
    def both() -> list[tuple[list[int], list[int]]]:
        from llama_cpp import llama_cpp as api

        from workbench.engine.llama.model import Model
        from workbench.engine.llama.sampler import Sampler

        settings = LoadSettings(num_ctx=N_CTX, num_thread=1, num_batch=128, num_gpu=0)
        model = Model(str(toys[size]), settings, lambda _: None, CancelToken(), "", CheckpointPool(CheckpointLimits()))
        found = []
        for seed in (1, 2, 2**32 - 2):
            it = Sampling(**{"seed": seed, **CASES[case]})
            written = []
            for way in ("ours", "theirs"):
                model.slots[0].forget()
                model.slots[0].compute(PROMPT)
                if way == "ours":
                    sampler = Sampler(it, model.vocabulary, N_CTX, PROMPT)
                    draw, close = sampler.sample, sampler.close
                else:
                    chain = reference_chain(api, it, model.vocabulary.native, model.vocabulary.size)
                    for token in PROMPT:
                        api.llama_sampler_accept(chain, token)

                    def draw(ctx, chain=chain) -> int:
                        return api.llama_sampler_sample(chain, ctx, -1)

                    def close(chain=chain) -> None:
                        api.llama_sampler_free(chain)

                tokens = []
                for _ in range(STEPS):
                    tokens.append(draw(model.native))
                    model.slots[0].compute(tokens[-1:])
                close()
                written.append(tokens)
            found.append((written[0], written[1]))
        model.close()
        return found

    for ours, theirs in await shared_runtime.do(both):
        assert ours == theirs


async def test_a_bias_for_a_token_that_does_not_exist_is_an_error(host, models, toys):
    models["toy"] = str(toys[0])
    engine = await load(host, "toy", num_ctx=N_CTX)
    found = await answer(engine, Request(prompt="a", sampling=Sampling(logit_bias=("99999999=1",), num_predict=2)))
    assert isinstance(found.end, Failed)
    assert "logit_bias 99999999=1 names no token of this model" in str(found.end.error)


async def test_a_token_with_an_infinite_bias_is_never_written(host, models, toys):
    models["toy"] = str(toys[0])
    engine = await load(host, "toy", num_ctx=N_CTX)
    ask = Request(prompt="a", sampling=Sampling(temperature=0.0, num_predict=8))
    written = sorted(set((await answer(engine, ask)).ids))
    biases = tuple(f"{token}=-inf" for token in written)
    ask = Request(prompt="a", sampling=Sampling(temperature=0.0, num_predict=8, logit_bias=biases))
    assert not set(written) & set((await answer(engine, ask)).ids)


def test_the_order_has_every_sampler_of_the_chain_once():
    assert len(set(SAMPLERS)) == len(SAMPLERS) == 9


@pytest.mark.parametrize("temperature", [1e-45, 1e-38, 1e-7])
async def test_the_smallest_temperatures_are_greedy(host, models, toys, temperature):
    models["toy"] = str(toys[0])
    engine = await load(host, "toy", num_ctx=N_CTX)
    found = [
        (await answer(engine, Request(prompt="a", sampling=Sampling(temperature=each, num_predict=8)))).ids
        for each in (0.0, temperature)
    ]
    assert found[0] == found[1]
