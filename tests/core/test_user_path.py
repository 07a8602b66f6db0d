from __future__ import annotations

import re
from pathlib import Path

import pytest

from workbench.core.errors import PathError
from workbench.core.user_path import expanded, user_path

WITHOUT_HOME = ["~no such user", "~nosuchuser/x", "~nosuchuser/", "~no\0user/x", "~no\ud800user/x"]


@pytest.mark.parametrize("text", WITHOUT_HOME)
def test_an_unknown_home_folder_is_one_error_that_names_it(text):
    with pytest.raises(PathError, match="knows no home folder for '~no"):
        user_path(text)
    assert expanded(text) == Path(text)


def test_the_home_folder_is_expanded_where_it_is_known(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("~/x.md") == expanded(Path("~/x.md")) == Path("/home/me/x.md")
    assert user_path("a/~b") == Path("a/~b")


def test_a_tilde_is_expanded_in_one_place_alone():
    program = Path(__file__).parents[2] / "workbench"
    bare = [
        str(path.relative_to(program))
        for path in program.rglob("*.py")
        if re.search(r"expanduser\(", path.read_text(encoding="utf-8"))
    ]
    assert bare == ["core/user_path.py"]
