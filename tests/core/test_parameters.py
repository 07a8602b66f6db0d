from __future__ import annotations

import math
import re
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import ParameterError
from workbench.core.parameters import (
    PARAMETERS,
    LoadSettings,
    Parameter,
    Sampling,
    changed_values,
    check_value,
    find_parameter,
    get_value,
    parse_value,
    with_values,
)


def test_every_field_has_a_parameter_with_its_default() -> None:
    names = [field.name for kind in (Sampling, LoadSettings) for field in fields(kind)]
    assert sorted(PARAMETERS) == sorted(names)
    for name, parameter in PARAMETERS.items():
        assert parameter.default == get_value(Sampling(), LoadSettings(), name)
        assert parameter.help.endswith(".")
        assert parameter.label


@pytest.mark.parametrize("name", PARAMETERS)
def test_defaults_are_allowed(name: str) -> None:
    assert check_value(name, PARAMETERS[name].default) == PARAMETERS[name].default


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_needs_a_reload_is_a_load_setting(name: str) -> None:
    assert PARAMETERS[name].reload == hasattr(LoadSettings(), name)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("temperature", "0.7", 0.7),
        ("temperature", "1", 1.0),
        ("top_k", "40", 40),
        ("seed", "-1", -1),
        ("use_mmap", "Off", False),
        ("use_mmap", " yes ", True),
        ("type_k", "Q8_0", "q8_0"),
        ("flash_attn", "AUTO", "auto"),
        ("stop", "### User:", ("### User:",)),
        ("stop", " ", (" ",)),
        ("stop", "[/THINK]", ("[/THINK]",)),
        ("stop", '["[/THINK]"]', ("[/THINK]",)),
        ("stop", ' ["a b", "\\n"]', ("a b", "\n")),
        ("stop", "[1, 2]", ("[1, 2]",)),
        ("stop", "[]", ("[]",)),
        ("stop", "[" * 100_000, ("[" * 100_000,)),
    ],
)
def test_values_that_a_user_types(name: str, text: str, value: object) -> None:
    parsed = parse_value(name, text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("temperature", "warm"),
        ("temperature", "-0.1"),
        ("temperature", "nan"),
        ("temperature", "inf"),
        ("top_p", "1.1"),
        ("top_k", "1.5"),
        ("top_k", ""),
        ("num_batch", "0"),
        ("seed", str(2**32)),
        ("use_mmap", "maybe"),
        ("type_v", "q2_k"),
    ],
)
def test_texts_that_are_no_value(name: str, text: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_value(name, text)
    assert name in caught.value.message
    assert caught.value.hint == f"It takes {PARAMETERS[name].range_text}."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_k", True),
        ("top_k", 1.0),
        ("temperature", False),
        ("temperature", "0.7"),
        ("temperature", math.nan),
        ("use_mmap", 1),
        ("stop", 3),
        ("stop", [1]),
        ("type_k", ("f16",)),
        ("seed", None),
    ],
)
def test_values_of_a_wrong_type(name: str, value: object) -> None:
    with pytest.raises(ParameterError):
        check_value(name, value)


def test_stop_strings_may_be_one_or_many() -> None:
    assert check_value("stop", "a") == ("a",)
    assert check_value("stop", ["a", "b"]) == ("a", "b")
    assert check_value("stop", ()) == ()


def test_an_unknown_parameter_names_the_nearest() -> None:
    with pytest.raises(ParameterError) as caught:
        find_parameter("temprature")
    assert "'temperature'" in caught.value.hint


def test_both_settings_take_their_values() -> None:
    sampling, load = with_values(Sampling(), LoadSettings(), {"temperature": 0, "num_ctx": 4096, "stop": "x"})
    assert (sampling.temperature, sampling.stop, load.num_ctx) == (0.0, ("x",), 4096)
    assert changed_values(sampling, load) == {"temperature": 0.0, "stop": ("x",), "num_ctx": 4096}
    assert list(changed_values(sampling, load)) == [
        name for name in PARAMETERS if name in {"temperature", "stop", "num_ctx"}
    ]


def test_one_bad_value_changes_nothing() -> None:
    with pytest.raises(ParameterError):
        with_values(Sampling(), LoadSettings(), {"temperature": 0, "num_ctx": -5})


def compiles(override: str) -> bool:
    try:
        re.compile(override.partition("=")[0])
    except re.error:
        return False
    return True


