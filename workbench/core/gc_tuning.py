"""When Python looks for garbage among its objects: not while the program starts, and not among what stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

SELDOM = 200
"""After so many looks at the middle generation all objects are looked at, which may hold a key up for 60 ms.

With Python's own 10 that is every three seconds while three answers stream.
"""


@contextmanager
def collect_later() -> Iterator[None]:
    """Within it nothing is collected until `collect_from_now`: what a start makes stays, and walking it is dear.

    Imports and the first screen make some seventy thousand objects, which would be walked through dozens of times.
    """
    thresholds = gc.get_threshold()
    gc.disable()
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.enable()


def collect_from_now() -> None:
    """Collect what becomes garbage from now on, and look seldom at what is old; what is there already is taken to stay.

    Does nothing where collecting was not put off.
    """
    if not gc.isenabled():
        gc.freeze()
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, SELDOM)
        gc.enable()
