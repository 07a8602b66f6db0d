"""Folding of long pastes: a chip in the prompt and a row in the transcript stand for the text that the model gets."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import count

from workbench.core.prompt_text import PromptText, Range
from workbench.ui.kit import figures as fmt

FOLD_LINES = 8
"""Lines up to which a paste is put into the prompt as it is."""
FOLD_CHARACTERS = 600
"""Characters up to which a paste is put into the prompt as it is."""
LONG_LINES = 40
"""Lines up to which a message is shown in full where its pastes are unknown."""
LONG_CHARACTERS = 2_000
"""Characters up to which such a message is shown in full."""
HEAD, TAIL = (8, 600), (3, 300)
"""Lines and characters that are shown of the beginning and of the end of a longer one."""

_CHIP = re.compile(r"\[pasted(?: #\d+)?: [\d,]+ lines?, [\d,.]+ (?:[KMGT]i)?B\]")


def line_count(text: str) -> int:
    """The lines of a text; a final newline begins no line."""
    return text.count("\n") + (not text.endswith("\n"))


def is_long(text: str) -> bool:
    """Whether a paste is folded."""
    return len(text) > FOLD_CHARACTERS or line_count(text) > FOLD_LINES


def summary(text: str) -> str:
    """How long a text is, such as `42 lines, 1.9 KiB`."""
    size = fmt.size(len(text.encode("utf-8", "surrogatepass")))
    return f"{fmt.counted(line_count(text), 'line')}, {size}"


class Pastes:
    """The pasted texts by the chips that stand for them."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def fold(self, text: str) -> str:
        """The chip that stands for a text; the same one each time."""
        said = summary(text)
        for number in count(1):
            chip = f"[pasted: {said}]" if number == 1 else f"[pasted #{number}: {said}]"
            if self._texts.setdefault(chip, text) == text:
                return chip
        raise AssertionError("numbers do not end")

    def expand(self, text: str) -> str:
        """A text with its pastes in full. What only looks like a chip stays."""
        return _CHIP.sub(lambda chip: self._texts.get(chip[0], chip[0]), text)

    def expanded(self, text: str) -> PromptText:
        """A text with its pastes in full, and their places."""
        pastes: list[Range] = []
        longer = 0
        for start, end in self.chips(text):
            place, longer = start + longer, longer + len(self._texts[text[start:end]]) - (end - start)
            pastes.append((place, end + longer))
        return PromptText(self.expand(text), tuple(pastes))

    def folded(self, prompt: PromptText) -> str:
        """A text with chips that `expand` turns into `prompt.text`."""
        pieces: list[str] = []
        place = 0
        for start, end in prompt.pastes:
            pieces += (prompt.text[place:start], self.fold(prompt.text[start:end]))
            place = end
        folded = "".join([*pieces, prompt.text[place:]])
        # Typed text may look like the chip of a paste.
        return folded if self.expand(folded) == prompt.text else self.fold(prompt.text)

    def chips(self, text: str) -> list[Range]:
        """Where the chips of a text are."""
        return [chip.span() for chip in _CHIP.finditer(text) if chip[0] in self._texts]

    def found_in(self, text: str) -> list[Range]:
        """The places of the pastes in a text that holds them in full. Of two that overlap, the longer one counts."""
        if not self._texts or not is_long(text):
            return []
        found: list[Range] = []
        fitting = (paste for paste in self._texts.values() if len(paste) <= len(text))
        for paste in sorted(fitting, key=len, reverse=True):
            start = text.find(paste)
            while start >= 0:
                end = start + len(paste)
                if all(end <= other[0] or start >= other[1] for other in found):
                    found.append((start, end))
                start = text.find(paste, end)
        return sorted(found)

    def folds(self, text: str) -> Sequence[Range]:
        """The parts of a message that are folded: its pastes, else the middle of a long message."""
        return self.found_in(text) or middle(text)

    def fold_again(self, text: str) -> str:
        """A text with chips for the pastes in it."""
        for start, end in reversed(self.found_in(text)):
            text = text[:start] + self.fold(text[start:end]) + text[end:]
        return text


Folds = Callable[[str], Sequence[Range]]
"""Finds the parts of a message that are folded."""


def middle(text: str) -> list[Range]:
    """The folded part of a long message whose pastes are unknown; none of a shorter one."""
    if len(text) <= LONG_CHARACTERS and line_count(text) <= LONG_LINES:
        return []
    start = _cut(text, *HEAD)
    start += text.startswith("\n", start)
    rest = text[start:].rstrip("\n")
    end = start + len(rest) - _cut(rest[::-1], *TAIL)
    return [(start, end)] if start < end else []


def _cut(text: str, lines: int, characters: int) -> int:
    """Where the shown beginning of a text ends: after some lines, or within the first one if it is too long."""
    end = -1
    for _ in range(lines):
        following = text.find("\n", end + 1, characters)
        if following < 0:
            # Only the first line is cut; any other line that is too long is left out.
            return end if end > 0 else min(characters, len(text))
        end = following
    return end
