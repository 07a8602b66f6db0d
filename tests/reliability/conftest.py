"""How much is tried: a sample that takes seconds in `make test`, and as much as asked for in `make soak`."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

MUTANTS = 120
"""Mutants of model files in `make test`; the other numbers of cases grow in proportion to this one."""


@pytest.fixture(scope="session")
def cases() -> Callable[[int], int]:
    """The number of random cases in place of the given one, for as many mutants as the variable SOAK_CASES says."""
    mutants = int(os.environ.get("SOAK_CASES") or MUTANTS)
    return lambda few: max(few * mutants // MUTANTS, 1)


@pytest.fixture(scope="session")
def seed() -> str:
    """The seed of the random cases, from the variable SOAK_SEED."""
    return os.environ.get("SOAK_SEED", "1")
