from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from threading import Event

import pytest

from workbench.core.models import LibraryView, ModelEntry
from workbench.library import catalog as catalog_module
from workbench.library import file_facts, search
from workbench.library.catalog import LibraryCatalog
from workbench.library.views import Report, views_of

PATIENCE = 20


def catalog(*folders: Path, cache: Path | None = None) -> LibraryCatalog:
    return LibraryCatalog(folders, find_demo_file=lambda: None, cache=cache)


async def watched(library: LibraryCatalog, *, again: bool = False) -> list[LibraryView]:
    return [view async for view in library.watch(again=again)]


class Gate:
    """Holds headers back until it is opened."""

    def __init__(self) -> None:
        self.asked = Event()
        self.open = Event()
        self.files: list[str] = []
        self._read = file_facts.read_header

    def __call__(self, path: Path, **options):
        self.files.append(Path(path).name)
        self.asked.set()
        assert self.open.wait(PATIENCE)
        return self._read(path, **options)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self.asked.wait, PATIENCE)


@pytest.fixture
def gate(monkeypatch):
    gate = Gate()
    monkeypatch.setattr(file_facts, "read_header", gate)
    monkeypatch.setattr(search, "READERS", 1)
    monkeypatch.setattr(search, "WORTH_A_PROCESS", 1000)
    yield gate
    gate.open.set()


def search_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "library search"]


async def ended() -> None:
    for thread in search_threads():
        await asyncio.to_thread(thread.join, PATIENCE)
        assert not thread.is_alive()


async def test_the_last_view_is_complete(tmp_path: Path, model) -> None:
    for rows in (1, 2, 3):
        model(tmp_path / f"{rows}-F32.gguf", rows=rows)
    views = await watched(catalog(tmp_path, tmp_path / "nowhere"))
    last = views[-1]
    assert [view.complete for view in views] == [False] * (len(views) - 1) + [True]
    assert ([entry.name for entry in last.models], last.read, last.found) == (["1", "2", "3"], 3, 3)
    assert [problem.path.name for problem in last.problems] == ["nowhere"]


async def test_an_empty_library_is_complete_too(tmp_path: Path) -> None:
    assert await watched(catalog(tmp_path)) == [LibraryView(complete=True)]


async def test_models_are_reported_as_they_are_found(tmp_path: Path, model, monkeypatch) -> None:
    monkeypatch.setattr(search, "VIEW_SECONDS", 0)
    monkeypatch.setattr(search, "VIEW_PAUSE", 0)
    monkeypatch.setattr(search, "READERS", 1)
    for rows in (1, 2, 3):
        model(tmp_path / f"{rows}-F32.gguf", rows=rows)
    told: list[LibraryView] = []
    library = catalog(tmp_path)
    library._search(told.append, Event(), again=True)
    assert [(view.read, view.found, len(view.models)) for view in told] == [
        (0, 1, 0), (0, 2, 0), (0, 3, 0), (1, 3, 1), (2, 3, 2), (3, 3, 3),
    ]  # fmt: skip
    assert not any(view.complete for view in told)


async def test_views_are_not_reported_more_often_than_they_are_shown(tmp_path: Path, model, monkeypatch) -> None:
    monkeypatch.setattr(search, "VIEW_SECONDS", 1e9)
    for rows in range(1, 9):
        model(tmp_path / f"{rows}-F32.gguf", rows=rows)
    told: list[LibraryView] = []
    catalog(tmp_path)._search(told.append, Event(), again=True)
    assert told == []


async def test_a_search_that_was_finished_a_moment_ago_is_taken(tmp_path: Path, model, monkeypatch) -> None:
    model(tmp_path / "a-F32.gguf")
    library = catalog(tmp_path)
    first = (await watched(library))[-1]
    model(tmp_path / "b-F32.gguf", rows=9)
    assert await watched(library) == [first]
    assert await library.models() == first.models
    assert len((await watched(library, again=True))[-1].models) == 2
    monkeypatch.setattr(catalog_module, "FRESH_SECONDS", -1)
    (tmp_path / "b-F32.gguf").unlink()
    assert len(await library.models()) == 1


