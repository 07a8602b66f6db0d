from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from workbench.store.prompts import MOST, PromptFolder


async def test_prompts_come_back_in_order_and_as_they_were(tmp_path: Path) -> None:
    texts = ["one", "two\nlines", 'quotes " and \\ and \u2028 and 🙂', "lone \udcff surrogate"]
    book = PromptFolder(tmp_path / "new" / "folder")
    assert await book.recall() == []
    for text in texts:
        await book.keep(text)
    assert await PromptFolder(tmp_path / "new" / "folder").recall() == texts


async def test_two_programs_add_to_one_history(tmp_path: Path) -> None:
    one, two = PromptFolder(tmp_path), PromptFolder(tmp_path)
    await one.keep("a")
    await two.keep("b")
    await one.keep("c")
    assert await two.recall() == ["a", "b", "c"]


async def test_the_history_is_cut_and_broken_lines_are_left_out(tmp_path: Path) -> None:
    book = PromptFolder(tmp_path)
    file = tmp_path / "history.jsonl"
    file.write_text("".join(f'"{number}"\n' for number in range(2 * MOST + 5)) + '{"no": 1}\n"half')
    found = await book.recall()
    assert found[-1] == str(2 * MOST + 4)
    assert len(found) == MOST - 2
    assert len(file.read_text().splitlines()) == len(found)
    await book.keep("next")
    assert (await book.recall())[-1] == "next"


async def test_what_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    book = PromptFolder(blocked)
    await book.keep("a")
    await book.keep_draft("a")
    assert await book.recall() == []
    assert await book.lost_drafts() == []


async def test_a_draft_is_nobody_elses_while_its_program_lives(tmp_path: Path) -> None:
    book = PromptFolder(tmp_path)
    await book.keep_draft("")
    assert not (tmp_path / "drafts").exists()
    await book.keep_draft("a long text")
    await book.keep_draft("short")
    assert await PromptFolder(tmp_path).lost_drafts() == []
    (file,) = (tmp_path / "drafts").iterdir()
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("short", 0o600)


async def test_the_draft_of_a_program_that_died_is_told_once(tmp_path: Path) -> None:
    code = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from workbench.store.prompts import PromptFolder\n"
        "asyncio.run(PromptFolder(Path(sys.argv[1])).keep_draft('half a quest'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=os.environ, check=False)
    assert done.returncode == -9
    book = PromptFolder(tmp_path)
    assert await book.lost_drafts() == ["half a quest"]
    assert await book.lost_drafts() == []
