"""The files that CONTRIBUTING.md and the pages of docs/ name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_files_that_a_page_names_exist(page):
    named = re.findall(r"`([a-z_]+/[a-z_/]+\.(?:py|tcss|toml))`", page.read_text(encoding="utf-8"))
    bases = (ROOT, ROOT / "workbench", ROOT / "workbench/ui")
    assert [path for path in named if not any((base / path).exists() for base in bases)] == []
