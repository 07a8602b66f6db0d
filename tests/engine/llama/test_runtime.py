from __future__ import annotations

import asyncio
import os
import sys
import threading

import pytest

from workbench.core.events import PromptProgress
from workbench.engine.llama.runtime import Job, JobLine, Runtime
from workbench.engine.outbox import FLUSH_INTERVAL_NS, Outbox


def event(at_ns: int) -> PromptProgress:
    return PromptProgress(0, 0, 0, at_ns, at_ns)


async def test_a_call_gives_back_its_result_or_its_error():
    runtime = Runtime()
    assert await asyncio.wrap_future(runtime.call(lambda a, b: a + b, 1, 2)) == 3
    with pytest.raises(ZeroDivisionError):
        await asyncio.wrap_future(runtime.call(lambda: 1 // 0))


async def test_everything_runs_in_one_thread_that_is_not_ours():
    runtime = Runtime()
    seen = {await asyncio.wrap_future(runtime.call(threading.get_ident)) for _ in range(3)}
    assert len(seen) == 1
    assert threading.get_ident() not in seen


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness of single threads")
async def test_behind_a_screen_the_thread_and_what_it_starts_step_back():
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)

    def of_a_worker() -> int:
        found = []
        worker = threading.Thread(target=lambda: found.append(niceness()))
        worker.start()
        worker.join()
        return found[0]

    runtime, before = Runtime(), niceness()
    runtime.step_back(3)
    assert await asyncio.wrap_future(runtime.call(niceness)) == min(19, before + 3)
    assert await asyncio.wrap_future(runtime.call(of_a_worker)) == min(19, before + 3)
    assert niceness() == before


@pytest.mark.parametrize(
    ("turn_ns", "expected"),
    [
        (0, "a0 b0 a1 b1 a2 b2 b3"),
        (10, "a0 b0 a1 b1 a2 b2 b3"),
        (15, "a0 a1 b0 b1 a2 b2 b3"),
        (99, "a0 a1 a2 b0 b1 b2 b3"),
    ],
)
async def test_jobs_are_stepped_in_turns_of_their_own_time(monkeypatch, turn_ns, expected):
    now = 0
    monkeypatch.setattr("workbench.engine.llama.runtime.time.perf_counter_ns", lambda: now)
    runtime, order, done = Runtime(turn_ns), [], asyncio.Event()
    loop = asyncio.get_running_loop()

    def steps(name: str, count: int):
        def run(_: Job):
            nonlocal now
            for number in range(count):
                order.append(f"{name}{number}")
                now += 10
                yield
            if name == "b":
                loop.call_soon_threadsafe(done.set)

        return run

    def both():
        runtime.submit(Job(steps("a", 3)))
        runtime.submit(Job(steps("b", 4)))

    runtime.submit(both)
    await done.wait()
    assert order == expected.split()


async def test_a_step_that_only_waited_ends_the_turn():
    runtime, order, done = Runtime(turn_ns=10**12), [], asyncio.Event()
    loop = asyncio.get_running_loop()

    def waits(job: Job):
        for number in range(2):
            order.append(f"waits{number}")
            job.gives_way = True
            yield
        order.append("works0")
        yield
        order.append("works1")
        loop.call_soon_threadsafe(done.set)

    def other(_: Job):
        for number in range(3):
            order.append(f"other{number}")
            yield

    def both():
        runtime.submit(Job(waits))
        runtime.submit(Job(other))

    runtime.submit(both)
    await asyncio.wait_for(done.wait(), 10)
    assert order == ["waits0", "other0", "other1", "other2", "waits1", "works0", "works1"]


async def test_a_job_that_fails_does_not_stop_the_others(caplog):
    runtime, done = Runtime(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def bad(_: Job):
        yield
        raise ValueError("broken")

    def good(_: Job):
        for _ in range(5):
            yield
        loop.call_soon_threadsafe(done.set)

    runtime.submit(Job(bad))
    runtime.submit(Job(good))
    await done.wait()
    assert "broken" in caplog.text


def test_a_lane_clock_runs_only_during_its_own_steps(monkeypatch):
    now = 0
    monkeypatch.setattr("workbench.engine.llama.runtime.time.perf_counter_ns", lambda: now)
    seen = []

    def steps(job: Job):
        nonlocal now
        for _ in range(2):
            now += 10
            seen.append(job.lane_ns(now))
            yield

    job = Job(steps)
    job.advance()
    now += 1000
    job.advance()
    assert seen == [10, 20]
    assert job.lane_ns(now + 500) == 20
    assert job.advance() is False


async def test_events_leave_at_once_or_in_batches():
    outbox = Outbox(asyncio.get_running_loop())
    start = 10 * FLUSH_INTERVAL_NS
    outbox.put(event(start), at_once=True)
    outbox.put(event(start + 1))
    outbox.put(event(start + 2))
    outbox.put(event(start + FLUSH_INTERVAL_NS))
    await asyncio.sleep(0)
    assert [len(outbox.batches.get_nowait()) for _ in range(outbox.batches.qsize())] == [1, 3]


async def test_waiting_jobs_of_a_line_are_not_advanced(monkeypatch):
    runtime, advanced, order = Runtime(turn_ns=0), 0, []
    line, done, loop = JobLine(runtime), asyncio.Event(), asyncio.get_running_loop()
    advance = Job.advance

    def counted(job: Job) -> bool:
        nonlocal advanced
        advanced += 1
        return advance(job)

    def steps(name: str):
        def run(_: Job):
            for _ in range(9):
                order.append(name)
                yield
            order.append(name)
            if name == "c":
                loop.call_soon_threadsafe(done.set)

        return run

    monkeypatch.setattr(Job, "advance", counted)
    for name in "abc":
        line.submit(steps(name))
    await done.wait()
    assert "".join(order) == "a" * 10 + "b" * 10 + "c" * 10
    assert advanced <= 30


def nothing(_: Job):
    yield


async def test_a_job_of_a_line_that_fails_lets_the_next_one_run(caplog):
    runtime = Runtime()
    line = JobLine(runtime)

    def bad(_: Job):
        yield
        raise ValueError("broken")

    def good(_: Job):
        yield
        return 5

    line.submit(bad)
    assert await runtime.run(good, line) == 5
    assert "broken" in caplog.text


async def test_a_line_knows_its_first_and_its_last_job():
    runtime = Runtime()
    line, stop = JobLine(runtime), threading.Event()

    def first(_: Job):
        while not stop.is_set():
            yield

    running = line.submit(first)
    assert line.is_first(running)
    assert line.is_last(running)
    waiting = line.submit(first)
    assert not line.is_first(waiting)
    assert not line.is_last(running)
    stop.set()
    await runtime.run(nothing, line)
    assert not line.is_first(running)
    assert not line.is_last(waiting)
