"""`general.sampling.*` of a file."""

from __future__ import annotations

import struct

import pytest

from workbench.gguf.header import Array
from workbench.gguf.recommended import recommended_sampling
from workbench.gguf.types import ValueType

AS_32_BITS = struct.unpack("f", struct.pack("f", 0.7))[0]


def read(**values):
    return recommended_sampling({f"general.sampling.{name}": value for name, value in values.items()})


def test_every_key_that_the_program_has_a_parameter_for():
    values, problems = read(temp=AS_32_BITS, top_k=20, top_p=0.95, min_p=0.05, penalty_last_n=64, penalty_repeat=1.1)
    assert dict(values) == {
        "temperature": 0.7, "top_k": 20, "top_p": 0.95, "min_p": 0.05, "repeat_last_n": 64, "repeat_penalty": 1.1,
    }  # fmt: skip
    assert problems == ()


@pytest.mark.parametrize(
    ("key", "value", "name", "read_as"),
    [
        ("temp", 0, "temperature", 0.0),
        ("temp", 1, "temperature", 1.0),
        ("temp", "0.6", "temperature", 0.6),
        ("top_k", 20.0, "top_k", 20),
        ("top_k", "40", "top_k", 40),
        ("top_k", 0, "top_k", 0),
        ("penalty_last_n", -1, "repeat_last_n", -1),
        ("xtc_probability", 0.5, "xtc_probability", 0.5),
        ("xtc_threshold", 0.2, "xtc_threshold", 0.2),
        ("mirostat", 2, "mirostat", 2),
        ("mirostat_tau", 4, "mirostat_tau", 4.0),
        ("mirostat_eta", 0.25, "mirostat_eta", 0.25),
        ("sequence", "penalties;top_k;temperature", "samplers", ("penalties", "top_k", "temperature")),
        ("sequence", "top-k;temp;infill;adaptive_p", "samplers", ("top_k", "temperature")),
    ],
)
def test_any_type_of_number_is_read(key, value, name, read_as):
    values, problems = read(**{key: value})
    assert values == ((name, read_as),)
    assert type(values[0][1]) is type(read_as)
    assert problems == ()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temp", -1.0),
        ("temp", float("nan")),
        ("temp", float("inf")),
        ("temp", "warm"),
        ("temp", ""),
        ("top_k", 20.5),
        ("top_k", -1),
        ("top_p", 1.5),
        ("min_p", True),
        ("sequence", "top_k;tail_free"),
        ("mirostat", 3),
        ("temp", Array(ValueType.FLOAT32, 1, [0.5])),
    ],
)
def test_a_value_that_cannot_be_used_is_reported(key, value):
    values, problems = read(**{key: value}, penalty_repeat=1.1)
    assert values == (("repeat_penalty", 1.1),)
    assert len(problems) == 1
    assert f"general.sampling.{key} is not used" in problems[0]


def test_a_file_without_any():
    assert recommended_sampling({"general.name": "x"}) == ((), ())
