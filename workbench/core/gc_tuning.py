"""Tuning Python's garbage collector: no collections during the start, and few of the old generation afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

SELDOM = 200
"""Collections of the middle generation per collection of the old one, which may delay a key by 60 ms.

With Python's default of 10, the old generation is collected every three seconds while three answers stream.
"""


@contextmanager
def collect_later() -> Iterator[None]:
    """Disable collections until `collect_from_now`.

    Imports and the first screen make some 70,000 objects that stay; they would be traversed dozens of times.
    """
    thresholds = gc.get_threshold()
    gc.disable()
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.enable()


def collect_from_now() -> None:
    """Enable collections, leave out the existing objects, and collect the old generation seldom.

    Does nothing outside `collect_later`.
    """
    if not gc.isenabled():
        gc.freeze()
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, SELDOM)
        gc.enable()
