from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.core.errors import TargetError
from workbench.core.prompt_text import PromptText
from workbench.store.prompts import MOST, PromptFolder

PASTED = PromptText("look: é\udcff\nlong\nlong, and more", ((6, 18),))


async def test_prompts_come_back_in_order_and_as_they_were(tmp_path: Path) -> None:
    texts = ["one", "two\nlines", 'quotes " and \\ and \u2028 and 🙂', "lone \udcff surrogate"]
    book = PromptFolder(tmp_path / "new" / "folder")
    assert await book.recall() == []
    for text in texts:
        await book.keep(PromptText(text))
    assert await PromptFolder(tmp_path / "new" / "folder").recall() == [PromptText(text) for text in texts]


async def test_two_programs_add_to_one_history(tmp_path: Path) -> None:
    one, two = PromptFolder(tmp_path), PromptFolder(tmp_path)
    await one.keep(PromptText("a"))
    await two.keep(PASTED)
    await one.keep(PromptText("c"))
    assert await two.recall() == [PromptText("a"), PASTED, PromptText("c")]


async def test_windows_has_no_pwrite(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delattr(os, "pwrite", raising=False)
    book = PromptFolder(tmp_path)
    for prompt in (PromptText("one"), PASTED):
        await book.keep(prompt)
        await book.keep_draft(prompt)
    assert await book.recall() == [PromptText("one"), PASTED]
    (draft,) = (tmp_path / "drafts").glob("*.txt")
    assert draft.read_bytes().decode("utf-8", "surrogatepass") == PASTED.text


async def test_the_history_is_cut_and_broken_lines_are_left_out(tmp_path: Path) -> None:
    book = PromptFolder(tmp_path)
    file = tmp_path / "history.jsonl"
    file.write_text("".join(f'"{number}"\n' for number in range(2 * MOST + 5)) + '{"no": 1}\n"half')
    found = await book.recall()
    assert found[-1].text == str(2 * MOST + 4)
    assert len(found) == MOST - 2
    assert len(file.read_text().splitlines()) == len(found)
    await book.keep(PASTED)
    assert (await book.recall())[-1] == PASTED


async def test_what_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    book = PromptFolder(blocked)
    with pytest.raises(TargetError, match=re.escape(str(blocked))):
        await book.keep(PromptText("a"))
    with pytest.raises(TargetError, match="is not stored"):
        await book.keep_draft(PASTED)
    assert await book.recall() == []
    assert await book.lost_drafts() == []


@pytest.mark.parametrize("left", ['"half', '{"text": "half', "\xff"])
async def test_a_line_that_was_cut_off_takes_no_other_with_it(tmp_path: Path, left: str) -> None:
    book = PromptFolder(tmp_path)
    await book.keep(PromptText("before"))
    with (tmp_path / "history.jsonl").open("a", encoding="latin-1") as file:
        file.write(left)
    await book.keep(PromptText("after"))
    assert [prompt.text for prompt in await book.recall()] == ["before", "after"]


async def test_a_program_that_shortens_the_history_loses_nothing_that_another_adds(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    one, two = PromptFolder(tmp_path), PromptFolder(tmp_path)
    for number in range(20):
        file.write_text('"old"\n' * (2 * MOST + 5))
        await asyncio.gather(one.recall(), *(two.keep(PromptText(f"new {number}")) for _ in range(3)))
        assert [prompt.text for prompt in await two.recall()][-3:] == [f"new {number}"] * 3


async def test_a_lost_draft_is_a_kept_prompt_before_its_file_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts = tmp_path / "drafts"
    drafts.mkdir()
    (drafts / "dead.txt").write_text("half a question")
    book = PromptFolder(tmp_path)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(OSError("killed here")))
    assert await book.lost_drafts() == [PromptText("half a question")]
    assert await book.recall() == [PromptText("half a question")]


async def test_a_draft_is_nobody_elses_while_its_program_lives(tmp_path: Path) -> None:
    book = PromptFolder(tmp_path)
    await book.keep_draft(PromptText(""))
    assert not (tmp_path / "drafts").exists()
    await book.keep_draft(PASTED)
    await book.keep_draft(PromptText("short"))
    assert await PromptFolder(tmp_path).lost_drafts() == []
    (file,) = (tmp_path / "drafts").iterdir()
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("short", 0o600)


async def test_the_draft_of_a_program_that_died_is_told_once(tmp_path: Path) -> None:
    code = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from workbench.core.prompt_text import PromptText\n"
        "from workbench.store.prompts import PromptFolder\n"
        "prompt = PromptText('half a quest', ((5, 7),))\n"
        "asyncio.run(PromptFolder(Path(sys.argv[1])).keep_draft(prompt))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=os.environ, check=False)
    assert done.returncode == -9
    book = PromptFolder(tmp_path)
    assert await book.lost_drafts() == [PromptText("half a quest", ((5, 7),))]
    assert await book.lost_drafts() == []
    assert list((tmp_path / "drafts").iterdir()) == []


async def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text('"one"\n"two\\nlines"\n')
    (tmp_path / "drafts").mkdir()
    (tmp_path / "drafts/0123456789ab.txt").write_text("half\na quest")
    book = PromptFolder(tmp_path)
    assert await book.recall() == [PromptText("one"), PromptText("two\nlines")]
    assert await book.lost_drafts() == [PromptText("half\na quest")]


@pytest.mark.parametrize(
    "pastes",
    ["[[0, 99]]", "[[2, 1]]", "[[-1, 2]]", "[[0, 2], [1, 3]]", "[[0]]", '["ab"]', '[["0", 1]]', "[[0, 2, 3]]", "[0]"],
)
async def test_pastes_that_cannot_be_there_are_left_out(tmp_path: Path, pastes: str) -> None:
    (tmp_path / "history.jsonl").write_text(f'{{"text": "abcd", "pastes": {pastes}}}\n{{"text": 1, "pastes": []}}\n')
    assert await PromptFolder(tmp_path).recall() == [PromptText("abcd")]


@pytest.mark.parametrize(
    ("suffix", "data"),
    [(".txt", b"another te"), (".txt", b"Look: \xff"), (".pastes", b'{"bytes": 2'), (".pastes", b"[" * 100_000)],
)
async def test_pastes_of_another_text_are_left_out_and_the_text_stays(tmp_path: Path, suffix: str, data: bytes) -> None:
    code = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from workbench.core.prompt_text import PromptText\n"
        "from workbench.store.prompts import PromptFolder\n"
        "asyncio.run(PromptFolder(Path(sys.argv[1])).keep_draft(PromptText('some text', ((5, 9),))))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    (file,) = (tmp_path / "drafts").glob(f"*{suffix}")
    file.write_bytes(data)
    expected = data.decode("utf-8", "replace") if suffix == ".txt" else "some text"
    assert await PromptFolder(tmp_path).lost_drafts() == [PromptText(expected)]


async def test_the_pastes_of_a_draft_are_private_and_go_with_it(tmp_path: Path) -> None:
    book = PromptFolder(tmp_path)
    await book.keep_draft(PASTED)
    modes = {file.suffix: file.stat().st_mode & 0o777 for file in (tmp_path / "drafts").iterdir()}
    assert modes == {".txt": 0o600, ".pastes": 0o600}
    await book.keep_draft(PromptText(""))
    assert [file.suffix for file in (tmp_path / "drafts").iterdir()] == [".txt"]
