from __future__ import annotations

import gc
import weakref

from rich.segment import Segment
from textual.strip import Strip

import workbench.ui.kit.strip_caches  # noqa: F401 - for what it changes


class Text(str):
    """A text that can be watched."""


def test_a_row_is_freed_with_its_last_user_and_not_by_the_garbage_collector():
    text = Text("a row")
    watched = weakref.ref(text)
    row = Strip([Segment(text)], 5)
    gc.disable()
    try:
        assert row.divide([5, 9]) == [row]
        assert row.adjust_cell_length(5) is row
        del row, text
        assert watched() is None
    finally:
        gc.enable()


def test_a_row_is_cut_and_filled_up_as_before():
    row = Strip([Segment("a row")])
    assert [part.text for part in row.divide([2, 5, 9])] == ["a ", "row"]
    assert row.adjust_cell_length(7).text == "a row  "
