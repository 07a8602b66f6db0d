"""The choices behind the answers of conversations, kept until the program ends."""

from __future__ import annotations

from collections.abc import Callable

from workbench.core.alternatives import ChoiceLog
from workbench.ui.workspace.conversation import Conversation


class ChoiceLogs:
    """The logs of answers, by the time of their conversation and their numbers; `current` is the open conversation."""

    def __init__(self, current: Callable[[], Conversation]) -> None:
        self._current = current
        self._logs: dict[tuple[float, int], ChoiceLog] = {}

    def keep(self, log: ChoiceLog) -> None:
        """Keep the log of the answer that ended just now."""
        conversation = self._current()
        self._logs[conversation.created_at, conversation.tree.leaf] = log

    def of(self, number: int) -> ChoiceLog | None:
        """The choices of an answer; None where they were not recorded."""
        return self._logs.get((self._current().created_at, number))
