from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.gguf.conftest import add_key
from tests.gguf_files import finish
from workbench.gguf.inspect import ARRAYS, FoldedArray, Inspection, compare, fold, inspect
from workbench.gguf.reader import read_header

TOKENS = ["<s>", "</s>", "a", "b"]


def write(path: Path, *, tensors: dict[str, np.ndarray] | None = None, **keys) -> Path:
    """Write a sound little file; a double underscore in a key stands for a dot, None leaves one out."""
    values = {
        "general__name": "Tiny",
        "llama__context_length": 2048,
        "tokenizer__ggml__model": "llama",
        "tokenizer__ggml__tokens": TOKENS,
        "tokenizer__ggml__token_type": [3, 3, 1, 1],
        "tokenizer__ggml__bos_token_id": 0,
        "tokenizer__ggml__eos_token_id": 1,
        "tokenizer__chat_template": "{{ messages[0].content }}",
        **keys,
    }
    writer = gguf.GGUFWriter(path, "llama")
    for name, value in values.items():
        add_key(writer, name.replace("__", "."), value)
    for name, data in (tensors or {"token_embd.weight": np.zeros((4, 32), np.float32)}).items():
        writer.add_tensor(name, data)
    finish(writer)
    return path


@pytest.fixture
def look(tmp_path):
    def run(name: str = "m.gguf", **keys) -> Inspection:
        return inspect([read_header(write(tmp_path / name, **keys), arrays=ARRAYS)])

    return run


def kinds(inspection: Inspection) -> set[str]:
    return {warning.kind for warning in inspection.warnings}


def test_a_sound_file_has_no_warnings(look, demo_path):
    assert kinds(look()) == set()
    assert kinds(inspect([read_header(demo_path, arrays=ARRAYS)])) == set()


def test_inspecting_the_demo_model(demo_path):
    header = read_header(demo_path, arrays=ARRAYS)
    found = inspect([header])
    assert found.tensors == header.tensors
    assert [share.type for share in found.types] == ["Q4_1", "Q8_0", "F32"]
    assert sum(share.bytes for share in found.types) == header.tensor_bytes
    assert sum(share.tensors for share in found.types) == len(header.tensors)
    assert sum(share.fraction for share in found.types) == pytest.approx(1)
    assert found.tokenizer.text("eos") == "<|im_end|>"
    assert (found.tokenizer.model, found.tokenizer.rule, found.tokenizer.vocab_size) == ("gpt2", "smollm", 49152)
    assert found.metadata.keys() == header.metadata.keys()


def test_long_arrays_are_folded(look):
    found = look(llama__extra=list(range(100)), llama__short=[1, 2])
    assert found.metadata["llama.extra"] == FoldedArray("int32", 100, tuple(range(8)))
    assert found.metadata["llama.short"] == FoldedArray("int32", 2, (1, 2))
    assert fold("text") == "text"


