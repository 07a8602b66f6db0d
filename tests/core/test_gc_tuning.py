from __future__ import annotations

import gc

import pytest

from workbench.core.gc_tuning import SELDOM, collect_from_now, collect_later


@pytest.fixture
def frozen(monkeypatch):
    """How often what is there was taken to stay; a real freeze would last to the end of the tests."""
    calls = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append(gc.isenabled()))
    return calls


def test_nothing_is_collected_until_it_is_said_and_then_what_is_there_stays(frozen):
    with collect_later():
        assert not gc.isenabled()
        collect_from_now()
        assert gc.isenabled()
        collect_from_now()
    assert gc.isenabled()
    assert frozen == [False]


def test_a_start_that_fails_leaves_collecting_on(frozen):
    with pytest.raises(KeyError), collect_later():
        raise KeyError
    assert gc.isenabled()
    assert frozen == []


def test_where_collecting_was_not_put_off_nothing_is_taken_to_stay(frozen):
    collect_from_now()
    assert gc.isenabled()
    assert frozen == []


def test_what_is_old_is_looked_at_seldom_until_the_program_ends(frozen):
    before = gc.get_threshold()
    with collect_later():
        collect_from_now()
        assert gc.get_threshold() == (*before[:2], SELDOM)
    assert gc.get_threshold() == before
