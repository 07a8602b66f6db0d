from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workbench.engine.llama.states import MOST_BRANCHES, SequenceState, StateCache, common_prefix

tokens = st.lists(st.integers(0, 3), max_size=8)


def state(*ids: int, size: int = 100) -> SequenceState:
    return SequenceState(ids, bytes(size))


def best(cache: StateCache, model: str, *ids: int) -> SequenceState | None:
    return cache.best(model, lambda one: common_prefix(one.tokens, ids))


@given(tokens, tokens)
def test_common_prefix(first, second):
    length = common_prefix(first, tuple(second))
    assert first[:length] == second[:length]
    assert length == min(len(first), len(second)) or first[length] != second[length]


def test_the_state_that_shares_most_is_found():
    cache = StateCache(10_000)
    short, long, other = state(1, 2), state(1, 2, 3, 9), state(1, 2, 3, 4)
    cache.put("a", other)
    cache.put("a", long)
    cache.put("b", short)
    assert best(cache, "a", 1, 2, 3, 4, 5) is other
    assert best(cache, "b", 1, 2, 3) is short
    assert best(cache, "a", 7) is None
    assert best(cache, "c", 1, 2) is None


def test_a_state_replaces_the_one_that_it_continues():
    cache = StateCache(10_000)
    cache.put("a", state(1, 2))
    cache.put("a", state(1, 2, 3))
    assert cache.size_bytes == state(1, 2, 3).size_bytes


def test_the_budget_gives_up_what_was_used_longest_ago():
    cache = StateCache(2 * state(1).size_bytes)
    cache.put("a", state(1))
    cache.put("b", state(1))
    assert best(cache, "a", 1) is not None
    cache.put("c", state(1))
    assert best(cache, "b", 1) is None
    assert best(cache, "a", 1) is not None
    assert cache.size_bytes <= 2 * state(1).size_bytes


def test_room_is_made_before_a_state_is_copied():
    size = state(1).size_bytes
    cache = StateCache(2 * size)
    cache.put("a", state(1))
    cache.put("b", state(1))
    cache.make_room("a", [1, 2], size)
    assert best(cache, "a", 1) is None
    assert best(cache, "b", 1) is not None
    cache.make_room("c", [1], 2 * size)
    assert cache.size_bytes == 0


def test_a_state_larger_than_the_budget_is_not_kept():
    cache = StateCache(50)
    cache.put("a", state(1))
    assert best(cache, "a", 1) is None
    assert not StateCache(0).wants(1)


def test_a_branch_displaces_branches_and_no_states_of_other_models():
    size = state(1).size_bytes
    cache = StateCache(3 * size)
    cache.put("b", state(1))
    cache.put("a", state(1))
    cache.put("a", state(2), branch=True)
    cache.put("a", state(3), branch=True)
    assert best(cache, "a", 2) is None
    cache.put("a", state(4, size=100 + size), branch=True)
    assert best(cache, "a", 1) is None, "the older state of its own model goes"
    assert best(cache, "a", 4) is not None
    assert best(cache, "b", 1) is not None
    assert not cache.wants(3 * size, "a")
    assert cache.wants(3 * size)
    cache.put("c", state(1))
    assert best(cache, "a", 4) is None, "a branch goes before the state of a closed model"
    assert best(cache, "b", 1) is not None


def test_the_number_of_branches_is_bounded():
    cache = StateCache(10**6)
    cache.put("a", state(0))
    for token in range(1, MOST_BRANCHES + 3):
        cache.put("a", state(token), branch=True)
    assert cache.size_bytes == (MOST_BRANCHES + 1) * state(1).size_bytes
    assert best(cache, "a", 2) is None
    assert best(cache, "a", 3) is not None
    assert best(cache, "a", 0) is not None