async def test_known_models_are_reported_at_once_and_stay_until_they_are_missing(
    tmp_path: Path, model, gate, monkeypatch
) -> None:
    monkeypatch.setattr(search, "VIEW_SECONDS", 0)
    gate.open.set()
    paths = [model(tmp_path / f"{rows}-F32.gguf", rows=rows) for rows in (1, 2, 3)]
    library = catalog(tmp_path)
    known = (await watched(library))[-1].models
    paths[0].unlink()
    model(paths[1], rows=20)
    gate.open.clear()
    gate.asked.clear()
    async with aclosing(library.watch(again=True)) as views:
        first = await anext(views)
        assert (first.models, first.complete) == (known, False)
        following = asyncio.ensure_future(anext(views))
        await gate.reached()
        gate.open.set()
        rest = [await following, *[view async for view in views]]
    assert all(view.models == known for view in rest[:-1])
    assert [entry.name for entry in rest[-1].models] == ["2", "3"]


async def test_closing_the_iterator_stops_the_search(tmp_path: Path, model, gate, monkeypatch) -> None:
    monkeypatch.setattr(search, "VIEW_SECONDS", 0)
    for rows in range(1, 30):
        model(tmp_path / f"{rows:02}-F32.gguf", rows=rows)
    library = catalog(tmp_path)
    async with aclosing(library.watch()) as views:
        await anext(views)
        await gate.reached()
    gate.open.set()
    await ended()
    assert len(gate.files) < 29
    # What was stopped does not count as a search.
    assert len(await library.models()) == 29


async def test_cancelling_the_task_stops_the_search(tmp_path: Path, model, gate) -> None:
    for rows in range(1, 30):
        model(tmp_path / f"{rows:02}-F32.gguf", rows=rows)
    task = asyncio.create_task(watched(catalog(tmp_path)))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open.set()
    await ended()
    assert len(gate.files) < 29


async def test_what_was_read_before_it_was_stopped_is_remembered(tmp_path: Path, model, gate) -> None:
    for rows in range(1, 30):
        model(tmp_path / "models" / f"{rows:02}-F32.gguf", rows=rows)
    cache = tmp_path / "library.json"
    task = asyncio.create_task(watched(catalog(tmp_path / "models", cache=cache)))
    await gate.reached()
    task.cancel()
    await asyncio.wait([task])
    gate.open.set()
    await ended()
    read = set(gate.files)
    gate.files.clear()
    assert len(await catalog(tmp_path / "models", cache=cache).models()) == 29
    assert read.isdisjoint(gate.files)
    assert len(read) + len(gate.files) == 29


