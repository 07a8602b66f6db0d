from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.ui.fakes import FakeClock, models
from tests.ui.idle import exact_waits
from workbench.engine.scripted import ScriptedHost, ScriptedModel


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colours taken away, no animations, and neither the time zone nor the terminal of the machine."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("TERM_PROGRAM", "VTE_VERSION", "KONSOLE_VERSION", "TMUX", "STY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def only_what_is_to_come_is_waited_for() -> Iterator[None]:
    with exact_waits():
        yield


class _LayoutFailures(logging.Handler):
    """Collects the reports that a text was shown as plain text."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "shown as plain text" in (message := record.getMessage()):
            self.messages.append(message)


@pytest.fixture
def layout_may_fail() -> None:
    """For tests in which the layout of a text fails."""


@pytest.fixture(autouse=True)
def every_layout_works(request: pytest.FixtureRequest) -> Iterator[None]:
    """The program goes on where the layout of a text fails; a test does not."""
    failures, logger = _LayoutFailures(), logging.getLogger("workbench.ui")
    logger.addHandler(failures)
    yield
    logger.removeHandler(failures)
    assert not failures.messages or "layout_may_fail" in request.fixturenames


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def host(clock: FakeClock) -> ScriptedHost:
    return ScriptedHost(models(), clock=clock, sleep=clock.sleep)


@pytest.fixture
def make_host(clock: FakeClock) -> Callable[[Sequence[ScriptedModel]], ScriptedHost]:
    def make(scripted: Sequence[ScriptedModel]) -> ScriptedHost:
        return ScriptedHost(scripted, clock=clock, sleep=clock.sleep)

    return make
