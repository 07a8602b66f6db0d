from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import pytest

from workbench.core.json_reader import NumberRange, read_json, salvage_json
from workbench.core.parameters import LoadSettings, Sampling


@dataclasses.dataclass(frozen=True)
class Small:
    number: float
    word: Literal["yes", "no"] = "yes"
    pair: tuple[int, str] = (1, "a")
    maybe: int | None = None
    digit: Annotated[int, NumberRange(0, 9, "a digit")] = 0


@dataclasses.dataclass(frozen=True)
class Outer:
    small: Small | None = None
    all: tuple[Small, ...] = ()
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    either: int | str = 0


def test_values_are_read_by_their_types():
    assert read_json(Small, {"number": 1, "unknown": 5}) == Small(1)
    assert read_json(Small, {"number": 0.5, "word": "no", "pair": [2, "b"], "maybe": 3, "digit": 9}) == Small(
        0.5, "no", (2, "b"), 3, 9
    )
    assert isinstance(read_json(Small, {"number": 1}).number, float)
    assert read_json(Outer, {"small": None, "all": [{"number": 1}], "sampling": {"stop": ["a"]}, "either": "x"}) == (
        Outer(None, (Small(1.0),), Sampling(stop=("a",)), "x")
    )


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "the document is not an object"),
        ([], "the document is not an object"),
        ({}, "the document has no 'number'"),
        ({"number": "1"}, "'number' of the document is not a number"),
        ({"number": True}, "'number' of the document is not a number"),
        ({"number": 10**400}, "'number' of the document is too large"),
        ({"number": 1, "word": "maybe"}, "'word' of the document is not one of 'yes', 'no'"),
        ({"number": 1, "pair": [1]}, "'pair' of the document is not a list of 2"),
        ({"number": 1, "pair": "ab"}, "'pair' of the document is not a list"),
        ({"number": 1, "pair": [1, 2]}, "item 2 of 'pair' of the document is not a text"),
        ({"number": 1, "maybe": "x"}, "'maybe' of the document is not a whole number"),
        ({"number": 1, "maybe": False}, "'maybe' of the document is not a whole number"),
        ({"number": 1, "digit": 10}, "'digit' of the document is not a digit"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(value, told):
    with pytest.raises(ValueError, match=r".") as caught:
        read_json(Small, value)
    assert str(caught.value) == told


def test_parameters_keep_to_their_ranges():
    with pytest.raises(ValueError, match="'sampling' of it: top_k cannot be -4"):
        read_json(Outer, {"sampling": {"top_k": -4}}, "it")


@pytest.mark.parametrize(
    "value",
    [
        {"number": 1, "unknown": 1},
        {"number": float("nan")},
        {"number": float("inf")},
        {"number": 1, "maybe": 2**63},
        {"number": 2**63},
    ],
)
def test_files_of_others_are_read_strictly(value):
    read_json(Small, value)
    with pytest.raises(ValueError, match=r"'unknown'|'number'|'maybe'"):
        read_json(Small, value, strict=True)


def test_what_fits_is_salvaged():
    found = salvage_json(Outer, {"small": {"number": 1, "pair": 3}, "all": 4, "sampling": {"top_k": "x", "seed": 5}})
    assert found == Outer(Small(1.0), (), Sampling(seed=5))
    assert salvage_json(LoadSettings, {"num_ctx": -1, "num_batch": 7, "no": 1}) == LoadSettings(num_batch=7)
    assert salvage_json(Small, {"word": "no"}) is None
    assert salvage_json(Outer, [1]) is None
