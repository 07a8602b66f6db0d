"""Keys that come faster than they are worked on."""

from __future__ import annotations

from textual.events import Key
from textual.widget import Widget

from workbench.ui._compat import bindings_of


async def run_own_binding(widget: Widget, event: Key) -> None:
    """Run the binding that a widget itself has for a key, at once.

    Textual looks for bindings only after a key has bubbled from the widget up to the app. By then, letters that were
    typed after it are in the text, and a backspace would delete one of those.
    """
    for binding in bindings_of(widget, event.key):
        if not binding.priority:
            event.stop()
            event.prevent_default()
            await widget.app.run_action(binding.action, widget)
            return
