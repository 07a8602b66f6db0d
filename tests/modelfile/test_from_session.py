from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.errors import ModelfileError
from workbench.core.parameters import PARAMETERS, LoadSettings, Sampling, changed_values, check_value, with_values
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.engine.llama.template import CHATML as JINJA_CHATML
from workbench.engine.llama.template import ChatTemplate
from workbench.modelfile.from_session import CHATML, from_session
from workbench.modelfile.meaning import Modelfile, read
from workbench.modelfile.template import parse


def session(turns=(), **values):
    return Session(id="260821-143205", created_at=0, updated_at=1_787_322_725, tree=Tree.of(turns), **values)


def turn(role, content, reasoning=""):
    return Turn(Message(role, content, reasoning), 0)


def test_the_whole_file():
    text = from_session(
        session(
            model="demo",
            model_path="/models/Smol LM2.gguf",
            system='Say "hi".',
            sampling=Sampling(temperature=0.0, seed=4_294_967_294, stop=("\n\n", "User:")),
            load=LoadSettings(num_ctx=1_048_576, use_mmap=False, type_k="q8_0", flash_attn="on"),
            turns=(
                turn("user", "Why?\nReally."),
                turn("assistant", "So.", "Let me see."),
                turn("user", "And?"),
                turn("assistant", "", "Hmm"),
            ),
        )
    ).text()
    assert text == (
        "# Made by workbench from session 260821-143205 of 2026-08-21.\n"
        "# To use it: ollama create NAME -f THIS_FILE\n"
        "# The model was opened as demo.\n"
        "# A Modelfile cannot hold type_k q8_0, which the session used.\n"
        "# A Modelfile cannot hold flash_attn on, which the session used.\n"
        "# Left out: 1 message without text.\n"
        "# Left out: the reasoning of the model.\n"
        "\n"
        "FROM /models/Smol LM2.gguf\n"
        'SYSTEM Say "hi".\n'
        "PARAMETER temperature 0\n"
        "PARAMETER seed 4294967294\n"
        'PARAMETER stop "\n\n"\n'
        "PARAMETER stop User:\n"
        "PARAMETER num_ctx 1048576\n"
        "PARAMETER use_mmap false\n"
        'MESSAGE user "Why?\nReally."\n'
        "MESSAGE assistant So.\n"
        "MESSAGE user And?\n"
    )


@pytest.mark.parametrize(
    ("model", "path", "base"),
    [
        ("demo", "/m/x.gguf", "/m/x.gguf"),
        ("ollama:llama3.2:1b", "", "llama3.2:1b"),
        ("ollama:llama3.2:1b", "/blobs/sha256-1", "/blobs/sha256-1"),
        ("scripted", "", "scripted"),
    ],
)
def test_the_model(model, path, base):
    assert from_session(session(model=model, model_path=path)).base == base


def test_a_session_without_a_model():
    with pytest.raises(ModelfileError, match="needs a model"):
        from_session(session(system="x"))


def test_what_the_modelfile_of_the_model_said_comes_along(tmp_path):
    (tmp_path / "lora.gguf").write_bytes(b"")
    origin = tmp_path / "a.Modelfile"
    lines = (
        "FROM x",
        "ADAPTER ./lora.gguf",
        "TEMPLATE {{ .Prompt }}",
        "LICENSE MIT",
        "SYSTEM old",
        "PARAMETER top_k 3",
    )
    origin.write_text("\n".join(lines))
    before = session(model=str(origin), model_path="/m/x.gguf", system="new")
    made = from_session(before)
    assert made == Modelfile(
        bases=("/m/x.gguf",),
        adapter=str(tmp_path / "lora.gguf"),
        template="{{ .Prompt }}",
        system="new",
        licenses=("MIT",),
    )
    assert read(made.text()) == made
    origin.unlink()
    assert any("can no longer be read" in comment for comment in from_session(before).comments)


def test_a_draft_model_is_written_where_its_file_is_named():
    before = session(model="demo", model_path="/m/x.gguf", load=LoadSettings(speculation="/m/small.gguf"))
    made = from_session(before)
    assert made.drafts == ("/m/small.gguf",)
    assert not any("speculation" in comment for comment in made.comments)
    named = from_session(replace(before, load=LoadSettings(speculation="small")))
    assert named.drafts == ()
    assert "A Modelfile cannot hold speculation small, which the session used." in named.comments


def test_a_blob_of_ollama_is_named_as_its_modelfile_named_it(tmp_path):
    origin = tmp_path / "a.Modelfile"
    origin.write_text("FROM llama3.2\n")
    made = from_session(session(model=str(origin), model_path="/o/blobs/sha256-12"))
    assert made.base == "llama3.2"
    assert from_session(session(model=str(origin), model_path="/m/x.gguf")).base == "/m/x.gguf"


def test_over_a_named_model_every_sampling_parameter_is_said():
    made = from_session(session(model="demo", model_path="/m/x.gguf"), "hf.co/a/b:Q4_0")
    assert made.base == "hf.co/a/b:Q4_0"
    assert made.recipe.settings(Sampling(temperature=9.0, seed=7), LoadSettings())[0] == Sampling()
    assert "stop" not in made.parameters
    assert any("had no system prompt" in comment for comment in made.comments)
    assert from_session(session(model="demo", model_path="/m/x.gguf"), "./y.gguf").parameters == {}


