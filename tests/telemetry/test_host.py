from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from workbench.telemetry.host import HostMonitor


def test_a_sample_is_plausible() -> None:
    sample = HostMonitor().sample()
    assert 1 << 20 < sample.rss_bytes < sample.total_bytes
    assert 0 < sample.free_bytes <= sample.total_bytes
    assert 0 <= sample.cpu_percent <= 100


def test_memory_that_is_taken_shows() -> None:
    monitor = HostMonitor()
    before = monitor.sample().rss_bytes
    taken = bytearray(b"x" * (64 << 20))
    assert monitor.sample().rss_bytes >= before + len(taken) // 2


@pytest.fixture
def meters(monkeypatch):
    """A machine with these figures."""

    def show(cpu=50.0, swap=None):
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval: cpu)
        monkeypatch.setattr(psutil, "swap_memory", swap or (lambda: SimpleNamespace(total=8, used=3)))
        return HostMonitor().sample()

    return show


@pytest.mark.parametrize(("told", "shown"), [(0.0, 0.0), (42.5, 42.5), (100.0, 100.0), (130.0, 100.0), (-1.0, 0.0)])
def test_the_load_is_a_share_of_the_whole(meters, told, shown):
    assert meters(cpu=told).cpu_percent == shown


def test_swap(meters):
    sample = meters()
    assert (sample.swap_used_bytes, sample.swap_total_bytes) == (3, 8)


@pytest.mark.parametrize("error", [OSError("no /proc/vmstat"), RuntimeError("sysctl failed")])
def test_swap_that_is_hidden(meters, error):
    def fail():
        raise error

    sample = meters(swap=fail)
    assert (sample.swap_used_bytes, sample.swap_total_bytes) == (None, None)
    assert sample.rss_bytes > 0


def test_the_module_does_not_load_psutil() -> None:
    code = "import sys, workbench.telemetry.host; assert 'psutil' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
