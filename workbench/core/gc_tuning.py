"""Garbage collection: deferred while the program starts, and rare among the objects that stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

SELDOM = 200
"""Collections of the middle generation between two full ones, each of which may block a key for 60 ms.

With Python's default of 10 that happens every three seconds while three answers stream.
"""


@contextmanager
def collect_later() -> Iterator[None]:
    """Collect nothing inside the `with` block until `collect_from_now`.

    Imports and the first screen make about seventy thousand objects that stay; dozens of collections would visit them.
    """
    thresholds = gc.get_threshold()
    gc.disable()
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.enable()


def collect_from_now() -> None:
    """Collect what becomes garbage from now on; the present objects are taken to stay.

    Does nothing unless collection is deferred.
    """
    if not gc.isenabled():
        gc.freeze()
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, SELDOM)
        gc.enable()
