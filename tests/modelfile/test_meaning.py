from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.chat import Message
from workbench.core.errors import ModelfileError
from workbench.core.parameters import PARAMETERS, LoadSettings, Sampling
from workbench.modelfile.meaning import Modelfile, examine, read
from workbench.modelfile.syntax import ModelfileSyntaxError
from workbench.modelfile.values import IGNORED, read_value, written_value

WHOLE = '''# everything
FROM ./model.gguf
FROM ./mmproj.gguf
ADAPTER old
ADAPTER ./lora.gguf
DRAFT ./draft.gguf
TEMPLATE """{{ .Prompt }}
"""
SYSTEM first
SYSTEM second
RENDERER qwen3.5
PARSER qwen3
REQUIRES v0.14.0
PARAMETER temperature 0.1
PARAMETER temperature 1
PARAMETER stop a
PARAMETER num_keep 4
PARAMETER stop "b
"
LICENSE one
LICENSE "two
lines"
MESSAGE user hi: there
MESSAGE assistant hello
'''


def test_everything_at_once():
    modelfile = read(WHOLE)
    assert modelfile == Modelfile(
        bases=("./model.gguf", "./mmproj.gguf"),
        adapter="./lora.gguf",
        drafts=("./draft.gguf",),
        template="{{ .Prompt }}\n",
        system="second",
        renderer="qwen3.5",
        parser="qwen3",
        requires="0.14.0",
        parameters={"temperature": 1.0, "stop": ("a", "b\n"), "num_keep": 4},
        licenses=("one", "two\nlines"),
        messages=(Message("user", "hi: there"), Message("assistant", "hello")),
    )
    assert modelfile.base == "./mmproj.gguf"
    assert read(modelfile.text()) == modelfile


@pytest.mark.parametrize("name", [name for name, parameter in PARAMETERS.items() if parameter.in_modelfile])
def test_every_parameter_is_known(name):
    text = written_value(0.5 if PARAMETERS[name].kind == "float" else 1)
    (value,) = read(f"FROM a\nPARAMETER {name} {text}").parameters.values()
    assert value == {"float": 0.5, "int": 1, "bool": True, "strings": ("1",)}[PARAMETERS[name].kind]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("temperature", "1e-3", 0.001),
        ("temperature", ".5", 0.5),
        ("temperature", "1.", 1.0),
        ("temperature", "+1_0.5", 10.5),
        ("temperature", "0x1p-2", 0.25),
        ("temperature", "Inf", math.inf),
        ("temperature", "-infinity", -math.inf),
        ("seed", "-1", -1),
        ("seed", "+007", 7),
        ("seed", "9223372036854775807", 2**63 - 1),
        ("num_ctx", "1.048576e+06", 1_048_576),
        ("use_mmap", "T", True),
        ("use_mmap", "False", False),
        ("stop", "", ("",)),
        ("draft_num_predict", "0", 0),
    ],
)
def test_values_are_read_as_ollama_does(name, text, value):
    read_back, _ = read_value(name, text)
    assert read_back == value
    assert type(read_back) is type(value)


def test_not_a_number_is_one_to_ollama():
    value, _ = read_value("temperature", "NaN")
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("temperature", "warm", "invalid float value [warm]"),
        ("temperature", "", "invalid float value []"),
        ("temperature", " 1 ", "invalid float value [ 1 ]"),
        ("temperature", "1e39", "invalid float value [1e39]"),
        ("temperature", "0x1", "invalid float value [0x1]"),
        ("temperature", "1__0", "invalid float value [1__0]"),
        ("temperature", "١", "invalid float value [١]"),
        ("temperature", "-nan", "invalid float value [-nan]"),
        ("temperature", "0x1p99999", "invalid float value [0x1p99999]"),
        ("seed", "1.5", "invalid int value [1.5]"),
        ("seed", "1_000", "invalid int value [1_000]"),
        ("seed", "9223372036854775808", "invalid int value [9223372036854775808]"),
        ("seed", "4096.0", "invalid int value [4096.0]"),
        ("seed", "1.5e+00", "invalid int value [1.5e+00]"),
        ("seed", "inf", "invalid int value [inf]"),
        ("use_mmap", "yes", "invalid bool value [yes]"),
        ("use_mmap", "tRUE", "invalid bool value [tRUE]"),
        ("", "1", "unknown parameter ''"),
        ("STOP", "1", "unknown parameter 'STOP'"),
        ("temprature", "1", "unknown parameter 'temprature'"),
        ("type_k", "q8_0", "unknown parameter 'type_k'"),
        ("flash_attn", "on", "unknown parameter 'flash_attn'"),
        ("numa", "1", "unknown parameter 'numa'"),
        ("from", "x", "unknown parameter 'from'"),
    ],
)
def test_values_are_refused_as_ollama_does(name, text, problem):
    with pytest.raises(ModelfileError) as caught:
        read_value(name, text)
    assert caught.value.message == problem


