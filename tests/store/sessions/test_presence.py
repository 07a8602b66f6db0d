from __future__ import annotations

import subprocess
import sys

import pytest

from workbench.store.sessions.presence import Presence


def test_a_program_is_alive_until_it_leaves(tmp_path):
    mine, other = Presence(tmp_path), Presence(tmp_path)
    token = mine.token()
    assert mine.token() == token
    assert other.is_alive(token)
    assert mine.is_alive(token)
    mine.leave()
    assert not other.is_alive(token)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("token", ["", "nobody", "../x", "a/b"])
def test_nobody_is_not_alive(tmp_path, token):
    assert not Presence(tmp_path / "none").is_alive(token)


def test_the_mark_of_a_killed_program_is_swept_away(tmp_path):
    code = (
        "import os, sys, pathlib; from workbench.store.sessions.presence import Presence; "
        "print(Presence(pathlib.Path(sys.argv[1])).token(), flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    dead = done.stdout.strip()
    assert (tmp_path / f"{dead}.lock").exists()
    mine = Presence(tmp_path)
    token = mine.token()
    assert [path.name for path in tmp_path.iterdir()] == [f"{token}.lock"]
    assert not mine.is_alive(dead)
    mine.leave()
