from __future__ import annotations

import subprocess
import sys

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


def test_the_module_does_not_load_psutil() -> None:
    code = "import sys, workbench.telemetry.host; assert 'psutil' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
