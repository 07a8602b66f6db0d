from __future__ import annotations

import os
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.config import Config
from workbench.core.parameters import PARAMETERS, LoadSettings, Sampling
from workbench.store.config.fields import KEYS, SETTINGS, TABLE_KEYS
from workbench.store.config.read import LARGEST_BYTES, load_config


@pytest.fixture
def load(tmp_path):
    def load_text(text):
        path = tmp_path / "config.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path)

    return load_text


def test_every_field_can_be_configured():
    assert set(KEYS) == {field.name for field in fields(Config)} - {"origins"}
    assert {name for names in TABLE_KEYS.values() for name in names} == set(PARAMETERS)


def test_no_file_is_no_problem(tmp_path):
    assert load_config(tmp_path / "none" / "config.toml") == (Config(), ())


@pytest.mark.parametrize("text", ["", "\n", "# only a comment", "[sampling]\n[load]\n[keymap]\n", "\ufeff"])
def test_an_empty_file_is_the_defaults(load, text):
    assert load(text) == (Config(), ())


def test_everything_at_once(load):
    config, problems = load(
        """
        theme = "paper"
        model = ""
        model_folders = ["~/models", "/mnt/gguf"]
        system = \"\"\"
Be
brief.\"\"\"
        when_context_full = "drop_oldest"
        state_cache_mb = 0
        memory_guard = false
        paints_per_second = 10
        [sampling]
        temperature = 1
        stop = ["</s>", "\\n"]
        [load]
        num_ctx = 4096
        type_k = "q8_0"
        use_mmap = false
        [builds]
        old = "~/envs/old"

        [keymap]
        "chat.swap" = "ctrl+k"
        chat.stop = ["escape", "ctrl+c"]
        """
    )
    assert problems == ()
    assert config == Config(
        theme="paper",
        model="",
        model_folders=("~/models", "/mnt/gguf"),
        system="Be\nbrief.",
        when_context_full="drop_oldest",
        state_cache_mb=0,
        memory_guard=False,
        paints_per_second=10,
        sampling=Sampling(temperature=1.0, stop=("</s>", "\n")),
        load=LoadSettings(num_ctx=4096, type_k="q8_0", use_mmap=False),
        keymap={"chat.swap": "ctrl+k", "chat.stop": "escape,ctrl+c"},
        builds={"old": "~/envs/old"},
    )


@pytest.mark.parametrize("text", ['theme = "a"\r\n[load]\r\nnum_ctx = 1\r\n', '\ufefftheme = "a"\n[load]\nnum_ctx=1'])
def test_windows_editors(load, text):
    config, problems = load(text)
    assert problems == ()
    assert (config.theme, config.load.num_ctx) == ("a", 1)


