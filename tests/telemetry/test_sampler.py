from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from tests.telemetry.stub import GIB, H200, RTX_4090
from workbench.core.telemetry import GpuInfo, GpuSample, HostSample
from workbench.telemetry.sampler import ABSENT_DELAY_S, FIRST_DELAY_S, LONGEST_DELAY_S, TelemetrySampler, system_sampler
from workbench.telemetry.source import SourceError


class FakeHost:
    error = None

    def sample(self):
        if self.error:
            raise self.error
        return HostSample(1, 2, 3, 4.0)


class FakeSource:
    name = "nvml"

    def __init__(self, *keys):
        self.keys = keys
        self.error = None
        self.reads = 0

    def read(self):
        self.reads += 1
        if self.error:
            raise self.error
        return [GpuSample(GpuInfo(key, "nvml", 0, key.upper())) for key in self.keys]


class Clock:
    ns = 1_000_000_000

    def __call__(self):
        return self.ns

    def turn(self, seconds):
        self.ns += int(seconds * 1e9)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture
def source():
    return FakeSource("a", "b")


@pytest.fixture
def sampler(host, source, clock):
    return TelemetrySampler(host, [source], clock_ns=clock)


def texts(sampler, after=0):
    return [event.text for event in sampler.events(after)]


def test_a_sample_holds_everything(sampler, clock):
    assert sampler.latest() is None
    sample = sampler.tick()
    assert sample is sampler.latest()
    assert sample.at_ns == clock.ns
    assert sample.host == HostSample(1, 2, 3, 4.0)
    assert [gpu.gpu.key for gpu in sample.gpus] == ["a", "b"]
    assert [(state.source, state.status) for state in sample.sources] == [("nvml", "working")]
    assert sampler.events() == ()


def test_history_is_bounded_and_in_order(host, clock):
    sampler = TelemetrySampler(host, [], history=3, clock_ns=clock)
    for _ in range(5):
        clock.turn(1)
        sampler.tick()
    stamps = [sample.at_ns for sample in sampler.history()]
    assert stamps == sorted(stamps)
    assert len(stamps) == 3
    assert stamps[-1] == clock.ns


def test_nothing_is_read_while_paused(sampler, source):
    sampler.tick()
    with sampler.paused():
        with sampler.paused():
            assert sampler.tick() is None
        assert sampler.tick() is None
    assert source.reads == 1
    assert sampler.tick() is not None


def test_a_pause_ends_with_a_failure(sampler):
    with pytest.raises(ZeroDivisionError), sampler.paused():
        raise ZeroDivisionError
    assert sampler.tick() is not None


def test_an_absent_source_is_not_reported_and_rarely_retried(sampler, source, clock):
    source.error = SourceError("no library", absent=True, code=12)
    for _ in range(10):
        sampler.tick()
        clock.turn(1)
    assert source.reads == 1
    assert sampler.events() == ()
    (state,) = sampler.latest().sources
    assert (state.status, state.reason, state.code) == ("absent", "no library", 12)
    clock.turn(ABSENT_DELAY_S)
    sampler.tick()
    assert source.reads == 2


def test_a_source_that_fails_rests_longer_each_time(sampler, source, clock):
    source.error = SourceError("lost", code=15)
    waits = []
    for _ in range(8):
        sampler.tick()
        reads, began = source.reads, clock.ns
        while source.reads == reads:
            clock.turn(0.5)
            sampler.tick()
        waits.append((clock.ns - began) / 1e9)
    assert waits[0] == FIRST_DELAY_S
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_DELAY_S


def test_failure_and_return_are_each_reported_once(sampler, source, clock):
    sampler.tick()
    source.error = SourceError("The GPU is lost.", code=15)
    for _ in range(200):
        clock.turn(1)
        sampler.tick()
    assert texts(sampler) == ["No figures of NVIDIA GPUs: The GPU is lost."]
    assert sampler.latest().gpus == ()
    assert sampler.latest().sources[0].status == "down"
    source.error = None
    clock.turn(LONGEST_DELAY_S)
    sampler.tick()
    assert texts(sampler, 1) == ["The figures of NVIDIA GPUs are back."]
    assert len(sampler.latest().gpus) == 2
    source.error = SourceError("again")
    sampler.tick()
    assert texts(sampler, 2) == ["No figures of NVIDIA GPUs: again"]


def test_after_it_was_back_it_rests_shortly_again(sampler, source, clock):
    source.error = SourceError("x")
    for _ in range(5):
        sampler.tick()
        clock.turn(LONGEST_DELAY_S)
    source.error = None
    sampler.tick()
    source.error = SourceError("x")
    sampler.tick()
    clock.turn(FIRST_DELAY_S)
    reads = source.reads
    sampler.tick()
    assert source.reads == reads + 1


def test_unloading_a_driver_in_use_is_reported(sampler, source, clock):
    sampler.tick()
    source.error = SourceError("not loaded", absent=True, code=9)
    sampler.tick()
    assert texts(sampler) == ["No figures of NVIDIA GPUs: not loaded"]
    source.error = None
    clock.turn(FIRST_DELAY_S)
    sampler.tick()
    assert texts(sampler, 1) == ["The figures of NVIDIA GPUs are back."]


def test_an_unforeseen_error_of_a_source(sampler, source):
    source.error = KeyError("pynvml")
    sample = sampler.tick()
    assert sample.host is not None
    assert sample.sources[0].status == "down"
    assert "KeyError" in sample.sources[0].reason


def test_the_host_fails_and_the_gpus_go_on(sampler, host):
    host.error = OSError("no /proc")
    sample = sampler.tick()
    assert sample.host is None
    assert len(sample.gpus) == 2


