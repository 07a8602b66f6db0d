from __future__ import annotations

import os
import tomllib

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.config import Config
from workbench.core.errors import ConfigError
from workbench.core.parameters import PARAMETERS, LoadSettings, Sampling
from workbench.store import files
from workbench.store.config.fields import SETTINGS
from workbench.store.config.read import load_config
from workbench.store.config.toml_scan import scan
from workbench.store.config.write import ConfigFile, default_text, same, save_config


@pytest.fixture
def path(tmp_path):
    return tmp_path / "config.toml"


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def changed(path, text, changes):
    path.write_bytes(text.encode())
    save_config(path, changes)
    return path.read_bytes().decode()


def test_a_new_file_explains_every_key(path):
    save_config(path, {"theme": "paper"})
    text = path.read_text()
    assert 'theme = "paper"\n' in text
    for name in (*SETTINGS, *PARAMETERS):
        assert name == "theme" or f"\n# {name} = " in text
    for help_text in (parameter.help for parameter in PARAMETERS.values()):
        assert help_text.split()[-1] in text
    assert load_config(path) == (Config(theme="paper"), ())
    assert all(len(line) <= 100 for line in text.splitlines())


def test_the_comments_of_a_new_file_are_the_defaults():
    lines = [line.removeprefix("# ") for line in default_text().splitlines()]
    settings = "\n".join(line for line in lines if " = " in line or line.startswith(("[", "    ", "]")))
    values = tomllib.loads(settings)
    defaults = Config()
    for name in ("model_folders", "model_stores", "servers"):
        assert tuple(values.pop(name)) == getattr(defaults, name)
    sampling, load = (
        {name: tuple(value) if isinstance(value, list) else value for name, value in values.pop(table).items()}
        for table in ("sampling", "load")
    )
    assert Sampling(**{**sampling, "stop": ()}) == defaults.sampling
    assert LoadSettings(**load) == defaults.load
    assert values.pop("keymap") == values.pop("builds") == {}
    assert all(getattr(defaults, name) == SETTINGS[name].check(value) for name, value in values.items())


def test_saving_again_and_again_keeps_the_file_readable(path):
    save_config(path, {"theme": "one"})
    for change in ({"model": "m"}, {"sampling.seed": 3}, {"theme": "two"}, {"load.num_ctx": 7}, {"keymap.a.b": "x"}):
        save_config(path, change)
    config, problems = load_config(path)
    assert problems == ()
    assert config == Config(
        theme="two", model="m", sampling=Sampling(seed=3), load=LoadSettings(num_ctx=7), keymap={"a.b": "x"}
    )
    assert path.read_text().count("theme = ") == 1
    assert names(path.parent) == ["config.toml"]


@pytest.mark.parametrize(
    ("text", "changes", "result"),
    [
        ('theme = "a" # mine\n', {"theme": "b"}, 'theme = "b" # mine\n'),
        ('  theme   =\t"a"', {"theme": "b"}, '  theme   =\t"b"'),
        ('"theme" = "a"\n', {"theme": "b"}, '"theme" = "b"\n'),
        ('# mine\nmodel = "m"\n', {"theme": "b"}, '# mine\nmodel = "m"\ntheme = "b"\n'),
        ('model = "m"', {"theme": "b"}, 'model = "m"\ntheme = "b"\n'),
        ('# theme = "x"\n# more\n', {"theme": "b"}, '# theme = "x"\ntheme = "b"\n# more\n'),
        ("# just words\n", {"theme": "b"}, '# just words\ntheme = "b"\n'),
        ("[load]\nnum_ctx = 1\n", {"theme": "b"}, 'theme = "b"\n\n[load]\nnum_ctx = 1\n'),
        ("# on loading\n[load]\n", {"theme": "b"}, 'theme = "b"\n\n# on loading\n[load]\n'),
        ("[load]\nnum_ctx = 1 # c\n", {"load.num_ctx": 2}, "[load]\nnum_ctx = 2 # c\n"),
        ("[load]\nnum_ctx = 1\n\n[keymap]\n", {"load.num_gpu": 2}, "[load]\nnum_ctx = 1\nnum_gpu = 2\n\n[keymap]\n"),
        ("[load]\n[keymap]\n", {"load.num_gpu": 2}, "[load]\nnum_gpu = 2\n[keymap]\n"),
        (
            "sampling = { seed = 1 } # one line\n",
            {"sampling.top_k": 5},
            "sampling = { seed = 1, top_k = 5} # one line\n",
        ),
        ("load.num_ctx = 1\n", {"load.num_ctx": 2}, "load.num_ctx = 2\n"),
        ("load.num_ctx = 1\n", {"load.num_gpu": 2}, "load.num_ctx = 1\nload.num_gpu = 2\n"),
        ('theme = "a"\n', {"load.num_gpu": 2}, 'theme = "a"\n\n[load]\nnum_gpu = 2\n'),
        ('theme = "a"\r\n', {"theme": "b", "model": "m"}, 'theme = "b"\r\nmodel = "m"\r\n'),
        ('\ufefftheme = "a"\n', {"theme": "b"}, '\ufefftheme = "b"\n'),
        (
            'their = 1\nown = [\n 1, # one\n]\ntheme = "a"\n',
            {"theme": "b"},
            'their = 1\nown = [\n 1, # one\n]\ntheme = "b"\n',
        ),
        (
            'system = """\ntheme = "x"\n"""\ntheme = "a"\n',
            {"theme": "b"},
            'system = """\ntheme = "x"\n"""\ntheme = "b"\n',
        ),
        ('system = """\n# theme = 1\n"""\n', {"theme": "b"}, 'system = """\n# theme = 1\n"""\ntheme = "b"\n'),
        ('model_folders = [\n  "a", # home\n]\n', {"model_folders": ("b",)}, 'model_folders = ["b"]\n'),
        ("[theirs]\ntheme = 1\n", {"theme": "b"}, 'theme = "b"\n\n[theirs]\ntheme = 1\n'),
        ("[keymap]\n'a.b' = \"x\"\n", {"keymap.a.b": "y"}, "[keymap]\n'a.b' = \"y\"\n"),
        ('theme = "a"\n', {"system": 'say "hi"\n'}, 'theme = "a"\nsystem = "say \\"hi\\"\\n"\n'),
    ],
)
def test_only_the_line_changes(path, text, changes, result):
    assert changed(path, text, changes) == result
    assert names(path.parent) == ["config.toml"]


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("# mine\nsampling = 7\n", {"sampling.top_k": 5}),
        ("[theme]\nname = 1\n", {"theme": "b"}),
        ("[sampling]\nmine = 1\n[sampling.deep]\nx = 1\n[[more]]\ny = 1.5\n[theme]\n", {"theme": "b"}),
    ],
)
def test_what_cannot_be_edited_in_place_is_kept_beside_the_new_file(path, text, changes):
    new = changed(path, text, changes)
    before, after = tomllib.loads(text), tomllib.loads(new)
    (key,) = changes
    assert path.with_name("config.toml.bak").read_text() == text
    assert after[key] == "b" if key == "theme" else after["sampling"]["top_k"] == 5
    for name in before.keys() - {"theme", "sampling"}:
        assert after[name] == before[name]
    if isinstance(before.get("sampling"), dict):
        assert before["sampling"].items() <= after["sampling"].items()
    save_config(path, {"theme": "c"})
    assert load_config(path)[0].theme == "c"


