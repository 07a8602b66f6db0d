from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from threading import Event

import pytest

from workbench.gguf.cursor import KnownStrings
from workbench.library import search
from workbench.library.catalog import LibraryCatalog
from workbench.library.facts_process import FactsProcess
from workbench.library.file_facts import FileFacts, read_facts
from workbench.library.folders import ModelFile, model_file


@pytest.fixture(scope="module")
def reader() -> Iterator[FactsProcess]:
    with FactsProcess() as process:
        yield process


def as_here(file: ModelFile) -> FileFacts:
    return read_facts(file, KnownStrings())


def test_facts_are_those_that_this_process_would_read(tmp_path: Path, model, reader: FactsProcess) -> None:
    names = ["a-F32.gguf", "line\nbreak.gguf", "ü-Q8_0.gguf"]
    paths = [model(tmp_path / name, rows=rows) for rows, name in enumerate(names, 1)]
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.gguf")
    paths.append(paths[0].rename(odd))
    (tmp_path / "broken.gguf").write_bytes(b"GGUF\x03")
    for path in (*paths[1:], tmp_path / "broken.gguf", tmp_path / "missing.gguf"):
        file = model_file(path)
        facts = reader.read(file, Event())
        assert facts == as_here(file)
        assert facts.problem or facts.parameters


def test_a_stopped_reading_ends_and_is_not_kept(tmp_path: Path, model, reader: FactsProcess) -> None:
    stop = Event()
    stop.set()
    facts = reader.read(model_file(model(tmp_path / "a-F32.gguf")), stop)
    assert facts is not None
    assert "stopped" in facts.problem


def test_a_process_that_has_ended_has_no_facts(tmp_path: Path, model) -> None:
    with FactsProcess() as process:
        process._child.kill()
        assert process.read(model_file(model(tmp_path / "a-F32.gguf")), Event()) is None


@pytest.mark.parametrize("dead", [False, True])
async def test_a_search_beside_the_screen_finds_the_same(tmp_path: Path, model, monkeypatch, dead: bool) -> None:
    monkeypatch.setattr(search, "WORTH_A_PROCESS", 2)
    read = FactsProcess.read
    sent: list[Path] = []

    def counted(self: FactsProcess, file: ModelFile, stop: Event) -> FileFacts | None:
        sent.append(file.path)
        if dead:
            self._child.kill()
        return read(self, file, stop)

    monkeypatch.setattr(FactsProcess, "read", counted)
    paths = [model(tmp_path / f"{rows}-F32.gguf", rows=rows) for rows in (1, 2, 3)]
    library = LibraryCatalog([tmp_path], find_demo_file=lambda: None)
    async with aclosing(library.watch()) as views:
        last = [view async for view in views][-1]
    here = LibraryCatalog([tmp_path], find_demo_file=lambda: None).list_models()
    assert last.models == here
    assert last.complete
    assert sent == paths
