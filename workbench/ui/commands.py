"""The palette: every action that works here and now, by its name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from workbench.ui.slash import SLASHES

SKIPPED = frozenset({"command_palette"})
WITHOUT_A_KEY = (
    ("Copy the last answer", "Copy what the model wrote last to the clipboard.", "screen.copy_answer"),
    ("Save the settings as defaults", "Use them for every new conversation.", "screen.save_defaults"),
    ("Inspect the model", "Show everything that the file of the open model says of itself.", "app.inspect_model"),
    ("Quantize the model", "Make another quantization of the open model.", "app.quantize_model"),
)
"""Actions of the conversation that have no key of their own."""


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
