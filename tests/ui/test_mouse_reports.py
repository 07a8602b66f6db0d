"""Mouse reports of the oldest form: none leaves text behind, in whatever pieces it arrives."""

from __future__ import annotations

import pytest
from textual import events
from textual._xterm_parser import XTermParser

from workbench.ui.kit.mouse_reports import MouseReports


def report(button: int, x: int, y: int) -> bytes:
    return b"\x1b[M" + bytes(32 + number for number in (button, x, y))


REPORTS = [
    (report(0, 161, 1), events.MouseDown, (160, 0)),
    (report(0, 163, 137), events.MouseDown, (162, 136)),
    (report(3, 10, 10), events.MouseUp, (9, 9)),
    (report(64, 1, 1), events.MouseScrollUp, (0, 0)),
    (report(65, 223, 223), events.MouseScrollDown, (222, 222)),
    (report(35, 5, 95), events.MouseMove, (4, 94)),
    (report(32, 5, 96), events.MouseMove, (4, 95)),
]


def events_of(*chunks: bytes) -> list[events.Event]:
    reports, parser = MouseReports(), XTermParser()
    found: list[events.Event] = []
    for chunk in chunks:
        if text := reports.feed(chunk).decode("utf-8", "replace"):
            found += [event for event in parser.feed(text) if isinstance(event, events.Event)]
    return found


@pytest.mark.parametrize(("data", "kind", "place"), REPORTS)
@pytest.mark.parametrize("cut", range(7))
def test_a_report_is_one_event_wherever_it_is_cut(
    data: bytes, kind: type[events.MouseEvent], place: tuple[int, int], cut: int
) -> None:
    whole = data + b"a"
    (mouse, key) = events_of(whole[:cut], whole[cut:])
    assert type(mouse) is kind
    assert isinstance(mouse, events.MouseEvent)
    assert (mouse.x, mouse.y) == place
    assert isinstance(key, events.Key)
    assert key.character == "a"


def test_reports_that_come_byte_by_byte_leave_nothing_behind() -> None:
    data = b"".join(report for report, _, _ in REPORTS)
    found = events_of(*(data[place : place + 1] for place in range(len(data))))
    assert [type(event) for event in found] == [kind for _, kind, _ in REPORTS]


def test_a_place_beyond_what_a_byte_holds_is_ignored() -> None:
    assert events_of(b"\x1b[M\x20\x00\x00") == []


@pytest.mark.parametrize("data", [b"\x1b", b"\x1b[", b"abc\x1b", "é\x1b[A".encode(), b"\x1b[<0;5;5M", b"\x1bOM"])
def test_other_bytes_are_passed_on_at_once(data: bytes) -> None:
    reports = MouseReports()
    assert reports.feed(data) == data
    assert reports.feed(b"") == b""
    assert not reports.seen


def test_the_terminal_is_to_be_asked_for_other_reports() -> None:
    reports = MouseReports()
    reports.feed(report(0, 1, 1)[:4])
    assert not reports.seen
    reports.feed(report(0, 1, 1)[4:])
    assert reports.seen
    reports.feed(b"a")
    assert not reports.seen
