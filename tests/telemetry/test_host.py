from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from tests.telemetry.stub import GIB
from workbench.processes import engines
from workbench.telemetry.host import PsutilHostMonitor, cpu_quota, is_wsl, memory_limit, of_engines


def test_a_sample_is_plausible() -> None:
    sample = PsutilHostMonitor().sample()
    assert 1 << 20 < sample.rss_bytes < sample.total_bytes
    assert 0 < sample.free_bytes <= sample.total_bytes
    assert 0 <= sample.cpu_percent <= 100


def test_memory_that_is_taken_shows() -> None:
    monitor = PsutilHostMonitor()
    before = monitor.sample().rss_bytes
    taken = bytearray(b"x" * (64 << 20))
    assert monitor.sample().rss_bytes >= before + len(taken) // 2


def test_the_memory_of_engines_counts() -> None:
    own = PsutilHostMonitor().sample().rss_bytes
    engines.add(psutil.Process().pid)
    try:
        assert PsutilHostMonitor().sample().rss_bytes > 1.5 * own
        assert of_engines(lambda process: process.pid) == psutil.Process().pid
        engines.add(2**22 + 1)
        assert of_engines(lambda process: process.pid) == psutil.Process().pid
    finally:
        engines.clear()


@pytest.fixture
def meters(monkeypatch):
    """A machine with these figures."""

    def show(cpu=50.0, swap=None):
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval: cpu)
        monkeypatch.setattr(psutil, "swap_memory", swap or (lambda: SimpleNamespace(total=8, used=3)))
        return PsutilHostMonitor().sample()

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


# What a container allows


@pytest.mark.parametrize(("files", "limit"), [
    ({}, None), ({"memory.max": "max"}, None), ({"memory.max": "junk"}, None),
    ({"memory.max": "4294967296"}, (4 * GIB, None)),
    ({"memory.max": "4294967296", "memory.current": "1073741824"}, (4 * GIB, GIB)),
    ({"memory.max": "4294967296", "memory.current": "1073741824", "memory.stat": "anon 5\ninactive_file 1000\n"},
     (4 * GIB, GIB - 1000)),
    ({"memory.max": "4294967296", "memory.current": "9", "memory.stat": "inactive_file 1000"}, (4 * GIB, 0)),
    ({"memory.max": "4294967296", "memory.current": "9", "memory.stat": "inactive_file x\ninactive_files 3"},
     (4 * GIB, 9)),
    ({"memory.max": str(64 * GIB)}, None), ({"memory.max": str(32 * GIB)}, None),
    ({"memory/memory.limit_in_bytes": "4294967296"}, (4 * GIB, None)),
    ({"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
])  # fmt: skip
def test_the_memory_that_a_container_allows(tmp_path, files, limit):
    (tmp_path / "memory").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    assert memory_limit(32 * GIB, tmp_path) == limit


@pytest.mark.parametrize(("files", "quota"), [
    ({}, None), ({"cpu.max": "max 100000"}, None), ({"cpu.max": "250000 100000"}, 2.5), ({"cpu.max": ""}, None),
    ({"cpu.max": "1 0"}, None),
    ({"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}, 1.5),
    ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
])  # fmt: skip
def test_the_time_that_a_container_is_given(tmp_path, files, quota):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    assert cpu_quota(tmp_path) == quota


@pytest.mark.parametrize(("text", "wsl"), [
    ("Linux version 5.15.167.4-microsoft-standard-WSL2", True),
    ("Linux version 6.8.0-45-generic", False), ("\xff", False),
])  # fmt: skip
def test_linux_under_windows(tmp_path, text, wsl):
    (tmp_path / "version").write_text(text, encoding="latin-1")
    assert is_wsl(tmp_path / "version") is wsl
    assert not is_wsl(tmp_path / "missing")
