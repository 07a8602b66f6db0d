from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from tests.gguf.conftest import write_model
from workbench.core.cancel import CancelToken
from workbench.core.errors import ModelLoadError
from workbench.core.parameters import LoadSettings
from workbench.gguf.cache_types import cache_refusal
from workbench.gguf.fit import FitModel
from workbench.gguf.reader import read_header
from workbench.gguf.shares import DeviceRoom, Room

FLASH = ("auto", "on", "off")
TYPES = ("f16", "bf16", "q8_0", "q4_0", "iq4_nl")
MODELS = {
    "heads of 32": {"key_length": 32, "value_length": 32},
    "heads of 80": {"width": 160, "heads": 2, "kv_heads": 2},
    "one head of 80 for all": {"width": 160, "heads": 2, "kv_heads": 1},
    "heads of 16": {"key_length": 16, "value_length": 16, "kv_heads": 4},
}


def refusal(metadata, load: LoadSettings) -> ModelLoadError | None:
    return cache_refusal(metadata, load.type_k, load.type_v, flash_attention=load.flash_attn != "off")


@pytest.mark.parametrize("shape", MODELS.values(), ids=MODELS)
def test_what_is_refused_is_what_llama_cpp_refuses(tmp_path, shape):
    from workbench.engine.llama.native import api
    from workbench.engine.llama.weights import load_weights, make_context

    path = write_model(tmp_path / "model.gguf", **shape)
    metadata = read_header(path).metadata
    model = load_weights(str(path), LoadSettings(num_gpu=0), on_progress=lambda _: None, cancel=CancelToken())
    try:
        for type_k, type_v, flash in itertools.product(TYPES, TYPES, FLASH):
            load = LoadSettings(type_k=type_k, type_v=type_v, flash_attn=flash)
            mine = refusal(metadata, load)
            if mine is not None and flash == "off" and type_v in {"f16", "bf16"}:
                # Rows of keys that are no whole blocks: llama.cpp ends the process.
                continue
            try:
                api.llama_free(make_context(model, replace(load, num_ctx=256, num_thread=1)))
            except ModelLoadError:
                assert mine is not None, load
            else:
                assert mine is None, load
    finally:
        api.llama_model_free(model)


def test_keys_alone_are_quantized_by_rows_without_flash_attention(tmp_path):
    load = LoadSettings(type_k="q8_0", flash_attn="off")
    two = read_header(write_model(tmp_path / "two.gguf", **MODELS["heads of 80"])).metadata
    one = read_header(write_model(tmp_path / "one.gguf", **MODELS["one head of 80 for all"])).metadata
    assert refusal(two, load) is None
    assert "80 wide" in refusal(one, load).message


@pytest.mark.parametrize(("key", "value", "refused"), [(80, 64, "type_k"), (64, 80, "type_v")])
def test_keys_and_values_are_looked_at_apart(tmp_path, key, value, refused):
    path = write_model(tmp_path / "odd.gguf", key_length=key, value_length=value)
    error = refusal(read_header(path).metadata, LoadSettings(type_k="q8_0", type_v="q8_0"))
    assert refused in error.hint


def test_latent_attention_has_one_type(tmp_path):
    keys = {".attention.key_length_mla": 192, ".attention.value_length_mla": 128}
    path = write_model(tmp_path / "mla.gguf", key_length=64, value_length=64, keys=keys)
    metadata = read_header(path).metadata
    assert refusal(metadata, LoadSettings(type_k="q8_0", type_v="q8_0")) is None
    assert "q8_0 and f16" in refusal(metadata, LoadSettings(type_k="q8_0")).message
    assert refusal(metadata, LoadSettings(type_v="bf16")) is not None


def test_windowed_layers_have_heads_of_their_own(tmp_path):
    keys = {".attention.key_length_swa": 80, ".attention.sliding_window": 64}
    path = write_model(tmp_path / "windowed.gguf", architecture="gemma3", layers=6, key_length=64, keys=keys)
    assert "80 wide" in refusal(read_header(path).metadata, LoadSettings(type_k="q8_0")).message


def test_where_flash_attention_is_never_used_its_rules_are_those_of_off(tmp_path):
    metadata = read_header(write_model(tmp_path / "grok.gguf", architecture="grok", key_length=64)).metadata
    assert refusal(metadata, LoadSettings(type_v="q8_0", flash_attn="on")) is not None


def test_what_is_refused_does_not_fit(tmp_path):
    model = FitModel((read_header(write_model(tmp_path / "odd.gguf", **MODELS["heads of 80"])),))
    room = Room(DeviceRoom("CPU", 2**40))
    refused = model.question(LoadSettings(type_k="q8_0"))
    fit = model.price(refused, room)
    assert not fit.fits
    assert all(share.fits for share in fit.shares)
    assert model.largest_context(refused, room) == 0
    assert model.price(model.question(LoadSettings()), room).fits