@pytest.mark.parametrize(
    ("text", "key", "line", "said"),
    [
        ('\n\ntheem = "x"', "theem", 3, ["'theem'", "'theme'"]),
        ("theme = 3", "theme", 1, ["theme", "3", "text"]),
        ('model_folders = ["a", 1]', "model_folders", 1, ["list"]),
        ('when_context_full = "drop"', "when_context_full", 1, ["stop, drop_oldest", "'drop_oldest'"]),
        ("state_cache_mb = -1", "state_cache_mb", 1, ["0 or more"]),
        ("state_cache_mb = true", "state_cache_mb", 1, ["whole number"]),
        ("paints_per_second = 0", "paints_per_second", 1, ["1 to 60"]),
        ('memory_guard = "yes"', "memory_guard", 1, ["true or false"]),
        ("temperature = 1", "temperature", 1, ["[sampling]"]),
        ("[sampling]\nnum_ctx = 1", "sampling.num_ctx", 2, ["[load]"]),
        ('[sampling]\ntheme = "x"', "sampling.theme", 2, ["above all tables"]),
        ("[sampling]\n\ntemprature = 1", "sampling.temprature", 3, ["'temperature'"]),
        ("[sampling]\n# c\n'top_k' = -1", "sampling.top_k", 3, ["top_k", "-1", "0 or more"]),
        ("sampling.top_p = 2", "sampling.top_p", 1, ["from 0 to 1"]),
        ("\nsampling = { top_p = 2 }", "sampling.top_p", 2, ["from 0 to 1"]),
        ("sampling = 1", "sampling", 1, ["[sampling]"]),
        ('[load]\ntype_k = "q8"', "load.type_k", 2, ["q8_0"]),
        ("[load]\nnum_gpu = 1.5", "load.num_gpu", 2, ["whole number"]),
        ("[keymap]\nquit = 1", "keymap.quit", 2, ["quit", "ctrl+t"]),
        ("[keymap.chat]\nstop = true", "keymap.chat.stop", 2, ["chat.stop"]),
        ("[builds]\nold = 1", "builds.old", 2, ["old", "~/envs/vulkan"]),
        ("[builds]\nchild = '/opt/old'", "builds.child", 2, ["cannot be named", "child"]),
        ("engine_host = 'child'", "engine_host", 1, ["[load]"]),
        ("[smapling]\ntemperature = 1", "smapling", 1, ["'sampling'"]),
        ("[[themes]]\nname = 1", "themes", 1, ["'theme'"]),
        ('a = """\nx\ny"""\nb = [ # ]\n1,\n]\nc = 1', "c", 7, ["'c'"]),
        ("a = '''it''s'''\nb = {x = '}'}\nc = 1979-05-27 07:32:00 # d\nd=1", "d", 4, ["'d'"]),
    ],
)
def test_a_problem_names_key_line_and_what_would_be_right(load, text, key, line, said):
    config, problems = load('model_folders = ["/kept"]\n' + text if "model_folders" not in text else text)
    offset = 0 if "model_folders" in text else 1
    problem = problems[-1]
    assert (problem.key, problem.line) == (key, line + offset)
    assert all(words in problem.message for words in said)
    assert config.model_folders == (("/kept",) if offset else ())


def test_what_is_right_is_taken_beside_what_is_wrong(load):
    config, problems = load('them = "x"\ntheme = "paper"\n[sampling]\ntop_k = "many"\nseed = 4\n')
    assert (config.theme, config.sampling.seed, config.sampling.top_k) == ("paper", 4, 40)
    assert [problem.line for problem in problems] == [1, 4]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('theme = "a"\nb = = 2', 2, "column 5"),
        ('theme = "a"\nb = "x', 2, "nterminated string"),
        ("a = 1\na = 2\n", 2, ""),
        ('theme = "a"\n[sampling\n', 2, "]"),
        ("a = " + "[" * 3000, 1, ""),
        ("a = " + "1" * 5000, None, ""),
        ("\x00", 1, ""),
    ],
)
def test_text_that_is_no_toml(load, text, line, said):
    config, (problem,) = load(text)
    assert config == Config()
    assert problem.line in (line, None) if len(text) > 2000 else problem.line == line
    assert said in problem.message


def test_a_file_that_is_not_utf8(load):
    config, (problem,) = load(b'theme = "a"\nmodel = "\xff"')
    assert config == Config()
    assert problem.line == 2
    assert "UTF-8" in problem.message


def test_a_folder_in_its_place(tmp_path):
    config, (problem,) = load_config(tmp_path)
    assert config == Config()
    assert "folder" in problem.message


def test_a_file_in_the_place_of_its_folder(tmp_path):
    (tmp_path / "config").write_text("")
    config, (problem,) = load_config(tmp_path / "config" / "config.toml")
    assert config == Config()
    assert "cannot be read" in problem.message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.toml")
    config, (problem,) = load_config(tmp_path / "config.toml")
    assert config == Config()
    assert "not a regular file" in problem.message


def test_a_huge_file_is_not_read(load):
    config, (problem,) = load(b"#" * (LARGEST_BYTES + 1))
    assert config == Config()
    assert "too large" in problem.message


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(load, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("")
    path.chmod(0)
    config, (problem,) = load_config(path)
    assert config == Config()
    assert "ermission" in problem.message


@given(st.binary() | st.text(st.sampled_from("ab.=[]{}\"'\\\n# 1,_theme")).map(str.encode))
def test_nothing_stops_the_start(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(data)
    config, problems = load_config(path)
    assert isinstance(config, Config)
    assert all(problem.message for problem in problems)


def test_names_of_settings_are_in_the_order_of_the_configuration():
    assert list(SETTINGS) == [field.name for field in fields(Config)][: len(SETTINGS)]
