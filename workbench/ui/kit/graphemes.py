"""What a reader sees as one character, and how it is written to a terminal that measures it differently.

Terminals disagree on emoji that are joined or have a variation selector or a skin tone, on new ones, and on the vowel
signs of Indic scripts: one cell or two, two or six. All that follows on the row would be shifted, and scrolling would
leave parts of it behind.
"""

from __future__ import annotations

import re

from rich.cells import cell_len

_SUFFIX = "[\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
_SIGN = f"(?:[\U0001f000-\U0001fbff]|[^\x00-\x1f](?=[\ufe0f\u200d\U0001f3fb-\U0001f3ff])){_SUFFIX}*"
_WITH_VOWEL_SIGNS = "\u0900-\u0dff\u0f00-\u109f\u1780-\u17ff\u1a20-\u1aff\u1b00-\u1bff\ua880-\ua9ff\uaa00-\uabff"
_DOUBTFUL = re.compile(
    f"[\U0001f1e6-\U0001f1ff]{{2}}|{_SIGN}(?:\u200d{_SIGN})*|[{_WITH_VOWEL_SIGNS}][{_WITH_VOWEL_SIGNS}\u200c\u200d]*"
)
# Every frame is searched, and few have any of these.
_PERHAPS = re.compile(f"[{_WITH_VOWEL_SIGNS}\u200d\ufe0f\U0001f000-\U0001fbff]")
_SAVE, _RESTORE = "\x1b7", "\x1b8"


def visible_character(line: str, column: int) -> tuple[int, int]:
    """The start and the end of the grapheme cluster around a place; between two of them, the place itself.

    Extended grapheme clusters of UAX #29: letters with their marks, joined emoji, flags, and Indic conjuncts.
    """
    if line.isascii() or not 0 < column < len(line):
        return column, column
    from wcwidth import grapheme_boundary_before, iter_graphemes  # late: most prompts are ASCII

    start = grapheme_boundary_before(line, column)
    end = start + len(next(iter(iter_graphemes(line, start))))
    return (start, end) if end > column else (column, column)


def positioned(text: str) -> str:
    """What is sent to the terminal, with the cursor put where it belongs after each doubtful character or word.

    Its cells are blanked first, for a terminal in which it takes fewer of them.
    """
    return _DOUBTFUL.sub(_positioned, text) if _PERHAPS.search(text) else text


def _positioned(found: re.Match[str]) -> str:
    if (width := cell_len(found[0])) == 0:
        return found[0]
    # Saved twice, since some terminals forget a position that they have restored.
    return f"{_SAVE}{' ' * width}{_RESTORE}{_SAVE}{found[0]}{_RESTORE}\x1b[{width}C"
