from __future__ import annotations

from collections.abc import Callable

from textual.message_pump import MessagePump

from workbench.ui.kit.text import styled
from workbench.ui.widgets.transient import TransientText


class Timers(MessagePump):
    """Remembers timers, and lets them end by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[Callable[[], None]] = []

    def set_timer(self, delay: float, callback: Callable[[], None]) -> None:  # type: ignore[override]
        self.ends.append(callback)


def test_what_is_said_again_stays_its_whole_time() -> None:
    timers, changes = Timers(), list[str]()
    said = TransientText(timers, lambda: changes.append(said.text.plain))
    for _ in range(2):
        said.say(styled(("Copied.", "gauge--value")))
    first, second = timers.ends
    first()
    assert said.text.plain == "Copied."
    second()
    assert changes == ["Copied.", "Copied.", ""]


def test_the_end_of_what_was_cleared_is_no_change() -> None:
    timers, changes = Timers(), list[str]()
    said = TransientText(timers, lambda: changes.append(said.text.plain))
    said.say(styled(("Copied.", "")))
    said.clear()
    timers.ends[0]()
    assert said.text.plain == ""
    assert changes == ["Copied."]
