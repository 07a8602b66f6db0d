from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.gguf_files import finish
from workbench.core.errors import ModelFileError
from workbench.gguf import kinds
from workbench.gguf.check import check_loadable
from workbench.gguf.kinds import why_no_text, why_not_loadable
from workbench.gguf.reader import read_header
from workbench.library.file_facts import FileFactsCache
from workbench.library.folders import model_file

EMBEDDING, RERANKER = "embedding model", "reranker"
NO_DECODERS = [
    *((name, EMBEDDING) for name in ("bert", "nomic-bert-moe", "jina-bert-v3", "gemma-embedding", "llama-embed")),
    *((name, "diffusion model") for name in ("dream", "llada", "llada-moe", "rnd1")),
    ("t5", "encoder-decoder model"),
    ("t5encoder", "encoder of an encoder-decoder model"),
    *((name, "draft model") for name in ("eagle3", "dflash", "gemma4-assistant")),
    ("wavtokenizer-dec", "speech model"),
]


def write(path: Path, architecture: str, *tensors: str, **keys: int | bool) -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(1)
    for key, value in keys.items():
        name = f"{architecture}.{key.replace('__', '.')}"
        if isinstance(value, bool):
            writer.add_bool(name, value)
        else:
            writer.add_uint32(name, value)
    for tensor in ("token_embd.weight", *tensors):
        writer.add_tensor(tensor, np.zeros((4, 32), np.float32))
    finish(writer)
    return path


def assert_refused(path: Path, said: str) -> None:
    """The library lists it with the reason, and opening it is refused in the same sentence."""
    with pytest.raises(ModelFileError) as caught:
        check_loadable(path)
    facts = FileFactsCache().read(model_file(path))
    assert said in caught.value.message
    assert facts.problem == str(caught.value).removeprefix(f"{path}: ")
    assert facts.parameters


def test_the_heads_of_a_model_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "x-mtp-q4_0.gguf", "qwen35", "blk.0.nextn.eh_proj.weight", nextn_predict_layers=1)
    assert_refused(path, "draft model")
    whole = write(
        tmp_path / "m.gguf", "qwen35", "blk.0.attn_q.weight", "blk.1.nextn.eh_proj.weight", nextn_predict_layers=0
    )
    header = read_header(whole)
    two = {**header.metadata, "qwen35.block_count": 2, "qwen35.nextn_predict_layers": 1}
    assert why_not_loadable(two, header.tensors) is None
    assert why_not_loadable(two, header.tensors[:1]) is None
    assert why_not_loadable(two, header.tensors[2:]) is not None


@pytest.mark.parametrize(("architecture", "said"), NO_DECODERS)
def test_an_architecture_that_writes_no_text(tmp_path: Path, architecture: str, said: str) -> None:
    path = write(tmp_path / "m.gguf", architecture)
    assert_refused(path, said)
    assert why_not_loadable(read_header(path).metadata, ()) is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"pooling_type": 1}, EMBEDDING),
        ({"pooling_type": 2}, EMBEDDING),
        ({"pooling_type": 3}, EMBEDDING),
        ({"pooling_type": 4}, RERANKER),
        ({"attention__causal": False}, EMBEDDING),
    ],
)
def test_a_decoder_that_was_made_an_embedding_model(tmp_path: Path, keys: dict[str, int | bool], said: str) -> None:
    assert_refused(write(tmp_path / "m.gguf", "qwen3", **keys), said)


@pytest.mark.parametrize("keys", [{}, {"pooling_type": 0}, {"pooling_type": 2**32 - 1}, {"attention__causal": True}])
def test_a_decoder(tmp_path: Path, keys: dict[str, int | bool]) -> None:
    path = write(tmp_path / "m.gguf", "qwen3", **keys)
    assert why_no_text(read_header(path).metadata) is None
    assert FileFactsCache().read(model_file(path)).problem == ""


def test_a_model_that_writes_no_text_may_be_quantized(tmp_path: Path) -> None:
    assert check_loadable(write(tmp_path / "m.gguf", "bert"), writes=False)


@pytest.mark.parametrize("name", ["v.blk.0.attn_k.weight", "mm.input_projection.weight", "a.conv1d.1.weight"])
def test_tensors_of_a_picture_or_audio_encoder(tmp_path: Path, name: str) -> None:
    assert_refused(write(tmp_path / "m.gguf", "llama", name), "picture or audio encoder")


@pytest.mark.parametrize("architecture", ["gptoss", "mllama", "qwen25vl", "next-year's", "ünknown"])
def test_an_architecture_that_llama_cpp_does_not_know(tmp_path: Path, architecture: str) -> None:
    assert_refused(write(tmp_path / "m.gguf", architecture), f"does not know its architecture {architecture!r}")


def test_an_architecture_of_a_newer_llama_cpp_is_found_in_its_binary(tmp_path: Path, monkeypatch) -> None:
    kinds._is_in_library.cache_clear()
    (tmp_path / "libllama.so").write_bytes(b"llama\0next-year's\0")
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    assert why_not_loadable({"general.architecture": "next-year's"}, ()) is None
    kinds._is_in_library.cache_clear()


def test_every_architecture_of_the_installed_llama_cpp_is_known(monkeypatch) -> None:
    monkeypatch.setattr(kinds, "_is_in_library", lambda _: False)
    for name in gguf.constants.MODEL_ARCH_NAMES.values():
        if not name.startswith(("clip", "mmproj")):
            assert why_not_loadable({"general.architecture": name}, ()) is None, name
