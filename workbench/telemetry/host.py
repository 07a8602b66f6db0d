"""Memory, swap and CPU load of the machine, the limits of its container, and what else the kernel says of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from workbench.core.telemetry import HostMonitor, HostSample
from workbench.processes import engines

if TYPE_CHECKING:
    import psutil

CGROUP = Path("/sys/fs/cgroup")
_LIMIT_FILES = ("memory.max", "memory/memory.limit_in_bytes")
_STATISTICS = (("memory.stat", "inactive_file"), ("memory/memory.stat", "total_inactive_file"))
_USAGE_FILES = ("memory.current", "memory/memory.usage_in_bytes")


def _rss(process: psutil.Process) -> int:
    size: int = process.memory_info().rss
    return size


def of_engines(measure: Callable[[psutil.Process], float]) -> float:
    """The sum over the processes that compute for this one."""
    import psutil

    found = 0.0
    for pid in tuple(engines):
        with suppress(psutil.Error):
            found += measure(psutil.Process(pid))
    return found


def system_memory() -> tuple[int, int]:
    """The total and the available memory of the machine, in bytes."""
    import psutil

    memory = psutil.virtual_memory()
    return memory.total, memory.available


class PsutilHostMonitor(HostMonitor):
    """Reads the meters of the host with psutil, which is imported with the first object and not with the module."""

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        # The load is measured between two calls; without this one the first sample would always be 0.
        psutil.cpu_percent(interval=None)

    @override
    def sample(self) -> HostSample:
        import psutil

        memory = psutil.virtual_memory()
        try:
            swap = psutil.swap_memory()
        except (OSError, RuntimeError):  # Containers may hide its source file.
            swap = None
        return HostSample(
            rss_bytes=_rss(self._process) + int(of_engines(_rss)),
            free_bytes=memory.available,
            total_bytes=memory.total,
            cpu_percent=min(100.0, max(0.0, psutil.cpu_percent(interval=None))),
            swap_used_bytes=None if swap is None else swap.used,
            swap_total_bytes=None if swap is None else swap.total,
        )


def memory_limit(total_bytes: int, root: Path = CGROUP) -> tuple[int, int | None] | None:
    """The memory limit of the container and its use, in bytes; None where no limit below `total_bytes` is set."""
    limit = next(filter(None, (_number(root / name) for name in _LIMIT_FILES)), None)
    if limit is None or limit >= total_bytes:
        return None
    used = next(filter(None, (_number(root / name) for name in _USAGE_FILES)), None)
    # It includes cached files, above all model files, which the kernel drops before memory runs short.
    return limit, None if used is None else max(0, used - _droppable(root))


def _droppable(root: Path) -> int:
    for name, key in _STATISTICS:
        try:
            lines = (root / name).read_text("ascii", "replace").splitlines()
        except OSError:
            continue
        found = [line.split()[-1] for line in lines if line.startswith(f"{key} ")]
        if found and found[0].isascii() and found[0].isdigit():
            return int(found[0])
    return 0


def _number(path: Path) -> int | None:
    try:
        text = path.read_text("ascii", "replace").strip()
    except OSError:
        return None
    return int(text) if text.isascii() and text.isdigit() else None


def cpu_quota(root: Path = CGROUP) -> float | None:
    """The CPU time limit of the container in cores; None where none is set."""
    try:
        words = (root / "cpu.max").read_text("ascii", "replace").split()
    except OSError:
        numbers = [_number(root / "cpu" / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
        words = [str(number or "") for number in numbers]
    if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words):
        return None
    quota, period = map(int, words)
    return quota / period if quota and period else None


def is_wsl(version: Path = Path("/proc/version")) -> bool:
    """Whether this is Linux under Windows, where some drivers' NVML crashes the process that calls it."""
    try:
        return "microsoft" in version.read_text("utf-8", "replace").lower()
    except OSError:
        return False


def colon_pairs(text: str) -> list[tuple[str, str]]:
    """The pairs in the lines `key: value` of a file of the kernel."""
    pairs = (line.partition(":") for line in text.splitlines())
    return [(key.strip(), value.strip()) for key, _, value in pairs]
