"""Columns stay where they are on a terminal that measures characters differently."""

from __future__ import annotations

import pyte
import pytest
from rich.cells import cell_len

from workbench.ui import _compat  # noqa: F401 - it corrects the widths of Rich
from workbench.ui.kit.graphemes import positioned

WIDE = "⚠️ mind│✅ good│漢字│👨‍👩‍👧 and ❤️│1️⃣│👍🏽│🇩🇪🇫🇷│नमस्ते हिन्दी│நி│🏴\U000e0067\U000e007f│\U0001fae8│é│"


@pytest.mark.parametrize("before", ["", "x" * 30])
def test_columns_hold_where_a_terminal_measures_differently(before: str) -> None:
    screen = pyte.Screen(120, 2)
    terminal = pyte.Stream(screen)
    terminal.feed(f"\x1b[1;1H{before}\x1b[1;1H")
    terminal.feed(positioned(f"\x1b[31m{WIDE}"))
    for place, character in enumerate(WIDE):
        if character == "│":
            assert screen.buffer[0][cell_len(WIDE[:place])].data == "│", WIDE[:place]
    assert "x" not in screen.display[0][: cell_len(WIDE)]
    assert screen.buffer[0][0].fg == "red"


def test_simple_texts_are_sent_as_they_are() -> None:
    for text in ("plain\x1b[1m", "é ü │ ─ → … 漢字 ✅ кириллица #1*", "می\u200cخواهم", "\ufe0f"):
        assert positioned(text) == text
