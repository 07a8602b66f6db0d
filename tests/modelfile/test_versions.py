from __future__ import annotations

import pytest

from workbench.modelfile.versions import FOLLOWED, is_newer


@pytest.mark.parametrize(
    ("version", "newer"),
    [
        (FOLLOWED, False),
        ("0.33", False),
        ("v0.33.0", False),
        ("0.33.0-rc2", False),
        ("0.9.100", False),
        ("0.33.1", True),
        ("0.34.0-rc1", True),
        ("0.100", True),
        ("1", True),
        ("9" * 5000, True),
        ("x", False),
    ],
)
def test_what_is_newer(version: str, newer: bool) -> None:
    assert is_newer(version) is newer