def test_a_template_is_written_only_where_it_is_needed():
    before = session(model="demo", model_path="/m/x.gguf")
    assert from_session(before).template == ""
    assert from_session(before, has_template=False).template == CHATML
    assert from_session(before, "llama3.2", has_template=False).template == ""
    assert read(from_session(before, has_template=False).text()).template == CHATML


def test_the_template_for_models_without_one_is_the_one_that_is_used():
    messages = [Message("system", "Be brief."), Message("user", "Hi\n"), Message("assistant", ""), Message("user", "?")]
    assert parse(CHATML).render_chat(messages) == ChatTemplate(JINJA_CHATML).render(messages, CancelToken())


def test_an_odd_name_cannot_leave_its_comment():
    text = from_session(session(model="a\nFROM evil\r\x1b[31m", model_path="/m")).text()
    assert read(text).bases == ("/m",)
    assert "\x1b" not in text


def value_of(parameter):
    bounds = {"min_value": max(parameter.low, -1e6), "max_value": min(parameter.high, 1e6)}
    match parameter.kind:
        case "int":
            # A Modelfile's context has at least four tokens, as in Ollama.
            low = 4 if parameter.name == "num_ctx" else int(max(parameter.low, -(2**62)))
            return st.integers(low, int(min(parameter.high, 2**62)))
        case "float":
            return st.floats(**bounds)
        case "bool":
            return st.booleans()
        case "choice" | "name":
            return st.sampled_from(parameter.choices)
        case "format":
            return st.sampled_from(["", "json"])
        case _:
            text = st.sampled_from(parameter.choices) if parameter.choices else printable
            if parameter.regex:
                # Of the texts of the form, few begin with a regular expression.
                text = st.sampled_from([r"blk\.[0-3]\.ffn_.*=CPU", "_exps=CUDA0", r"^output\.weight$=Vulkan1"])
            elif parameter.form:
                text = st.from_regex(parameter.form, fullmatch=True)
            return st.lists(text, max_size=3).map(tuple)


# What survives in a Modelfile: see the tests of the writer for what does not.
printable = st.text(
    st.characters(categories=("L", "M", "N", "P", "S")) | st.sampled_from(' \t\n\r"'), max_size=30
).filter(lambda text: text.replace("\t", "").replace("\n", "").replace("\r", "").isprintable() and '"""' not in text)
names = printable.filter(bool)
# A few at a time, since a value takes milliseconds to make; these two depend on each other.
parameters = st.sets(st.sampled_from(sorted(PARAMETERS)), max_size=8).flatmap(
    lambda some: st.fixed_dictionaries(
        {}, optional={name: value_of(PARAMETERS[name]) for name in sorted(some | {"split_mode", "main_gpu"})}
    )
)
turns = st.lists(
    st.builds(turn, st.sampled_from(["user", "assistant", "system"]), printable, st.text(max_size=5)), max_size=5
)


@given(names, printable, parameters, turns)
def test_what_leaves_comes_back(path, system, values, some_turns):
    sampling, load = with_values(Sampling(), LoadSettings(), {n: check_value(n, v) for n, v in values.items()})
    before = session(model="m", model_path=path, system=system, sampling=sampling, load=load, turns=tuple(some_turns))
    modelfile = read(from_session(before).text())
    assert modelfile.bases == (path,)
    assert modelfile.system == system
    changed = changed_values(sampling, load)
    expected = {n: v for n, v in changed.items() if PARAMETERS[n].in_modelfile and n != "main_gpu"}
    on_one_gpu = load.split_mode == "none"
    assert modelfile.parameters == expected | ({"main_gpu": load.main_gpu} if on_one_gpu else {})
    elsewhere = {n: v for n, v in changed.items() if not PARAMETERS[n].in_modelfile and n != "split_mode"}
    elsewhere |= {} if on_one_gpu else {"split_mode": load.split_mode, "main_gpu": load.main_gpu}
    assert modelfile.recipe.settings(*with_values(Sampling(), LoadSettings(), elsewhere)) == (sampling, load)
    assert modelfile.messages == tuple(
        Message(each.message.role, each.message.content) for each in some_turns if each.message.content
    )


@given(st.text(max_size=10), st.text(max_size=10), st.text(max_size=10))
def test_it_comes_back_or_is_refused(path, system, content):
    before = session(model="m", model_path=path, system=system, turns=(turn("user", content),))
    try:
        text = from_session(before).text()
    except ModelfileError:
        return
    modelfile = read(text.encode())
    assert (modelfile.base, modelfile.system) == (path or "m", system)
    assert [each.content for each in modelfile.messages] == ([content] if content else [])


def test_a_model_of_a_server_is_called_as_the_server_calls_it():
    made = from_session(session(model="http://127.0.0.1:11434#llama3.2:3b", turns=(turn("user", "Hi"),)))
    assert made.bases == ("llama3.2:3b",)
    assert "http://127.0.0.1:11434" in made.text()
