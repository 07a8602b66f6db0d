"""The base of the orchestrators: work that can be stopped."""

from __future__ import annotations

from workbench.core.cancel import CancelToken


class Stoppable:
    """Work that ends soon after `stop`, and keeps what is done by then."""

    def __init__(self) -> None:
        self._cancel = CancelToken()

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self._cancel.is_set

    def stop(self) -> None:
        """End it soon; from any thread."""
        self._cancel.set()