def test_one_source_fails_and_the_other_continues(host, clock):
    broken, sound = FakeSource(), FakeSource("b")
    broken.error = SourceError("x")
    sampler = TelemetrySampler(host, [broken, sound], clock_ns=clock)
    assert [gpu.gpu.key for gpu in sampler.tick().gpus] == ["b"]


def test_gpus_come_and_go(sampler, source):
    sampler.tick()
    source.keys = ("b", "c")
    sampler.tick()
    assert [(event.kind, event.text) for event in sampler.events()] == [
        ("gpu gone", "A no longer responds."), ("gpu new", "C was found.")
    ]  # fmt: skip
    sampler.tick()
    assert len(sampler.events()) == 2


def test_events_are_numbered_and_held_for_a_while(sampler, source):
    for number in range(150):
        source.keys = ("a",) if number % 2 else ("b",)
        sampler.tick()
    events = sampler.events()
    assert [event.number for event in events] == list(range(events[0].number, events[0].number + 200))
    assert sampler.events(events[-1].number) == ()
    assert sampler.events(events[-3].number) == events[-2:]


def test_the_interval_has_a_floor(host):
    waits = []

    def wait(_wake, seconds):
        waits.append(seconds)
        sampler.stop()

    sampler = TelemetrySampler(host, [], interval_s=0.01, wait=wait)
    sampler.start()
    sampler._thread.join(5)
    assert waits == [0.5]


def test_a_thread_of_its_own_reads_until_it_is_stopped(host, source):
    taken = threading.Semaphore(0)
    go = threading.Semaphore(0)
    threads = set()

    def wait(stop, seconds):
        threads.add((threading.current_thread().name, threading.current_thread().daemon))
        taken.release()
        go.acquire(timeout=5)

    sampler = TelemetrySampler(host, [source], wait=wait)
    sampler.start()
    sampler.start()
    for expected in (1, 2, 3):
        assert taken.acquire(timeout=5)
        assert source.reads == expected
        go.release()
    assert taken.acquire(timeout=5)
    sampler.stop()
    go.release()
    sampler._thread.join(5)
    assert not sampler._thread.is_alive()
    assert threads == {("telemetry", True)}
    reads = source.reads
    sampler.start()
    assert taken.acquire(timeout=5)
    assert source.reads == reads + 1
    sampler.stop()
    go.release()


def test_a_blocked_driver_does_not_block_callers(host, clock):
    entered, leave = threading.Event(), threading.Event()

    class Blocking(FakeSource):
        def read(self):
            if self.reads:
                entered.set()
                leave.wait(5)
            return super().read()

    def wait(stop, seconds):
        pass

    sampler = TelemetrySampler(host, [Blocking("a")], clock_ns=clock, wait=wait)
    sampler.start()
    assert entered.wait(5)
    assert sampler.latest() is not None
    assert len(sampler.history()) == 1
    assert sampler.events() == ()
    with sampler.paused():
        pass
    sampler.stop()
    leave.set()
    sampler._thread.join(5)


def test_with_the_stub(host, play, nvml, clock):
    play.show(RTX_4090, H200)
    sampler = TelemetrySampler(host, [nvml], clock_ns=clock)
    assert [gpu.memory_total for gpu in sampler.tick().gpus] == [24 * GIB, 141 * GIB]
    play.change(error=999, init=999)
    assert sampler.tick().gpus == ()
    assert "unknown error" in texts(sampler)[0]
    play.change(error=None, init=None)
    clock.turn(FIRST_DELAY_S)
    assert len(sampler.tick().gpus) == 2
    play.change(_0__error=15)
    assert len(sampler.tick().gpus) == 1
    assert texts(sampler, 2) == ["NVIDIA GeForce RTX 4090 no longer responds."]


def test_meters_that_are_opened_late_are_opened_once_and_by_the_reader(host, source):
    opened = []

    def open_meters():
        opened.append(threading.current_thread().name)
        return host, [source]

    sampler = TelemetrySampler.late(open_meters)
    assert sampler.latest() is None
    assert opened == []
    assert len(sampler.tick().gpus) == 2
    assert sampler.tick().host == HostSample(1, 2, 3, 4.0)
    assert len(opened) == 1


def test_a_sampler_that_is_not_started_imports_no_binding_and_no_driver():
    code = (
        "import sys\n"
        "from workbench.telemetry.sampler import system_sampler\n"
        "system_sampler()\n"
        "late = {'psutil', 'pynvml', 'subprocess', 'workbench.telemetry.nvml'}\n"
        "print(sorted(late.intersection(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_sample_can_be_had_at_once(host, source):
    sampler = TelemetrySampler(host, [source], interval_s=3600)
    assert await sampler.fresh() is None
    sampler.start()
    first = await sampler.fresh(5)
    second, third = await asyncio.gather(sampler.fresh(5), sampler.fresh(5))
    assert first.at_ns < second.at_ns <= third.at_ns
    assert sampler.latest().gpus == first.gpus
    with sampler.paused():
        assert await sampler.fresh(5) is None
    sampler.stop()
    sampler._thread.join(5)
    assert await sampler.fresh(5) is None


async def test_a_driver_that_blocks_does_not_keep_who_asks(host):
    leave = threading.Event()

    class Blocking(FakeSource):
        def read(self):
            leave.wait(5)
            return super().read()

    sampler = TelemetrySampler(host, [Blocking("a")])
    sampler.start()
    assert await sampler.fresh(0.01) is None
    leave.set()
    assert (await sampler.fresh(5)).gpus
    sampler.stop()
    sampler._thread.join(5)


def test_without_gpu_meters_no_source_is_opened():
    sampler = system_sampler(gpus=False)
    sample = sampler.tick()
    assert (sample.gpus, sample.sources) == ((), ())
    assert sample.host is not None
