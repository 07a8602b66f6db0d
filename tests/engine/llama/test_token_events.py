"""Tokens that become events: those whose text nobody waits for are converted together."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from workbench.core.events import Token
from workbench.engine.llama.token_events import TokenEvents
from workbench.engine.outbox import FLUSH_INTERVAL_NS, Outbox
from workbench.engine.text import AnswerText

START_NS = 10**12


class Pieces(dict[int, bytes]):
    """The bytes of tokens, by their ids."""

    def control(self, token: int) -> str:
        return f"<{token}>"


class Collected(Outbox):
    """An outbox that keeps its batches."""

    def __init__(self) -> None:
        super().__init__(Mock())
        self.seen: list[tuple] = []

    def deliver(self, batch) -> None:
        self.seen.append(batch)


def made(*, each: bool) -> tuple[TokenEvents, Collected]:
    outbox = Collected()
    pieces = Pieces(enumerate((b"It", b" was", b" a", b" day", b" \xc3", b"\xa9")))
    return TokenEvents(pieces, AnswerText(), outbox, each=each), outbox


def add(events: TokenEvents, tokens: dict[int, int]) -> None:
    for token, ms in tokens.items():
        events.add(token, START_NS + ms * 1_000_000, ms)


def ids(outbox: Collected) -> list[list[int]]:
    return [[event.id for event in batch if isinstance(event, Token)] for batch in outbox.seen]


def test_the_first_text_leaves_at_once_and_the_others_with_the_next_batch() -> None:
    events, outbox = made(each=False)
    add(events, {0: 0, 1: 5, 2: 10, 3: 45})
    assert ids(outbox) == [[0], [1, 2, 3]]
    assert [event.at_ns - START_NS for event in outbox.seen[1]] == [5_000_000, 10_000_000, 45_000_000]
    assert [event.text for event in outbox.seen[1]] == [" was", " a", " day"]
    assert FLUSH_INTERVAL_NS == 40_000_000


def test_the_end_converts_what_waits_also_where_it_is_half_a_character() -> None:
    events, outbox = made(each=False)
    add(events, {0: 0, 4: 5, 5: 10})
    events.convert()
    outbox.flush(START_NS)
    assert ids(outbox) == [[0], [4, 5]]
    assert "".join(event.text for event in outbox.seen[1]) == " é"


def test_where_the_text_is_looked_at_it_is_complete_after_each_token() -> None:
    events, outbox = made(each=True)
    add(events, {0: 0, 1: 5})
    assert outbox.holds
    outbox.flush(START_NS)
    assert ids(outbox) == [[0], [1]]


def test_a_token_that_cannot_be_converted_fails_once(monkeypatch) -> None:
    events, outbox = made(each=False)
    add(events, {0: 0, 1: 5})
    monkeypatch.setattr(AnswerText, "push", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        events.convert()
    # What reports the failure converts what waits.
    events.convert()
    assert ids(outbox) == [[0]]
