"""Prompts and drafts on a disk that fills up: a single write then stores a part, and reports no error."""

from __future__ import annotations

import pytest

from tests.reliability.disks import mounted
from workbench.core.errors import DiskFullError
from workbench.core.prompt_text import PromptText
from workbench.store.prompts import PromptFolder

LONG = "a much longer text " * 4_000


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk", 2**20) as found:
        yield found


@pytest.mark.parametrize("left", [0, 4096, 20_000])
async def test_a_prompt_that_does_not_fit_harms_no_other(disk, left):
    book = PromptFolder(disk.folder / "prompts")
    await book.keep(PromptText("before"))
    disk.fill(left)
    with pytest.raises(DiskFullError, match="No space left"):
        await book.keep(PromptText(LONG))
    assert await book.recall() == [PromptText("before")]
    disk.free()
    await book.keep(PromptText("after"))
    assert await book.recall() == [PromptText("before"), PromptText("after")]


@pytest.mark.parametrize("left", [0, 4096, 20_000])
async def test_a_draft_that_does_not_fit_leaves_the_earlier_one(disk, left):
    book = PromptFolder(disk.folder / "prompts")
    await book.keep_draft(PromptText("the first words"))
    disk.fill(left)
    with pytest.raises(DiskFullError) as failure:
        await book.keep_draft(PromptText(LONG))
    assert "not stored" in failure.value.message
    (file,) = (disk.folder / "prompts" / "drafts").glob("*.txt")
    assert file.read_text() == "the first words"
    disk.free()
    await book.keep_draft(PromptText(LONG))
    assert file.read_text() == LONG
