from __future__ import annotations

import os
import stat

import pytest

from workbench.core.config import ServerSetting
from workbench.core.errors import ConfigError
from workbench.core.secret import Secret
from workbench.store.config.read import load_config
from workbench.store.config.write import save_config

KEY = "sk-a-key-that-nobody-may-see"


@pytest.fixture
def config(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "config.toml"
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


@pytest.mark.parametrize(("text", "expected"), [
    ('servers = ["http://gpu:8000/v1/", "localhost:1234"]',
     (ServerSetting("http://gpu:8000"), ServerSetting("http://localhost:1234"))),
    ('servers = "http://gpu:8000"', (ServerSetting("http://gpu:8000"),)),
    ('servers = [{url = "https://api.example.com/v1", key_env = "EXAMPLE"}]',
     (ServerSetting("https://api.example.com", "EXAMPLE"),)),
    (f'[[servers]]\nurl = "http://a"\nkey = "{KEY}"\n', (ServerSetting("http://a", "", Secret(KEY)),)),
    ("find_servers = false", ()),
])  # fmt: skip
def test_servers_are_read(config, text, expected):
    found, problems = load_config(config(text))
    assert (found.servers, problems) == (expected, ())
    assert found.find_servers is ("false" not in text)


@pytest.mark.parametrize(("text", "words"), [
    ("servers = 3", "this is not a server"), ('servers = ["ftp://x"]', "neither http nor https"),
    ('servers = [{key = "SECRET"}]', "this is not a server"),
    ('servers = ["http://a", {url = "http://", key = "SECRET"}]', "number 2"),
    ('servers = [{url = "http://a", kei = "SECRET"}]', "Did you mean 'key'"),
    ('servers = [{url = "http://a", key = "SEC RET"}]', "a blank"),
    ('servers = [{url = "http://a", key = 3}]', "this is not a server"),
    ('servers = ["http://me:SECRET@a"]', "password"),
])  # fmt: skip
def test_what_is_no_server_is_told_without_its_key(config, text, words):
    found, (problem,) = load_config(config(text))
    assert found.servers == ()
    assert words in problem.message
    assert "SEC" not in problem.message
    assert problem.line == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_a_key_that_others_may_read_is_not_used(config):
    path = config(f'servers = [{{url = "http://a", key = "{KEY}"}}]', mode=0o644)
    found, (problem,) = load_config(path)
    assert found.servers == (ServerSetting("http://a"),)
    assert f"chmod 600 {path}" in problem.message
    assert KEY not in f"{problem} {found}"


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_the_token_of_hugging_face_is_used_only_where_nobody_else_may_read_it(config):
    text = f'huggingface_token = "{KEY}"'
    assert load_config(config(text))[0].huggingface_token == Secret(KEY)
    found, (problem,) = load_config(config(text, mode=0o644))
    assert found.huggingface_token is None
    assert "chmod 600" in problem.message
    _, (problem,) = load_config(config('huggingface_token = "hf_ with blanks"'))
    assert "with blanks" not in problem.message


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_a_file_with_a_key_stays_private_when_it_is_written(config):
    # A value in the place of a table cannot be edited in place.
    path = config(f'servers = [{{url = "http://a", key = "{KEY}"}}]\nsampling = {{}}\n')
    save_config(path, {"theme": "x", "sampling.temperature": 0.5})
    assert load_config(path)[0].servers[0].key == Secret(KEY)
    for written in path.parent.iterdir():
        assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_servers_are_written(config):
    path = config("# mine\n")
    setting = ServerSetting("https://b", "B_KEY")
    save_config(path, {"servers": (ServerSetting("http://a"), setting)})
    assert load_config(path)[0].servers == (ServerSetting("http://a"), setting)
    assert "# mine" in path.read_text()
    with pytest.raises(ConfigError):
        save_config(path, {"servers": [3]})
