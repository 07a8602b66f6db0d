"""The palette: every action that works here and now, by its name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.binding import Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider

from workbench.ui.chat.commands import SLASHES
from workbench.ui.transcript.turns import TurnLines

SKIPPED = frozenset({"command_palette"})
OF_MESSAGES = (
    ("turn.regenerate", "Ask again: another answer"),
    ("turn.edit", "Edit a message"),
    ("turn.continue", "Go on with an answer that was cut off"),
    ("turn.branch_before", "Go to the branch before"),
    ("turn.branch_after", "Go to the branch after"),
    ("turn.delete", "Delete a message"),
    ("turn.undo", "Undo the last change of the conversation"),
    ("turn.redo", "Redo the change that was undone"),
    ("turn.replay", "Replay an answer"),
)
"""The bindings of messages, which work here on the one that has the focus or on the last one."""
WITHOUT_A_KEY = (
    ("Sessions", "Show, search and open the stored sessions.", "screen.sessions"),
    ("Copy the conversation", "Copy all messages of this branch as Markdown.", "screen.copy_conversation"),
    (
        "Copy the conversation to a file",
        "Write all messages of this branch to a file.",
        "screen.copy_conversation(True)",
    ),
    ("Copy code", "Copy a block of code of the last answer; done again, the next one.", "screen.copy_code"),
    ("Copy code to a file", "Write the block of code that was copied last to a file.", "screen.copy_code(True)"),
    ("Copy the last answer", "Copy what the model wrote last to the clipboard.", "screen.copy_answer"),
    ("Copy the last answer to a file", "Write what the model wrote last to a file.", "screen.copy_answer(True)"),
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
