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
from workbench.engine.llama.runtime import BEHIND_A_SCREEN, Runtime
from workbench.store.paths import find_paths
from workbench.store.sessions.store import DatabaseSessionStore


@pytest.fixture
def opened(monkeypatch):
    """The model that the screen is to open first, and the session that it is to go on with."""
    found = []

    class App:
        return_code = 0

        def __init__(self, services, model, resume, **_):
            found.append((model, resume))

        def run(self):
            pass

    monkeypatch.setattr(workbench.ui.app, "WorkbenchApp", App)
    monkeypatch.setattr("workbench.cli.screen.shared_runtime", Runtime())
    monkeypatch.setattr("workbench.cli.screen._terminal_restorer", lambda: None)
    monkeypatch.setattr("workbench.cli.screen._watch_native_aborts", lambda restore: None)
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
def test_a_session_that_is_gone_on_with_brings_its_model(call, opened, stored, named, first):
    name = keep(stored)
    call(*named, "--resume", "last")
    assert opened == [(first, name)]


def test_what_is_logged_goes_where_it_went_once_the_screen_is_left(call, opened, caplog):
    keep("scripted")
    call("--resume", "last")
    logging.getLogger("workbench.store").warning("seen")
    assert "seen" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness of single threads")
def test_what_computes_steps_back_behind_the_screen(call, opened):
    keep("scripted")
    call("--resume", "last")
    niceness = workbench.cli.screen.shared_runtime.call(os.getpriority, os.PRIO_PROCESS, 0).result()
    assert niceness == min(19, os.getpriority(os.PRIO_PROCESS, 0) + BEHIND_A_SCREEN)
