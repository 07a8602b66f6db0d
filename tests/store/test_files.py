from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from workbench.core.errors import TargetError
from workbench.store.files import (
    ABANDONED_AFTER_S,
    make_folder,
    make_private,
    remove_abandoned,
    replace_file,
    write_copy,
    write_new_file,
)


def noon() -> float:
    return time.mktime((2026, 11, 21, 12, 30, 5, 0, 0, -1))


def test_each_copy_is_a_private_file_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    old = os.umask(0)
    try:
        first, second = write_copy(folder, "eins\n", noon), write_copy(folder, "zwei ü\ud800", noon)
    finally:
        os.umask(old)
    assert (first.name, second.name) == ("copied-20261121-123005.txt", "copied-20261121-123005-2.txt")
    assert (first.read_bytes(), second.read_bytes()) == (b"eins\n", "zwei ü?".encode())
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert len(list(folder.iterdir())) == 2


def test_what_cannot_be_written_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "exports").write_text("in the way")
    with pytest.raises(TargetError, match="cannot be written"):
        write_copy(tmp_path / "exports", "text", noon)
    assert [path.name for path in tmp_path.iterdir()] == ["exports"]


def modes(folder: Path) -> dict[str, int]:
    """The permissions of everything below a folder, and of itself."""
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode)
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink()
    }


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
@pytest.mark.parametrize("links", [True, False])
def test_new_files_and_folders_are_the_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    tmp_path.chmod(0o755)
    old = os.umask(0)
    try:
        write_new_file(tmp_path / "a" / "b" / "new.md", b"x")
        write_new_file(tmp_path / "a" / "b" / "new.md", b"x")
        replace_file(tmp_path / "c" / "d" / "kept.json", b"x")
    finally:
        os.umask(old)
    assert modes(tmp_path) == {
        ".": 0o755, "a": 0o700, "a/b": 0o700, "a/b/new.md": 0o600, "a/b/new-2.md": 0o600,
        "c": 0o700, "c/d": 0o700, "c/d/kept.json": 0o600,
    }  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_old_files_become_the_owners_alone(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "races", tmp_path / "elsewhere"
    for path in (folder / "below", elsewhere):
        path.mkdir(parents=True, mode=0o755)
    for path, mode in ((folder / "a.json", 0o664), (folder / "b.json", 0o400), (elsewhere / "c.json", 0o644)):
        path.write_text("x")
        path.chmod(mode)
    (folder / "link.json").symlink_to(elsewhere / "c.json")
    (tmp_path / "linked").symlink_to(elsewhere)
    make_private([tmp_path / "none", folder, tmp_path / "linked" / "none", folder])
    assert modes(folder) == {".": 0o700, "a.json": 0o600, "b.json": 0o400, "below": 0o755}
    assert stat.S_IMODE((elsewhere / "c.json").stat().st_mode) == 0o644


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        make_folder(tmp_path / "file" / "below")


def test_without_hard_links_no_part_of_a_file_has_its_name_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no hard links")))
    seen = []
    replace = Path.replace

    def watched(source: Path, target: Path) -> Path:
        seen.append((source.read_bytes(), target.read_bytes()))
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", watched)
    assert write_new_file(tmp_path / "a.md", b"all of it").read_bytes() == b"all of it"
    assert seen == [(b"all of it", b"")]

    def full(*_: object) -> Path:
        raise OSError("killed here")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="killed here"):
        write_new_file(tmp_path / "b.md", b"all of it")
    assert [path.name for path in tmp_path.iterdir()] == ["a.md"]


def test_what_killed_programs_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    old = time.time() - ABANDONED_AFTER_S - 60
    for name in (".workbench-0123456789ab.tmp", ".workbench-notes.tmp", "workbench-0123456789ab.tmp", ".other.tmp"):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (old, old))
    (tmp_path / ".workbench-ba9876543210.tmp").write_text("another program writes it now")
    remove_abandoned([tmp_path / "none", tmp_path])
    assert {path.name for path in tmp_path.iterdir()} == {
        ".workbench-notes.tmp", "workbench-0123456789ab.tmp", ".other.tmp", ".workbench-ba9876543210.tmp",
    }  # fmt: skip
