"""The meters of the machine itself: memory and processor."""

from __future__ import annotations

from workbench.core.ports import HostSample


class HostMonitor:
    """Reads the memory of this process and of the machine, and the load of its processors.

    psutil is imported with the first object: whoever shows no meters does not wait for it.
    """

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._virtual_memory = psutil.virtual_memory
        self._cpu_percent = psutil.cpu_percent
        # The load is measured from one call to the next; without this the first sample would always say 0.
        self._cpu_percent(interval=None)

    def sample(self) -> HostSample:
        """Read the meters now. The load is that since the last call."""
        memory = self._virtual_memory()
        return HostSample(
            rss_bytes=self._process.memory_info().rss,
            free_bytes=memory.available,
            total_bytes=memory.total,
            cpu_percent=min(100.0, max(0.0, self._cpu_percent(interval=None))),
        )
