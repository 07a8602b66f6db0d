from __future__ import annotations

import struct
from pathlib import Path

import pytest

from workbench.gguf.model import describe
from workbench.gguf.reader import read_header


def test_the_demo_model(demo_path: Path) -> None:
    facts = describe(read_header(demo_path))
    assert facts.architecture == "llama"
    assert facts.parameters == 134_515_008
    assert facts.weights_bytes == sum(facts.type_bytes.values())
    assert facts.bits_per_weight == pytest.approx(8 * facts.weights_bytes / facts.parameters)
    assert (facts.label, facts.quant) == ("Q4_1", "Q4_1")
    assert facts.main_type in facts.type_bytes
    assert (facts.context_length, facts.block_count, facts.embedding_length) == (8192, 30, 576)
    assert (facts.head_counts, facts.kv_head_counts) == ((9,) * 30, (3,) * 30)
    assert facts.vocab_size == 49152
    assert facts.chat_template is not None
    assert "im_start" in facts.chat_template


def test_heads_of_each_layer(tmp_path: Path, model_writer) -> None:
    facts = describe(read_header(model_writer(tmp_path / "m.gguf", layers=3, kv_heads=[4, 1, 2])))
    assert facts.kv_head_counts == (4, 1, 2)
    assert facts.head_counts == (4, 4, 4)


def test_a_file_without_metadata(tmp_path: Path, raw) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(raw.file())
    facts = describe(read_header(path))
    assert facts.bits_per_weight is None
    assert (facts.architecture, facts.quant, facts.context_length, facts.chat_template) == (None, None, None, None)
    assert facts.parameters == 0


def test_values_of_a_wrong_type_count_as_absent(tmp_path: Path, raw) -> None:
    keys = [
        raw.string("general.architecture", "llama"),
        raw.u32("general.name", 7),
        raw.string("llama.context_length", "long"),
        raw.key("llama.block_count", raw.BOOL, b"\1"),
        raw.array("llama.attention.head_count", raw.INT32, 2, struct.pack("<2i", 4, 4)),
        raw.string("general.file_type", "Q4_0"),
    ]
    path = tmp_path / "m.gguf"
    path.write_bytes(raw.file(keys))
    facts = describe(read_header(path))
    assert (facts.name, facts.context_length, facts.block_count, facts.label) == (None, None, None, None)
    assert facts.head_counts == ()


@pytest.mark.parametrize(("number", "label"), [(15, "Q4_K_M"), (1024 + 7, "Q8_0"), (0, "F32"), (4, None), (999, None)])
def test_file_types(tmp_path: Path, raw, number: int, label: str | None) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(raw.file([raw.u32("general.file_type", number)]))
    assert describe(read_header(path)).label == label


def test_without_a_label_the_largest_type_counts(tmp_path: Path, raw) -> None:
    tensors = [raw.tensor("a", (32,), 0, 0), raw.tensor("b", (3200,), 8, 128)]
    path = tmp_path / "m.gguf"
    path.write_bytes(raw.file([], tensors, data=b"\0" * 4096))
    facts = describe(read_header(path))
    assert facts.quant == "Q8_0"
    assert facts.type_bytes == {"Q8_0": 3400, "F32": 128}
    assert facts.bits_per_weight == pytest.approx(8 * 3528 / 3232)
