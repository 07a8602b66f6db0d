from __future__ import annotations

import pytest

from tests.store.session_values import Clock
from tests.store.sessions.made import T0, session
from workbench.store.sessions.store import DatabaseSessionStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.db"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(path, clock):
    store = DatabaseSessionStore(path, clock=clock)
    yield store
    store.close()


@pytest.fixture
async def three(store):
    await store.keep(session("260101-100000", "one", at=T0))
    await store.keep(session("260101-110000", "two", at=T0 + 50))
    await store.keep(session("260202-100000", "three", at=T0 + 10))