def test_the_nearest_parameter_is_named():
    (error,) = examine("FROM a\n\nPARAMETER temprature 1").errors
    assert (error.line, error.column) == (3, 1)
    assert "'temperature'" in error.hint


def test_errors_say_what_would_be_right():
    (error,) = examine("FROM a\nPARAMETER top_p much").errors
    assert error.hint == "top_p takes a number from 0 to 1."


def test_every_error_is_found():
    reading = examine("PARAMETER temprature 1\nREQUIRES x\nPARAMETER seed x\nFOO bar")
    assert [each.line for each in reading.errors] == [1, 2, 3, 4]
    assert reading.modelfile is None
    with pytest.raises(ModelfileSyntaxError, match=r"line 1, column 1: unknown parameter 'temprature'"):
        read("PARAMETER temprature 1\nFOO bar")


def test_a_missing_from_is_told_once():
    assert [each.message for each in examine("SYSTEM a").errors] == ["no FROM line"]
    assert [each.message for each in examine("FOO").errors] == ["unexpected EOF"]


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_old_parameters_are_passed_over_with_a_warning(name):
    reading = examine(f"FROM a\nPARAMETER {name} whatever")
    assert reading.errors == ()
    assert name in reading.warnings[0].message
    assert reading.modelfile is not None
    assert reading.modelfile.parameters == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("PARAMETER num_keep 4", "num_keep has no meaning here"),
        ("PARAMETER min_p 2", "from 0 to 1"),
        ("PARAMETER temperature nan", "nan"),
        ("PARAMETER num_ctx 1.048576e+06", "Ollama refuses"),
    ],
)
def test_what_is_not_honoured_is_said(text, said):
    (warning,) = examine(f"FROM a\n{text}").warnings
    assert said in warning.message
    assert warning.line == 2


@pytest.mark.parametrize("version", ["1", "v1.2", "0.14.0", "1.2.3-rc1", "1.2.3-rc.1+build.5", "1.2.3+x"])
def test_versions(version):
    assert read(f"FROM a\nREQUIRES {version}").requires == version.removeprefix("v")


@pytest.mark.parametrize("version", ["", "x", "01", "1.2.3.4", "1-rc1", "1.2.3-", "1.2.3-01", "vv1", "1.2.", "1.2.3+"])
def test_versions_that_are_none(version):
    (error,) = examine(f'FROM a\nREQUIRES "{version}"').errors
    assert error.message == "requires must be a valid semver (e.g. 0.14.0)"


def test_a_parameter_with_the_name_of_a_command_is_that_command():
    text = "PARAMETER model /x\nPARAMETER system hi\nPARAMETER message user: a: b\nPARAMETER license l"
    assert read(text) == Modelfile(bases=("/x",), system="hi", messages=(Message("user", "a: b"),), licenses=("l",))
    (error,) = examine("FROM a\nPARAMETER message tool: x").errors
    assert "'tool'" in error.message


def test_settings_take_what_this_program_uses():
    modelfile = read(
        "FROM a\nPARAMETER temperature 0\nPARAMETER num_ctx 4096\nPARAMETER num_keep 3\nPARAMETER num_predict -2\n"
        "PARAMETER stop x"
    )
    sampling, load = modelfile.recipe.settings(Sampling(top_k=7), LoadSettings(type_k="q8_0"))
    assert sampling == Sampling(top_k=7, temperature=0.0, stop=("x",))
    assert load == LoadSettings(type_k="q8_0", num_ctx=4096)


