"""The palette: every action that works here and now, by its name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.binding import Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider

from workbench.ui.chat.commands import OF_MESSAGES, SLASHES, WITHOUT_A_KEY
from workbench.ui.transcript.turns import TurnLines

SKIPPED = frozenset({"command_palette"})


class ActionProvider(Provider):
    """Offers the actions of the bindings in force, with their keys."""

    def _actions(self) -> Iterator[tuple[str, str, str]]:
        """Name, help and action of each."""
        seen = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if not binding.id or binding.action in SKIPPED or binding.id in seen or not active.enabled:
                continue
            seen.add(binding.id)
            key = self.app.get_key_display(binding)
            namespace = "" if "." in binding.action else ("app." if active.node is self.app else "screen.")
            if active.node in (self.app, self.screen):
                yield f"{binding.description}  ({key})", binding.tooltip, f"{namespace}{binding.action}"

        if self.screen.id == "chat":
            bindings = {each.id: each for each in TurnLines.BINDINGS if isinstance(each, Binding)}
            for name, title in OF_MESSAGES:
                key = self.app.get_key_display(bindings[name])
                yield f"{title}  ({key})", bindings[name].tooltip, bindings[name].action
            yield from WITHOUT_A_KEY
            for each in SLASHES:
                # The others are actions, which are listed by their own names.
                if each.usage:
                    yield f"{each.line} …", each.help, f"screen.type('/{each.name} ')"

    async def discover(self) -> Hits:
        """All of them, before anything is typed."""
        for name, text, action in self._actions():
            yield DiscoveryHit(name, partial(self.app.run_action, action), help=text)

    async def search(self, query: str) -> Hits:
        """Those whose name or help matches."""
        matcher = self.matcher(query)
        for name, text, action in self._actions():
            score = max(matcher.match(name), matcher.match(text) * 0.8)
            if score > 0:
                yield Hit(score, matcher.highlight(name), partial(self.app.run_action, action), help=text)
