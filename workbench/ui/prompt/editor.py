"""Edits a text in the user's own editor."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

from workbench.core.errors import TargetError

EDITORS = ("nano", "vi", "notepad.exe")
"""Tried in this order where no editor is named."""


def editor_command() -> list[str]:
    """The command of the user's editor. Raises TargetError where none is found, or the named one is no command."""
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        words = shlex.split(named)
    except ValueError as error:
        hint = "Set it to the name of a program, such as nano."
        raise TargetError(f"$EDITOR is not a command: {named!r}.", hint) from error
    if words:
        if shutil.which(words[0]) is None:
            raise TargetError(f"The editor {words[0]!r} was not found.", "Set $VISUAL or $EDITOR to another one.")
        return words
    for name in EDITORS:
        if shutil.which(name) is not None:
            return [name]
    raise TargetError("No editor was found.", "Set $VISUAL or $EDITOR, such as EDITOR=nano.")


async def edit_outside(app: App[Any], text: str) -> str | None:
    """Edit `text` in an external editor, which gets the terminal meanwhile; None after an error, which is shown."""
    try:
        command = editor_command()
        folder = Path(tempfile.mkdtemp(prefix="workbench-"))
    except (TargetError, OSError) as error:
        app.notify(str(error), severity="warning")
        return None
    path = folder / "prompt.md"
    try:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        # Running answers continue and are stored; nothing may be drawn over the editor.
        with app.batch_update(), app.suspend():
            done = await asyncio.to_thread(subprocess.run, [*command, str(path)], check=False)
        app.refresh(layout=True)
        if done.returncode:
            app.notify(f"{command[0]} ended with {done.returncode}: the text is unchanged.")
            return None
        return path.read_text(encoding="utf-8", errors="replace").rstrip("\n")
    except SuspendNotSupported:
        app.notify("This terminal cannot be handed to an editor.", severity="warning")
    except OSError as error:
        app.notify(f"The editor failed: {error}", severity="warning")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None
