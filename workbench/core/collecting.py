"""When Python looks for garbage among its objects: not while the program starts, and not among what stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collecting_later() -> Iterator[None]:
    """Within it nothing is collected until `collect_from_now`: what a start makes stays, and walking it is dear.

    Imports and the first screen make some seventy thousand objects, which would be walked through dozens of times.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def collect_from_now() -> None:
    """Collect what becomes garbage from now on; what is there already is taken to stay and not looked at again.

    Does nothing where collecting was not put off.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
