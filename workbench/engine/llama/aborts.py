"""Callbacks for native aborts, in a module that does not load the native library."""

from __future__ import annotations

from collections.abc import Callable

abort_hooks: list[Callable[[str], None]] = []
"""Called with the message of a failed native assertion, in whichever thread it failed, before the process dies."""
