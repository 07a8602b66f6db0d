"""The command palette: every action that works here and now, by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from textual.command import DiscoveryHit, Hit, Hits, Provider

SKIPPED = frozenset({"command_palette"})


@dataclass(frozen=True, slots=True)
class PaletteEntry:
    """An action."""

    name: str
    help: str
    run: Callable[[], object]


@runtime_checkable
class PaletteSource(Protocol):
    """A screen with actions that are no bindings of its own."""

    def palette_entries(self) -> Iterable[PaletteEntry]:
        """The actions, in the order of the list."""


class ActionProvider(Provider):
    """Offers the bindings in force, with their keys, and the entries of the screen."""

    def _entries(self) -> Iterator[PaletteEntry]:
        seen = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if not binding.id or binding.action in SKIPPED or binding.id in seen or not active.enabled:
                continue
            seen.add(binding.id)
            namespace = "" if "." in binding.action else ("app." if active.node is self.app else "screen.")
            if active.node in (self.app, self.screen):
                name = f"{binding.description}  ({self.app.get_key_display(binding)})"
                run = partial(self.app.run_action, f"{namespace}{binding.action}")
                yield PaletteEntry(name, binding.tooltip, run)
        if isinstance(self.screen, PaletteSource):
            yield from self.screen.palette_entries()

    async def discover(self) -> Hits:
        for entry in self._entries():
            yield DiscoveryHit(entry.name, entry.run, help=entry.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for entry in self._entries():
            score = max(matcher.match(entry.name), matcher.match(entry.help) * 0.8)
            if score > 0:
                yield Hit(score, matcher.highlight(entry.name), entry.run, help=entry.help)
