"""The command palette: every action that works here and now, by its name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.app import SystemCommand
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.widgets import Input

from workbench.ui.kit.text import plain

SKIPPED = frozenset({"command_palette"})


class ActionProvider(Provider):
    """Offers the bindings in force, with their keys, and the system commands of the program."""

    def _entries(self) -> Iterator[SystemCommand]:
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
                yield SystemCommand(name, binding.tooltip, run)
        yield from self.app.get_system_commands(self.screen)

    async def discover(self) -> Hits:
        for entry in self._entries():
            title = plain(entry.title)
            yield DiscoveryHit(title, entry.callback, title.plain, plain(entry.help).markup)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for entry in self._entries():
            score = max(matcher.match(entry.title), matcher.match(entry.help) * 0.8)
            if score > 0:
                title = matcher.highlight(plain(entry.title).markup)
                yield Hit(score, title, entry.callback, help=plain(entry.help).markup)


class Palette(CommandPalette):
    """The palette; its cursor does not blink, as no other one does."""

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False