def test_what_was_not_read_is_still_counted(tmp_path, demo_path):
    found = inspect([read_header(demo_path)])
    assert found.metadata["tokenizer.ggml.tokens"] == FoldedArray("string", 49152, ())
    assert found.tokenizer.token("eos").text is None
    assert kinds(found) == set()


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"tokenizer__chat_template": None}, "no_template"),
        ({"tokenizer__chat_template": "{{ bos_token }}x"}, "double_bos"),
        ({"tokenizer__chat_template": "<s>x", "tokenizer__ggml__add_bos_token": True}, "double_bos"),
        ({"tokenizer__ggml__eos_token_id": None}, "no_end"),
        ({"tokenizer__ggml__eos_token_id": 9}, "token_range"),
        ({"tokenizer__ggml__eos_token_id": 2}, "end_is_text"),
        ({"tokenizer__ggml__add_eos_token": True}, "adds_eos"),
        ({"tokenizer__ggml__tokens": [*TOKENS, "c"], "tokenizer__ggml__token_type": [3, 3, 1, 1, 1]}, "vocab_size"),
        ({"tokenizer__ggml__token_type": [3, 3]}, "token_types"),
        ({"tokenizer__ggml__model": "gpt2"}, "no_rule"),
        ({"tokenizer__ggml__model": None}, "no_tokenizer"),
        ({"tokenizer__ggml__model": "no_vocab"}, "no_tokenizer"),
        ({"llama__context_length": None}, "no_context"),
        ({"llama__context_length": 7}, "context"),
        ({"llama__context_length": 4095}, "context"),
        ({"llama__context_length": 2**30}, "context"),
        ({"llama__rope__scaling__original_context_length": 4096}, "context"),
        ({"llama__rope__scaling__type": "yarn"}, "rope"),
        ({"split__count": 3}, "parts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_oddities_are_reported(look, keys, kind):
    assert kind in kinds(look(**keys))


@pytest.mark.parametrize(
    "keys",
    [
        {"tokenizer__chat_template": "{{ bos_token }}x", "tokenizer__ggml__add_bos_token": False},
        {"tokenizer__ggml__eos_token_id": None, "tokenizer__ggml__eot_token_id": 1},
        {"llama__rope__scaling__type": "yarn", "llama__rope__scaling__original_context_length": 1024},
        {"llama__rope__scaling__type": "none"},
    ],
    ids=str,
)
def test_normal_files_have_no_oddities(look, keys):
    assert kinds(look(**keys)) == set()


def test_only_other_templates_than_the_default(look):
    found = look(tokenizer__chat_template=None, tokenizer__chat_template__tool_use="x")
    assert found.tokenizer.templates == ("tool_use",)
    assert "tool_use" in next(warning.message for warning in found.warnings if warning.kind == "no_template")


def test_bytes_behind_the_last_tensor(tmp_path):
    path = write(tmp_path / "m.gguf")
    path.write_bytes(path.read_bytes() + b"x" * 1000)
    assert "trailing" in kinds(inspect([read_header(path, arrays=ARRAYS)]))


def test_tensors_that_are_not_aligned(tmp_path, raw):
    keys = [raw.string("general.architecture", "llama"), raw.u32("general.alignment", 8)]
    path = tmp_path / "m.gguf"
    path.write_bytes(raw.file(keys, [raw.tensor("a", (32,))], data=b"\0" * 128, alignment=8))
    assert "unaligned" in kinds(inspect([read_header(path)]))


def test_a_tokenizer_that_leaves_things_to_llama_cpp(look):
    found = look(tokenizer__ggml__bos_token_id=None, tokenizer__ggml__eos_token_id=None).tokenizer
    assert (found.token("bos").id, found.token("bos").by_default) == (1, True)
    assert (found.adds_bos, found.adds_by_default) == (True, True)
    other = look("b.gguf", tokenizer__ggml__model="gpt2", tokenizer__ggml__pre="llama-bpe").tokenizer
    assert other.adds_bos
    assert not look("c.gguf", tokenizer__ggml__model="gpt2", tokenizer__ggml__pre="qwen2").tokenizer.adds_bos


def test_how_two_files_differ(look):
    one = look(
        tensors={
            "token_embd.weight": np.zeros((4, 32), np.float32),
            "a": np.zeros((2, 32), np.float32),
            "b": np.zeros((2, 32), np.float32),
            "mine": np.zeros(32, np.float32),
        }
    )
    other = look(
        "other.gguf",
        general__name="Other",
        llama__block_count=2,
        tensors={
            "token_embd.weight": np.zeros((4, 32), np.float32),
            "a": np.zeros((2, 32), np.float16),
            "b": np.zeros((3, 32), np.float32),
            "theirs": np.zeros(32, np.float16),
        },
    )
    found = compare(one, other)
    assert [change.name for change in found.tensors] == ["a", "b", "mine", "theirs"]
    assert (found.tensors[2].second, found.tensors[3].first) == (None, None)
    assert {(c.first, c.second): (c.tensors, c.first_bytes, c.second_bytes) for c in found.types} == {
        ("F32", "F16"): (1, 256, 128),
        ("F32", "F32"): (1, 256, 384),
        ("F32", ""): (1, 128, 0),
        ("", "F16"): (1, 0, 64),
    }
    assert found.same_tensors == 1
    assert found.metadata == {"general.name": ("Tiny", "Other"), "llama.block_count": (None, 2)}
    assert compare(one, one).tensors == ()
