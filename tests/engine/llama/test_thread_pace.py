from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.engine.llama.thread_pace import AnswerThreads, ThreadPace, rungs

Steps = Callable[[random.Random, int], float]
"""The duration of a step with a number of threads, in milliseconds."""


def machine(cores: int, loops: int, *, noise: float = 0.04, slice_ms: float = 8.0, step_ms: float = 16.0) -> Steps:
    """A machine on which so many programs each use a core all the time."""

    def step(chance: random.Random, threads: int) -> float:
        free = step_ms / threads**0.9 * chance.gauss(1, noise)
        crowded = threads + loops - cores
        return free if crowded <= 0 else free + sum(chance.expovariate(1 / slice_ms) for _ in range(2 * crowded))

    return step


def speed(steps: Steps, choose: ThreadPace | int, seed: int, tokens: int = 1500) -> float:
    """Tokens per millisecond."""
    return tokens / play(steps, choose, seed, tokens)[0]


def usual(steps: Steps, pace: ThreadPace, tokens: int) -> int:
    """The number of threads of most of the later tokens."""
    play(steps, pace, 1, tokens // 2)
    return play(steps, pace, 2, tokens // 2)[1].most_common(1)[0][0]


def play(steps: Steps, choose: ThreadPace | int, seed: int, tokens: int) -> tuple[float, Counter[int]]:
    """The milliseconds that tokens take, and how many were written with each number of threads."""
    chance, total, counts = random.Random(seed), 0.0, Counter[int]()
    for _ in range(tokens):
        counts[choose if isinstance(choose, int) else choose.used] += 1
        taken = max(0.1, steps(chance, choose if isinstance(choose, int) else choose.used))
        total += taken
        if isinstance(choose, ThreadPace):
            choose.step(int(taken * 1e6))
    return total, counts


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("cores", [2, 4, 8, 16])
@pytest.mark.parametrize("loops", [0, 1, 2])
def test_it_is_nearly_as_fast_as_the_best_fixed_number(cores: int, loops: int, seed: int) -> None:
    steps, pace = machine(cores, loops), ThreadPace(cores)
    best = max(speed(steps, count, seed) for count in rungs(cores))
    play(steps, pace, seed, 150)
    assert speed(steps, pace, seed) >= (0.9 if loops else 0.99) * best


def test_single_long_steps_are_no_busy_machine() -> None:
    def step(chance: random.Random, threads: int) -> float:
        hiccup = chance.uniform(2, 4) if chance.random() < 0.08 else 1.0
        return hiccup * 16 / threads**0.8 * chance.gauss(1, 0.1)

    assert speed(step, ThreadPace(2), 1, 3000) >= 0.985 * speed(step, 2, 1, 3000)


def test_all_threads_run_again_when_the_machine_is_quiet() -> None:
    pace = ThreadPace(2)
    assert usual(machine(2, 1), pace, 400) == 1
    assert usual(machine(2, 0), pace, 800) == 2


def test_a_machine_that_becomes_busy_is_noticed() -> None:
    pace = ThreadPace(4)
    assert usual(machine(4, 0), pace, 400) == 4
    assert usual(machine(4, 2), pace, 800) < 4


def phased(steps: Steps, slower: float = 1.4) -> Steps:
    """The same machine on a host that has other work in a third of the time."""
    number = itertools.count()
    return lambda chance, threads: steps(chance, threads) * (slower if next(number) % 20 < 7 else 1)


@pytest.mark.parametrize("seed", range(3))
def test_slow_phases_of_the_host_are_no_busy_program(seed: int) -> None:
    pace = ThreadPace(2)
    play(phased(machine(2, 0)), pace, seed, 400)
    assert speed(phased(machine(2, 0)), pace, seed, 400) >= 0.96 * speed(phased(machine(2, 0)), 2, seed, 400)


@pytest.mark.parametrize("loops", [1, 2])
@pytest.mark.parametrize("seed", range(8))
def test_one_answer_is_enough_to_adapt_to_a_busy_program(loops: int, seed: int) -> None:
    pace, busy = ThreadPace(2), machine(2, loops)
    play(phased(machine(2, 0)), pace, seed, 400)
    assert speed(busy, pace, seed, 160) >= 0.85 * max(speed(busy, count, seed, 160) for count in (1, 2))


def test_a_model_that_is_loaded_beside_a_busy_session_does_not_wait_for_a_whole_window() -> None:
    pace = ThreadPace(2)
    _, counts = play(lambda chance, threads: 21 if threads == 1 else chance.uniform(1000, 3000), pace, 1, 60)
    assert counts[2] < 4


def test_a_slow_model_on_a_quiet_machine_tries_fewer_threads_once() -> None:
    pace = ThreadPace(2)
    _, counts = play(lambda chance, threads: 3600 / threads**0.9 * chance.gauss(1, 0.02), pace, 1, 300)
    assert counts[1] <= 3


def test_a_longer_context_is_no_busy_machine() -> None:
    pace, longer = ThreadPace(4), 1.0
    for _ in range(4000):
        longer *= 1.0002
        pace.step(int(4e6 * longer))
        assert pace.used == 4


def test_one_thread_stays_one() -> None:
    pace = ThreadPace(1)
    for ns in (1, 9, 1, 9) * 20:
        assert not pace.step(ns)
    assert pace.used == 1


def test_what_is_timed_has_all_threads() -> None:
    pace = ThreadPace(2)
    while pace.used == 2:
        pace.step(10**6)
        pace.step(10**7)
    pace.reset()
    assert pace.used == 2


@given(st.integers(1, 64), st.lists(st.integers(0, 10**9), max_size=400))
def test_the_number_is_always_one_of_those_that_are_tried(most: int, durations: list[int]) -> None:
    pace = ThreadPace(most)
    for ns in durations:
        before = pace.used
        changed = pace.step(ns)
        assert changed == (pace.used != before)
        assert pace.used in rungs(most)


def make_slow(threads: AnswerThreads) -> None:
    """Count steps as a model does, on a machine that becomes busy."""
    for number in range(60):
        if threads.adapts:
            threads.step(10**6 if number < 20 else 10**7)


def test_an_answer_keeps_its_number_of_threads_while_others_join_and_leave() -> None:
    used: list[int] = []
    shown: list[tuple[str, int, int]] = []
    threads = AnswerThreads(2, used.append)

    def answer(name: str, *, fixed: bool):
        return threads.answer(lambda count, most: shown.append((name, count, most)), fixed=fixed)

    with answer("free", fixed=False):
        make_slow(threads)
        assert (used[0], shown[0]) == (1, ("free", 1, 2))
        while used[-1] == 2:
            threads.step(10**7)
        shown.clear()
        with answer("seeded", fixed=True):
            assert used[-1] == 2
            assert shown == [("free", 2, 2), ("seeded", 2, 2)]
            count = len(used)
            with answer("second", fixed=False), answer("also seeded", fixed=True):
                make_slow(threads)
            make_slow(threads)
            assert len(used) == count
        make_slow(threads)
        assert len(used) > count