def test_a_list_goes_below_the_whole_of_its_default(path):
    text = default_text()
    after = changed(path, text, {"model_stores": ["ollama"]})
    assert '# ]\nmodel_stores = ["ollama"]\n' in after
    assert load_config(path)[0].model_stores == ("ollama",)


def test_an_old_copy_is_never_overwritten(path):
    path.with_name("config.toml.bak").write_text("older")
    changed(path, "sampling = 7\n", {"sampling.top_k": 5})
    assert path.with_name("config.toml.bak").read_text() == "older"
    assert path.with_name("config.toml-2.bak").read_text() == "sampling = 7\n"


def test_a_save_that_changes_nothing_touches_nothing(path):
    path.write_text('theme="a"   # as it is\n')
    before = path.stat()
    save_config(path, {"theme": "a"})
    after = path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_settings_as_a_whole_leave_defaults_out(path):
    text = "[sampling]\nseed = 1\ntop_k = 9\n"
    changed(path, text, {"sampling": Sampling(top_p=0.5), "load": LoadSettings()})
    assert tomllib.loads(path.read_text()) == {"sampling": {"seed": -1, "top_k": 40, "top_p": 0.5}}
    assert load_config(path) == (Config(sampling=Sampling(top_p=0.5)), ())


def test_a_value_that_stays_keeps_the_way_it_is_written(path):
    text = "[sampling]\nseed = 0x10  # in hexadecimal\ntop_k = 9\n"
    changed(path, text, {"sampling": Sampling(seed=16, top_k=5)})
    assert "seed = 0x10  # in hexadecimal\n" in path.read_text()


@settings(max_examples=30)  # each edits the file three times
@given(st.builds(Sampling, top_k=st.integers(0, 50), stop=st.lists(st.text(), max_size=2).map(tuple)))
def test_settings_are_read_back(tmp_path_factory, sampling):
    path = tmp_path_factory.mktemp("whole") / "config.toml"
    for each in (sampling, Sampling(seed=1), sampling):
        save_config(path, {"sampling": each})
        assert load_config(path) == (Config(sampling=each), ())


def test_a_table_is_merged(path):
    changed(path, "[sampling]\nseed = 1\nmine = 2\n", {"sampling": {"top_k": 3}, "load": LoadSettings(num_ctx=5)})
    values = tomllib.loads(path.read_text())
    assert values["sampling"] == {"seed": 1, "mine": 2, "top_k": 3}
    assert load_config(path)[0].load == LoadSettings(num_ctx=5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"theem": "x"}, "'theme'"),
        ({"theme": 1}, "text"),
        ({"temperature": 1}, "sampling.temperature"),
        ({"sampling.temprature": 1}, "'temperature'"),
        ({"sampling.num_ctx": 1}, "num_ctx"),
        ({"load.num_ctx": -1}, "0 or more"),
        ({"sampling": 1}, "table"),
        ({"keymap.quit": 1}, "ctrl+t"),
        ({"theme": "\ud800"}, "Unicode"),
    ],
)
def test_a_wrong_change_is_refused_and_nothing_written(path, changes, said):
    with pytest.raises(ConfigError) as caught:
        save_config(path, changes)
    assert said in str(caught.value)
    assert names(path.parent) == []


