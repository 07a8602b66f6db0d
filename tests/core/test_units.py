"""Numbers of bytes as text."""

from __future__ import annotations

import pytest

from workbench.core.units import GIB, MIB, size_pair, size_text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "—"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (105_454_144, "100.6 MiB"),
        (999 * MIB, "999.0 MiB"),
        (1000 * MIB, "1.0 GiB"),
        (int(82.68 * GIB), "82.7 GiB"),
        (int(82.64 * GIB), "82.6 GiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_a_size_is_rounded_to_the_nearest_tenth_of_a_binary_unit(count: int | None, text: str) -> None:
    assert size_text(count) == text


def test_a_pair_has_the_unit_of_the_whole() -> None:
    assert size_pair(85_454_144, 105_454_144) == "81.5 of 100.6 MiB"
    assert size_pair(3 * MIB, 24 * GIB, "/") == "0.0/24.0 GiB"
    assert size_pair(None, GIB) == "— of 1.0 GiB"
    assert size_pair(GIB, None) == "1.0 GiB of —"
