"""The CUDA wheels that llama-cpp-python publishes, and which of them a machine can use.

`scripts/bootstrap.py` imports this module before anything is installed: standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable

CUDA_INDEXES = {
    version: "cu{}{}".format(*version)
    for version in ((11, 8), (12, 1), (12, 2), (12, 3), (12, 4), (12, 5), (13, 0), (13, 2))
}
"""Names of the wheel indexes by CUDA version."""
_CAPABILITIES = {11: ((6, 0), (8, 9)), 12: ((6, 0), (99, 0)), 13: ((7, 5), (99, 0))}
"""The lowest and the highest compute capability that the wheels of a CUDA major version support."""


def newest_index(cuda: tuple[int, int], capabilities: Iterable[tuple[int, int]] = ()) -> str | None:
    """The index of the newest wheels for a CUDA version and GPUs of these compute capabilities; None if none fits."""
    wanted = tuple(capabilities)
    for version, name in reversed(CUDA_INDEXES.items()):
        low, high = _CAPABILITIES[version[0]]
        if version <= cuda and all(low <= capability <= high for capability in wanted):
            return name
    return None
