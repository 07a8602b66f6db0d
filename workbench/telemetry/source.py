"""What every source of GPU figures looks like to the sampler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from workbench.core.telemetry import GpuSample, SourceName


class SourceError(Exception):
    """A source that gives no figures now.

    Args:
        reason: Why, as a sentence.
        absent: Whether this machine simply has no such thing, which nobody has to be told.
        code: The number of the error, where there is one.
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
        """What it is called."""

    def read(self) -> Sequence[GpuSample]:
        """Every GPU that answers.

        After a failure the next call begins anew; whoever calls waits longer each time.

        Raises:
            SourceError: None can be read at all.
        """
