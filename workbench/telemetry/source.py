"""The port between the sampler and the sources of GPU figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from workbench.core.telemetry import GpuSample, SourceName


class SourceError(Exception):
    """A source that has no figures now.

    Args:
        reason: Why, as a sentence.
        absent: Whether this machine has no such GPU, which is not reported.
        code: The error number, where there is one.
    """

    def __init__(self, reason: str, *, absent: bool = False, code: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.absent = absent
        self.code = code


class GpuSource(Protocol):
    """Reads the GPUs of one kind. Used by one thread alone."""

    @property
    def name(self) -> SourceName:
        """Its name."""

    def read(self) -> Sequence[GpuSample]:
        """Every GPU that responds. After a failure the next call starts afresh; the caller waits longer each time.

        Raises:
            SourceError: No GPU can be read, or there is none.
        """
