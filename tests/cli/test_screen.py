from __future__ import annotations

import asyncio
import logging
import os
import sys

import pytest

import workbench.cli.screen
import workbench.ui.app
from workbench.core.chat import Message
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.engine.llama.runtime import TUI_NICENESS, Runtime
from workbench.store.paths import find_paths
from workbench.store.sessions.store import DatabaseSessionStore


@pytest.fixture
def opened(monkeypatch):
    """The model that the screen opens first, and the session that it continues."""
    found = []

    class App:
        return_code = 0

        def __init__(self, services, model, resume, **_):
            found.append((model, resume))

        def run(self):
            pass

    monkeypatch.setattr(workbench.ui.app, "WorkbenchApp", App)
    monkeypatch.setattr("workbench.cli.screen.shared_runtime", Runtime())
    monkeypatch.setattr("workbench.cli.screen._restore_terminal_on_abort", lambda: None)
    monkeypatch.setattr("workbench.cli.screen._has_terminal", lambda: True)
    return found


def keep(model):
    async def store():
        book = DatabaseSessionStore(find_paths().sessions_file)
        try:
            tree = Tree.of((Turn(Message("user", "Why?"), 5.0),))
            return await book.keep(Session("stored", 5.0, 6.0, model, tree=tree))
        finally:
            book.close()

    return asyncio.run(store())


@pytest.mark.parametrize(
    ("stored", "named", "first"),
    [("http://gpu:8000#m", (), "http://gpu:8000#m"), ("scripted", ("demo",), "demo"), ("", ("scripted",), "scripted")],
)
def test_a_resumed_session_opens_its_model(call, opened, stored, named, first):
    name = keep(stored)
    call(*named, "--resume", "last")
    assert opened == [(first, name)]


@pytest.mark.parametrize("wanted", ["", "1"])
def test_an_empty_no_color_is_none(call, opened, monkeypatch, wanted):
    monkeypatch.setenv("NO_COLOR", wanted)
    call("scripted")
    assert opened
    assert os.environ.get("NO_COLOR", "") == wanted
    assert ("NO_COLOR" in os.environ) == bool(wanted)


def test_after_the_screen_log_lines_go_where_they_went_before(call, opened, caplog):
    keep("scripted")
    call("--resume", "last")
    logging.getLogger("workbench.store").warning("seen")
    assert "seen" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness of single threads")
def test_the_inference_thread_lowers_its_priority_while_the_screen_runs(call, opened):
    keep("scripted")
    call("--resume", "last")
    niceness = workbench.cli.screen.shared_runtime.call(os.getpriority, os.PRIO_PROCESS, 0).result()
    assert niceness == min(19, os.getpriority(os.PRIO_PROCESS, 0) + TUI_NICENESS)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_what_holds_private_words_is_the_owners_alone_and_old_files_are_mended(call, opened):
    paths = find_paths()
    for old in (paths.races_dir / "1.json", paths.exports_dir / "a.md", paths.bench_dir / "1.json", paths.loads_file):
        old.parent.mkdir(parents=True, exist_ok=True)
        old.write_text("x")
        for each, mode in ((old, 0o644), (old.parent, 0o755), (old.parent.parent, 0o755)):
            each.chmod(mode)
    paths.log_file.write_text("private")
    paths.log_file.with_name("workbench.log.1").write_text("private")
    before = os.umask(0)
    try:
        call("scripted")
        paths.log_file.unlink()
        workers = workbench.cli.screen.compose()
        with workbench.cli.screen._logged(workers, workbench.cli.screen.LogBook()):
            logging.getLogger("workbench.test").warning("private")
    finally:
        os.umask(before)
    assert "private" in paths.log_file.read_text()
    for folder in (paths.data_dir, paths.state_dir):
        for each in (folder, *folder.rglob("*")):
            wanted = 0o700 if each.is_dir() else 0o600
            assert (each, each.stat().st_mode & 0o777) == (each, wanted)
