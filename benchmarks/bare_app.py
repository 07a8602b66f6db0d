"""The least that a Textual program can be: what the first paint of `workbench` is held against."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.widgets import Footer, Header, Static


class BareApp(App[None]):
    """A header, a line of text and a footer."""

    TITLE = "bare"
    BINDINGS = [("q", "quit", "Quit")]  # noqa: RUF012 - as Textual's own examples have it

    def compose(self) -> ComposeResult:
        """What is on the screen."""
        yield Header()
        yield Static("ready")
        yield Footer()


if __name__ == "__main__":
    BareApp().run()