def test_an_interrupt_does_not_wait_for_all_files(tmp_path: Path, model, gate, monkeypatch) -> None:
    for rows in range(1, 30):
        model(tmp_path / f"{rows:02}-F32.gguf", rows=rows)

    def interrupt(_: object) -> None:
        assert gate.asked.wait(PATIENCE)
        raise KeyboardInterrupt

    def shutdown(pool: ThreadPoolExecutor, *, wait: bool = True, cancel_futures: bool = False) -> None:
        close(pool, wait=False, cancel_futures=cancel_futures)
        # Opened before, a busy machine might read all of them first.
        gate.open.set()
        close(pool, wait=wait)

    close = ThreadPoolExecutor.shutdown
    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shutdown)
    monkeypatch.setattr(search, "as_completed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        catalog(tmp_path).list_models()
    assert len(gate.files) == 1


def test_a_problem_is_reported_once(tmp_path: Path) -> None:
    library = catalog(tmp_path / "nowhere", tmp_path / "nowhere")
    library.list_models()
    assert len(library.problems) == 1


async def test_the_event_loop_runs_while_files_are_read(tmp_path: Path, model, gate) -> None:
    model(tmp_path / "a-F32.gguf")
    task = asyncio.create_task(watched(catalog(tmp_path)))
    await gate.reached()
    turns = 0
    while turns < 50:
        await asyncio.sleep(0)
        turns += 1
    assert not task.done()
    gate.open.set()
    assert (await task)[-1].complete


async def test_two_who_watch_at_once_search_once(tmp_path: Path, model, gate) -> None:
    model(tmp_path / "a-F32.gguf")
    library = catalog(tmp_path)
    one = asyncio.create_task(watched(library))
    await gate.reached()
    other = asyncio.create_task(watched(library))
    models = asyncio.create_task(library.models())
    await asyncio.sleep(0)
    gate.open.set()
    first, second = await asyncio.gather(one, other)
    assert first[-1] == second[-1]
    assert await models == first[-1].models
    assert gate.files == ["a-F32.gguf"]


async def test_who_waits_for_the_search_of_another_can_leave(tmp_path: Path, model, gate) -> None:
    model(tmp_path / "a-F32.gguf")
    library = catalog(tmp_path)
    one = asyncio.create_task(watched(library))
    await gate.reached()
    (first,) = search_threads()
    other = asyncio.create_task(watched(library))
    while len(search_threads()) < 2:
        await asyncio.sleep(0)
    other.cancel()
    await asyncio.wait([other])
    for thread in search_threads():
        if thread is not first:
            await asyncio.to_thread(thread.join, PATIENCE)
    assert search_threads() == [first]
    gate.open.set()
    assert (await one)[-1].complete


# The bridge alone.


def view(*names: str, complete: bool = False) -> LibraryView:
    return LibraryView(tuple(ModelEntry(name, name) for name in names), complete=complete)


async def collected(run: Callable[[Report, Event], LibraryView | None]) -> list[LibraryView]:
    return [item async for item in views_of(run)]


async def test_superseded_views_are_dropped() -> None:
    def run(report: Report, stop: Event) -> LibraryView:
        for number in range(1000):
            report(view(str(number)))
        return view("last", complete=True)

    views = await collected(run)
    assert views[-1] == view("last", complete=True)
    numbers = [int(item.models[0].name) for item in views[:-1]]
    assert numbers == sorted(set(numbers))


async def test_an_error_of_the_search_is_raised_where_the_views_are_awaited() -> None:
    def run(report: Report, stop: Event) -> LibraryView:
        raise OSError("broken disk")

    with pytest.raises(OSError, match="broken disk"):
        await collected(run)


async def test_a_stopped_search_gives_nothing() -> None:
    assert await collected(lambda report, stop: None) == []


def test_a_loop_that_ended_before_the_search_does_no_harm() -> None:
    go_on, told = Event(), Event()

    def run(report: Report, stop: Event) -> None:
        assert go_on.wait(PATIENCE)
        report(view("late"))
        told.set()

    async def leave() -> None:
        task = asyncio.create_task(collected(run))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    go_on.set()
    assert told.wait(PATIENCE)


# A library that does not hold still.


def test_files_that_vanish_or_appear_while_they_are_looked_for(tmp_path: Path, model, monkeypatch) -> None:
    paths = [model(tmp_path / f"{rows}-F32.gguf", rows=rows) for rows in (1, 2, 3)]
    real = file_facts.read_header

    def vanishing(path: Path, **options):
        if Path(path) == paths[1]:
            paths[1].unlink()
            model(tmp_path / "9-F32.gguf", rows=9)
        return real(path, **options)

    monkeypatch.setattr(file_facts, "read_header", vanishing)
    library = catalog(tmp_path)
    said = {entry.name: entry.problem for entry in library.list_models()}
    assert (said["1"], said["3"]) == ("", "")
    assert "no such file" in said["2"]
    assert [entry.name for entry in library.list_models()] == ["1", "3", "9"]


def test_a_folder_that_vanishes_while_it_is_looked_into(tmp_path: Path, model, monkeypatch) -> None:
    model(tmp_path / "a" / "m-F32.gguf")
    (tmp_path / "b").mkdir()
    real = os.scandir

    def scandir(path):
        if Path(path) == tmp_path / "b":
            (tmp_path / "b").rmdir()
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    library = catalog(tmp_path)
    assert [entry.name for entry in library.list_models()] == ["m"]
    assert [problem.path.name for problem in library.problems] == ["b"]


def test_a_file_that_grows_is_listed_at_its_new_size(tmp_path: Path, model) -> None:
    whole = model(tmp_path / "whole", rows=4096).read_bytes()
    path = tmp_path / "models" / "m-F32.gguf"
    path.parent.mkdir()
    library = catalog(tmp_path / "models", cache=tmp_path / "library.json")
    for size in (100, len(whole) // 2, len(whole)):
        path.write_bytes(whole[:size])
        (entry,) = library.list_models()
        assert (entry.size_bytes, bool(entry.problem)) == (size, size < len(whole))


def test_two_programs_that_search_at_once(tmp_path: Path, model) -> None:
    for rows in range(1, 40):
        model(tmp_path / "models" / f"{rows}-F32.gguf", rows=rows)
    code = (
        "import sys; from pathlib import Path; from workbench.library.catalog import LibraryCatalog\n"
        "library = LibraryCatalog([Path(sys.argv[1])], find_demo_file=lambda: None, cache=Path(sys.argv[2]))\n"
        "print(len(library.list_models()), *library.problems)"
    )
    cache = tmp_path / "cache" / "library.json"
    command = [sys.executable, "-c", code, str(tmp_path / "models"), str(cache)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0] for process in running] == ["39\n"] * 3
    assert len(json.loads(cache.read_text())["files"]) == 39
    assert [path.name for path in cache.parent.iterdir()] == ["library.json"]