def test_an_empty_text_counts_as_not_given():
    modelfile = read("FROM a\nSYSTEM x\nSYSTEM \nTEMPLATE ")
    assert (modelfile.system, modelfile.template) == ("", "")
    assert modelfile.text() == "FROM a\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (0.7, "0.7"),
        (1e-7, "1e-07"),
        (1e22, "1e+22"),
        (4294967294, "4294967294"),
        (True, "true"),
        (0.0, "0"),
    ],
)
def test_numbers_are_written_plainly(value, text):
    assert written_value(value) == text


@given(st.floats(-1e38, 1e38))
def test_floats_are_read_back(value):
    assert read_value("temperature", written_value(value)) == (value, "")


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_are_read_back(value):
    assert read_value("seed", written_value(value)) == (value, "")


@given(st.text(max_size=12) | st.text(st.sampled_from("0123456789.eExXpP+-_ainfINFtT"), max_size=8))
def test_any_text_is_a_value_or_refused(text):
    for name in ("temperature", "seed", "use_mmap"):
        try:
            value, _ = read_value(name, text)
        except ModelfileError:
            continue
        assert isinstance(value, bool | int | float)


@pytest.mark.parametrize(
    ("line", "used"),
    [
        ("num_predict -2", {"num_predict": -1}),
        ("temperature -0.5", {"temperature": 0.0}),
        ("temperature -inf", {"temperature": 0.0}),
        ("top_k -1", {"top_k": 0}),
        ("top_p 1.5", {"top_p": 1.0}),
        ("num_gpu -7", {"num_gpu": -1}),
        ("num_thread -1", {"num_thread": 0}),
        ("num_ctx 2", {"num_ctx": 4}),
        ("num_ctx 0", {"num_ctx": 0}),
        ("seed -1", {"seed": -1}),
        ("seed -2", {"seed": 2**32 - 2}),
        ("main_gpu 1", {"main_gpu": 1, "split_mode": "none"}),
        ("use_mmap false", {"use_mmap": False}),
    ],
)
def test_values_that_this_program_says_in_another_way(line, used):
    reading = examine(f"FROM a\nPARAMETER {line}")
    assert reading.warnings == ()
    assert reading.modelfile is not None
    assert dict(reading.modelfile.recipe.parameters) == used


def test_a_template_is_looked_at():
    (error,) = examine('FROM a\n  TEMPLATE """{{ .Prompt }}\n{{ end }}"""\n').errors
    assert error.message.startswith("template error: The template, line 2, column ")
    assert (error.line, error.column) == (2, 3)
    assert examine("FROM a\nTEMPLATE {{ end }}\nTEMPLATE {{ .Prompt }}").errors == ()
    (error,) = examine("FROM a\n\nPARAMETER template {{ end }}").errors
    assert error.line == 3


@pytest.mark.parametrize("number", ["0x1p1024", "-0x1p1024", "0x.8p99999", "1e400", "0x1p-99999"])
def test_a_number_beyond_a_float_in_a_template_is_an_error_with_its_place(number: str) -> None:
    reading = examine(f"FROM x\nTEMPLATE {{{{ if {number} }}}}a{{{{ end }}}}\n")
    assert [error.line for error in reading.errors] == ([] if "p-" in number else [2])


@pytest.mark.parametrize("place", ["read_value", "is_version"])
def test_an_instruction_that_raises_is_one_error_of_many(monkeypatch, place: str) -> None:
    monkeypatch.setattr(f"workbench.modelfile.meaning.{place}", lambda *_: 1 / 0)
    reading = examine("FROM x\nPARAMETER temperature 1\nREQUIRES 1.0\nMESSAGE nobody hi\n")
    assert len(reading.errors) == 2
    assert any("division by zero" in error.message for error in reading.errors)


def test_a_template_parser_that_raises_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr("workbench.modelfile.template.parse", lambda _: 1 / 0)
    (error,) = examine("FROM x\nTEMPLATE a\n").errors
    assert (error.line, "division by zero" in error.message) == (2, True)
