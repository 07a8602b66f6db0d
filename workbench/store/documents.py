"""Documents in files: kept runs, replaced as a whole, and exports under a free name."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from workbench.core.errors import WorkbenchError
from workbench.store.files import not_written, random_name, replace_file, write_new_file


def new_id(clock: Callable[[], float] = time.time) -> str:
    """An id that nothing else has, and that sorts by time: `260101-120000-ab12`."""
    return f"{time.strftime('%y%m%d-%H%M%S', time.gmtime(clock()))}-{random_name(2)}"


def keep_json(path: Path, document: Mapping[str, object], kind: type[WorkbenchError], what: str, hint: str) -> None:
    """Write a document, in the place of an earlier state of it; raises an error of a kind where that fails."""
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    try:
        replace_file(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise kind(f"The {what} cannot be kept in {path}: {error.strerror or error}.", hint) from error


async def write_document(path: Path, text: str) -> Path:
    """Write `text` to `path`, or to a numbered name beside it where that is taken; gives the path written.

    Raises:
        TargetError: It cannot be written.
    """
    try:
        return await asyncio.to_thread(write_new_file, path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise not_written(str(path), error, "Name a file in a folder of your own.") from error