def values(parameter: Parameter) -> st.SearchStrategy[object]:
    match parameter.kind:
        case "int":
            return st.integers(int(parameter.low), int(parameter.high))
        case "float":
            return st.floats(parameter.low, parameter.high, allow_nan=False, allow_infinity=False)
        case "bool":
            return st.booleans()
        case "choice":
            return st.sampled_from(parameter.choices)
        case "name":
            return st.from_regex(parameter.form, fullmatch=True)
        case "format":
            return st.sampled_from(["", "json", "/a/schema.json", '{"type": "null"}'])
        case _:
            text = st.sampled_from(parameter.choices) if parameter.choices else st.text()
            text = st.from_regex(parameter.form, fullmatch=True) if parameter.form else text
            text = text.filter(compiles) if parameter.regex else text
            return st.lists(text).map(tuple)


@given(st.data())
def test_any_allowed_value_comes_back(data: st.DataObject) -> None:
    parameter = data.draw(st.sampled_from(list(PARAMETERS.values())))
    value = data.draw(values(parameter))
    sampling, load = with_values(Sampling(), LoadSettings(), {parameter.name: value})
    assert get_value(sampling, load, parameter.name) == value
    assert with_values(Sampling(), LoadSettings(), changed_values(sampling, load)) == (sampling, load)
    if parameter.kind != "strings":
        assert parse_value(parameter.name, str(value)) == value


@given(st.sampled_from(list(PARAMETERS)), st.text())
def test_any_text_is_a_value_or_an_error(name: str, text: str) -> None:
    try:
        value = parse_value(name, text)
    except ParameterError as error:
        hint = error.hint
    else:
        assert check_value(name, value) == value
        return
    assert hint


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("temperature", "a number from 0 to 100"),
        ("flash_attn", "one of auto, on, off"),
        ("use_mmap", "true or false"),
        ("stop", "text"),
        ("main_gpu", "a whole number from 0 to 255"),
        ("top_k", "a whole number, 0 or more"),
    ],
)
def test_ranges_in_words(name: str, text: str) -> None:
    assert PARAMETERS[name].range_text == text


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("samplers", "top_k;temperature", ("top_k", "temperature")),
        ("samplers", "Top-K, temp typical", ("top_k", "temperature", "typ_p")),
        ("samplers", "", ()),
        ("logit_bias", "15043=-5 2=-inf,7=+1.5", ("15043=-5", "2=-inf", "7=+1.5")),
        ("dry_sequence_breakers", "a b", ("a b",)),
        ("top_n_sigma", "-1", -1.0),
        ("mirostat", "2", 2),
    ],
)
def test_samplers_as_they_are_typed(name: str, text: str, value: object) -> None:
    assert parse_value(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("samplers", "top_k;tfs_z"),
        ("logit_bias", "15043"),
        ("logit_bias", "-1=2"),
        ("logit_bias", "1=inf"),
        ("logit_bias", "1=nan"),
        ("logit_bias", "1=99999999999"),
        ("mirostat", "3"),
        ("dry_base", "0"),
        ("adaptive_decay", "1"),
        ("xtc_threshold", "1.5"),
        ("top_n_sigma", "-2"),
    ],
)
def test_samplers_out_of_range(name: str, text: str) -> None:
    with pytest.raises(ParameterError):
        parse_value(name, text)


def test_a_format_is_a_word_a_schema_or_a_path_that_no_folder_changes(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    typed = {"OFF": "", "": "", " json ": "json", "{}": "{}", "a.json": f"{tmp_path}/a.json", "/b": "/b"}
    assert {text: parse_value("format", text) for text in typed} == typed
    assert check_value("format", "a.json") == f"{tmp_path}/a.json"
    with pytest.raises(ParameterError):
        check_value("format", 3)


def test_overrides_as_they_are_typed() -> None:
    typed = r"blk\.[0-3]\.(up|down)=CPU; output=CUDA0"
    assert parse_value("override_tensor", typed) == (r"blk\.[0-3]\.(up|down)=CPU", "output=CUDA0")
    assert parse_value("tensor_split", "3/1") == parse_value("tensor_split", "3,1") == ("3", "1")
    for text in ("[=CPU", "exps", "a=b=c"):
        with pytest.raises(ParameterError, match="override_tensor cannot be"):
            parse_value("override_tensor", text)