@pytest.mark.parametrize("data", [b"theme = \n", b'theme = "\xff"\n'])
def test_a_file_with_an_error_is_not_overwritten(path, data):
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="line 1"):
        save_config(path, {"theme": "b"})
    assert path.read_bytes() == data


def test_a_folder_in_its_place_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="folder"):
        save_config(tmp_path, {"theme": "b"})


def test_a_path_that_cannot_be_written(tmp_path):
    (tmp_path / "config").write_text("in the way")
    with pytest.raises(ConfigError):
        save_config(tmp_path / "config" / "config.toml", {"theme": "b"})


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link(tmp_path, exists):
    target = tmp_path / "dotfiles" / "workbench.toml"
    target.parent.mkdir()
    if exists:
        target.write_text('theme = "a"\n')
    link = tmp_path / "config" / "config.toml"
    link.parent.mkdir()
    link.symlink_to("../dotfiles/workbench.toml")
    save_config(link, {"theme": "b"})
    assert link.is_symlink()
    assert load_config(target)[0].theme == "b"


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_permissions_are_kept(path):
    path.write_text('theme = "a"\n')
    path.chmod(0o640)
    save_config(path, {"theme": "b"})
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_failed_write_leaves_the_old_file(path, monkeypatch):
    path.write_text('theme = "a"\n')

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(ConfigError, match="No space left"):
        save_config(path, {"theme": "b"})
    assert path.read_text() == 'theme = "a"\n'
    assert names(path.parent) == ["config.toml"]


toml_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
toml_plain = st.one_of(
    toml_text, st.integers(-(2**40), 2**40), st.booleans(), st.floats(), st.lists(toml_text, max_size=3)
)
toml_values = st.recursive(
    toml_plain, lambda inner: st.dictionaries(toml_text, inner, max_size=3) | st.lists(inner, max_size=3), max_leaves=6
)


@given(
    st.dictionaries(toml_text | st.sampled_from(["theme", "sampling", "keymap", "model"]), toml_values, max_size=5),
    st.sampled_from(
        [{"theme": "new"}, {"sampling.seed": 7}, {"keymap.a": "b"}, {"system": "x\n"}, {"load.num_ctx": 1}]
    ),
)
def test_the_users_values_outlive_every_save(tmp_path_factory, values, changes):
    path = tmp_path_factory.mktemp("saved") / "config.toml"
    path.write_bytes(tomlkit.dumps(values).encode())
    save_config(path, changes)
    after = tomllib.loads(path.read_bytes().decode())
    (name,) = changes
    table, _, key = name.partition(".")
    for before_key, value in values.items():
        if before_key == table and isinstance(value, dict) and key:
            assert all(same(inner, after[table][each]) for each, inner in value.items() if each != key)
        elif before_key != table:
            assert same(value, after[before_key])
    assert (after[table][key] if key else after[table]) == changes[name]


def test_statements_are_found_where_they_are():
    text = (
        "a = 1 # x\n\n[ b . 'c d' ]\n\"e\" = '''x\n'''\nf.g = [1, [2, '#]'], # ]\n{h = '}'}]\ni = 2020-01-01 10:00:00\n"
    )
    found = scan(text)
    assert [(each.keys, each.line, each.is_header) for each in found] == [
        (("a",), 1, False),
        (("b", "c d"), 3, True),
        (("b", "c d", "e"), 4, False),
        (("b", "c d", "f", "g"), 6, False),
        (("b", "c d", "i"), 8, False),
    ]
    assert [text[each.value_start : each.end] for each in found if not each.is_header] == [
        "1",
        "'''x\n'''",
        "[1, [2, '#]'], # ]\n{h = '}'}]",
        "2020-01-01 10:00:00",
    ]


def test_a_value_that_another_program_stored_meanwhile_is_not_replaced_without_a_word(tmp_path):
    path = tmp_path / "new" / "config.toml"
    one, two = ConfigFile(path), ConfigFile(path)
    assert one.save({"theme": "a", "sampling.top_k": 10}) == ()
    assert two.save({"load.num_ctx": 512}) == ()
    # The same value, a value of its own, and a key that only this program writes are nothing to report.
    assert two.save({"theme": "a"}) == ()
    assert one.save({"sampling.top_k": 11}) == ()
    (notice,) = two.save({"sampling": Sampling(top_k=12)})
    assert notice.startswith("sampling.top_k was changed outside of this program to 11")
    assert two.save({"sampling": Sampling(top_k=13)}) == ()
    path.write_text(path.read_text().replace('"a"', '"typed"'))
    (notice,) = one.save({"theme": "b"})
    assert "'typed'" in notice
