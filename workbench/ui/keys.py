"""Keys and keymaps: the keys of a binding, how people write them, what they type, and the problems of a keymap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from unicodedata import category

from textual.binding import Binding, BindingType
from textual.events import Event, Key, Paste
from textual.screen import Screen
from textual.widgets import Input, TextArea

from workbench.core.errors import did_you_mean
from workbench.ui.kit.sanitize import clean


def key(
    name: str, keys: str, label: str, tooltip: str, *, action: str = "", show: bool = True, priority: bool = False
) -> Binding:
    """A binding with the id `name`, such as `models.load`; its action is the part after the dot, or `action`."""
    action = action or name.partition(".")[2]
    return Binding(keys, action, label, id=name, tooltip=tooltip, show=show, priority=priority)


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """The bindings of one part of the screen."""

    title: str
    """The part, as the help names it."""
    bindings: tuple[Binding, ...]
    everywhere: bool = False
    """Whether they work everywhere, so that no other binding may use their keys."""

    @classmethod
    def of(cls, title: str, bindings: Iterable[BindingType], *, everywhere: bool = False) -> KeyGroup:
        """A group of the bindings with an id."""
        own = tuple(binding for binding in bindings if isinstance(binding, Binding) and binding.id)
        return cls(title, own, everywhere)


MEANINGS: Mapping[str, frozenset[str]] = {
    key: frozenset(names.split(", "))
    for key, names in {
        "f1": "Help",
        "f2": "Chat",
        "f3": "Race",
        "f4": "Models",
        "f5": "Bench",
        "f6": "Settings, Done",
        "f7": "Export, Save as defaults",
        "f8": "Theme",
        "f9": "Run, Reload, Reload now",
        "f10": "What is wrong",
        "f11": "Evals",
        "f12": "Log",
        "ctrl+o": "Model, Add lane, Add model",
        "ctrl+r": "Sessions, Earlier, Default",
        "j": "Down, Next",
        "k": "Up, Previous",
        "g": "Top",
        "G": "End",
        "slash": "Search",
        "s": "Sort",
        "S": "Reverse",
        "f": "Filter",
        "space": "Mark, Fold, Page down, Show all",
        "d": "Delete",
        "n": "Next",
        "p": "Previous",
        "x": "Remove, Stop",
        "y": "Copy, Copy path, Yes",
        "question_mark": "Help",
    }.items()
}
"""What a key does, wherever it does anything: the names that its bindings may have."""


def keys_of(binding: Binding, keymap: Mapping[str, str]) -> list[str]:
    """The keys of a binding under a keymap."""
    text = keymap.get(binding.id or "", binding.key)
    return [key.strip() for key in text.split(",") if key.strip()]


_NAMES = {
    "escape": "Esc",
    "enter": "Enter",
    "space": "Space",
    "tab": "Tab",
    "backspace": "Backspace",
    "delete": "Del",
    "slash": "/",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "number_sign": "#",
    "right_curly_bracket": "}",
    "exclamation_mark": "!",
    "question_mark": "?",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
}


def spoken(key: str) -> str:
    """A key as people write it: `Ctrl+O`, `F6`, `Esc`."""
    *modifiers, last = key.split("+")
    name = _NAMES.get(last, last.upper() if len(last) <= 3 else last.capitalize())
    if len(last) == 1 and not modifiers:
        name = last
    return "+".join([*(modifier.capitalize() for modifier in modifiers), name])


def as_text(event: Event) -> Event:
    """A key that types a character which Textual drops, as a paste of this character; any other event as it is.

    Python counts as unprintable, and Textual drops, what keyboards type all the same: joiners, no-break and ideographic
    spaces, marks of direction, and characters that are newer than Python's tables.
    """
    if not isinstance(event, Key) or event.character is None or event.is_printable:
        return event
    is_control = any(category(character) == "Cc" for character in event.character)
    return event if is_control or clean(event.character) != event.character else Paste(event.character)


def keymap_problems(groups: Sequence[KeyGroup], keymap: Mapping[str, str]) -> list[str]:
    """The problems of a keymap: unknown ids, and keys that two actions of one group share."""
    known = {binding.id for group in groups for binding in group.bindings if binding.id}
    problems = [
        f"Keymap: there is no action {name!r}. {did_you_mean(name, known)}".rstrip()
        for name in keymap
        if name not in known
    ]
    for group in groups:
        owners: dict[str, Binding] = {}
        places = [other for other in groups if other is group or other.everywhere]
        for binding in (binding for place in places for binding in place.bindings):
            for key in keys_of(binding, keymap):
                other = owners.setdefault(key, binding)
                moved = keymap.keys() & {binding.id, other.id}
                if other.id != binding.id and moved:
                    problems.append(f"Keymap: {key!r} is used by {other.id!r} and by {binding.id!r}.")
    return list(dict.fromkeys(problems))


_WHAT_IF = "Keys that try other settings work in the panel now: Tab goes there."
MOVED: Mapping[str, Mapping[str, str]] = {
    "race": {"f9": "One after the other, or side by side: in the settings now (F6)."},
    "models": {
        **dict.fromkeys(("left_square_bracket", "right_square_bracket", "plus", "minus", "v", "a", "b", "i"), _WHAT_IF),
        "x": _WHAT_IF,
        "n": _WHAT_IF,
        "p": "Places that could not be read: ! now.",
    },
    "LaneScroll": {"d": "Word by word: w now.", "s": "Stop this lane: t now."},
    "AnswerTurn": {"g": "Continue: c now.", "p": "Replay: v now.", "l": "Lens: L now."},
    "SessionRows": {"n": "Name: e now.", "p": "Keep above the others: t now."},
    "PagesScreen": {"r": "Reverse the order: S now."},
}
"""What is said about a key, by the screen, or by the widget that has the focus."""


class MovedKeys:
    """Says once about each key that it has another meaning now."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._said: set[str] = set()

    def look(self, screen: Screen[object], key: str) -> None:
        """Say where the action is that a pressed key once had."""
        focused = screen.focused
        if isinstance(focused, Input | TextArea) and len(key) == 1:
            return
        for place in (screen.id or "", type(screen).__name__, type(focused).__name__):
            text = MOVED.get(place, {}).get(key, "")
            if text and text not in self._said and type(focused).__name__ != "FitPanel":
                self._said.add(text)
                self._say(text)
