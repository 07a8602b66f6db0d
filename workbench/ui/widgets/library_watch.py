"""Letting the screens know that the models of the machine have changed."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol, runtime_checkable

from textual.app import App

from workbench.core.errors import WorkbenchError
from workbench.core.models import Catalog, LibraryView


@runtime_checkable
class ShowsLibrary(Protocol):
    """A screen that lists models."""

    def library_changed(self, view: LibraryView) -> None:
        """Show what a scan has found."""


async def search_again(app: App[None], catalog: Catalog) -> None:
    """Look for models again, and show what is found on every screen that lists them."""
    with suppress(WorkbenchError):
        async for view in catalog.watch(again=True):
            for screen in app.screen_stack:
                if isinstance(screen, ShowsLibrary):
                    screen.library_changed(view)
