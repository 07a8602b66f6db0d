from __future__ import annotations

import gc

import pytest

from workbench.core.gc_tuning import SELDOM, collect_from_now, collect_later


@pytest.fixture
def frozen(monkeypatch):
    """The calls of gc.freeze, which would last to the end of the tests."""
    calls = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append(gc.isenabled()))
    return calls


def test_nothing_is_collected_before_the_call_and_existing_objects_are_frozen(frozen):
    with collect_later():
        assert not gc.isenabled()
        collect_from_now()
        assert gc.isenabled()
        collect_from_now()
    assert gc.isenabled()
    assert frozen == [False]


def test_a_failing_start_enables_collections_again(frozen):
    with pytest.raises(KeyError), collect_later():
        raise KeyError
    assert gc.isenabled()
    assert frozen == []


def test_outside_the_context_nothing_is_frozen(frozen):
    collect_from_now()
    assert gc.isenabled()
    assert frozen == []


def test_the_old_generation_is_collected_seldom_until_the_program_ends(frozen):
    before = gc.get_threshold()
    with collect_later():
        collect_from_now()
        assert gc.get_threshold() == (*before[:2], SELDOM)
    assert gc.get_threshold() == before
