"""Keys and keymaps: the keys of a binding, how people write them, what they type, and the problems of a keymap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from unicodedata import category

from textual.binding import Binding, BindingType
from textual.events import Event, Key, Paste

from workbench.core.errors import did_you_mean
from workbench.ui.kit.sanitize import clean


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
