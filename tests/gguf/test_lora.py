from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.gguf_files import finish
from tests.lora import write_lora
from workbench.core.errors import ModelFileError
from workbench.gguf.check import check_loadable
from workbench.gguf.lora import check_adapter
from workbench.gguf.reader import read_header


def test_one_that_fits(demo_path: Path, tmp_path: Path) -> None:
    header = check_adapter(write_lora(tmp_path / "a.gguf", demo_path), check_loadable(demo_path))
    assert len(header.tensors) == 8


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"architecture": "qwen2"}, "it was made for 'qwen2', and the architecture of the model is 'llama'"),
        ({"kind": "ia3"}, "this is not a LoRA adapter"),
        ({"leave_out": "lora_b"}, "one of the two matrices for 'blk.0.attn_q.weight' is missing"),
        ({"tensors": 0}, "it has no matrices"),
    ],
)
def test_one_that_does_not(demo_path: Path, tmp_path: Path, options: dict[str, object], said: str) -> None:
    path = write_lora(tmp_path / "a.gguf", demo_path, **options)
    with pytest.raises(ModelFileError) as caught:
        check_adapter(path, check_loadable(demo_path))
    assert said in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint


def adapter_of(path: Path, *tensors: tuple[str, np.ndarray], **texts: str) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    for key, value in {"adapter.type": "lora", **texts}.items():
        writer.add_string(key, value)
    for name, numbers in tensors:
        writer.add_tensor(name, numbers)
    finish(writer)
    return path


def ones(*shape: int, kind: type = np.float32) -> np.ndarray:
    return np.ones(shape, kind)


Q = "blk.0.attn_q.weight"


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ([("other", ones(2, 2))], "'other', which is not part of a LoRA"),
        ([(f"{Q}.lora_a", ones(4, 577)), (f"{Q}.lora_b", ones(576, 4))], "other shapes"),
        ([(f"{Q}.lora_a", ones(4, 576)), (f"{Q}.lora_b", ones(577, 4))], "other shapes"),
        ([(f"{Q}.lora_a", ones(4, 576)), (f"{Q}.lora_b", ones(576, 5))], "other shapes"),
        ([(f"{Q}.lora_a", ones(2, 4, 576)), (f"{Q}.lora_b", ones(2, 576, 4))], "other shapes"),
        ([(f"{Q}.lora_a", ones(4, 576, kind=np.int32)), (f"{Q}.lora_b", ones(576, 4))], "has the type I32"),
        ([("blk.99.x.lora_a", ones(4, 576)), ("blk.99.x.lora_b", ones(576, 4))], "no tensor 'blk.99.x'"),
        (
            [("token_embd.weight.lora_a", ones(49152, 4)), ("token_embd.weight.lora_b", ones(576, 4))],
            "which this model also uses for its output",
        ),
    ],
)
def test_matrices_that_llama_cpp_would_end_the_process_for(
    demo_path: Path, tmp_path: Path, tensors: list[tuple[str, np.ndarray]], said: str
) -> None:
    path = adapter_of(tmp_path / "a.gguf", *tensors)
    with pytest.raises(ModelFileError, match=said):
        check_adapter(path, check_loadable(demo_path))


def test_types_of_metadata_that_llama_cpp_would_end_the_process_for(demo_path: Path, tmp_path: Path) -> None:
    path = adapter_of(tmp_path / "a.gguf", **{"adapter.lora.alpha": "four"})
    with pytest.raises(ModelFileError, match="not of the type F32"):
        check_adapter(path, check_loadable(demo_path))


def test_a_model_is_no_adapter(demo_path: Path) -> None:
    with pytest.raises(ModelFileError, match="not a LoRA adapter"):
        check_adapter(demo_path, check_loadable(demo_path))


@pytest.mark.parametrize(("rows", "fits"), [(8, True), (9, False)])
def test_token_embeddings_are_the_other_way_round(tmp_path: Path, rows: int, fits: bool) -> None:
    model = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    for name in ("token_embd.weight", "output.weight"):
        model.add_tensor(name, ones(8, 6))
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()
    matrices = (("token_embd.weight.lora_a", ones(rows, 2)), ("token_embd.weight.lora_b", ones(6, 2)))
    path = adapter_of(tmp_path / "a.gguf", *matrices)
    headers = [read_header(tmp_path / "model.gguf")]
    if fits:
        check_adapter(path, headers)
    else:
        with pytest.raises(ModelFileError, match="other shapes"):
            check_adapter(path, headers)
