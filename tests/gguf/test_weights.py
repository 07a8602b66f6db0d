from __future__ import annotations

from dataclasses import replace

import pytest

from tests.gguf.conftest import write_model
from workbench.gguf.check import check_loadable
from workbench.gguf.weights import decode_bytes


def header(tmp_path, **options):
    return check_loadable(write_model(tmp_path / "model.gguf", **options))[0]


def size_of(read, name):
    return next(tensor.size_bytes for tensor in read.tensors if tensor.name == name)


def test_tied_embeddings_are_read_for_the_output(tmp_path):
    read = header(tmp_path, tied=True)
    assert decode_bytes([read]) == read.tensor_bytes


def test_of_embeddings_that_are_only_looked_up_one_row_is_read(tmp_path):
    read = header(tmp_path, tied=False)
    assert decode_bytes([read]) == read.tensor_bytes - size_of(read, "token_embd.weight")


@pytest.mark.parametrize(("count", "used", "divisor"), [(8, 2, 4), (8, 8, 1), (0, 0, 1), (8, 0, 1), (2, 8, 1)])
def test_of_experts_those_that_are_used_are_read(tmp_path, count, used, divisor):
    read = header(tmp_path)
    name = "blk.0.ffn_up.weight"
    size = size_of(read, name)
    tensors = tuple(
        replace(tensor, name="blk.0.ffn_up_exps.weight") if tensor.name == name else tensor for tensor in read.tensors
    )
    keys = {"llama.expert_count": count, "llama.expert_used_count": used}
    mixed = replace(read, tensors=tensors, metadata={**read.metadata, **keys})
    assert decode_bytes([mixed]) == read.tensor_bytes - size + size // divisor
