from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import ModelFileError
from workbench.library import file_facts
from workbench.library.file_facts import FileFacts, FileFactsCache
from workbench.library.folders import model_file


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "library.json"


def read_and_save(cache: Path | None, *paths: Path) -> list[FileFacts]:
    known = FileFactsCache(cache)
    found = [known.read(model_file(path)) for path in paths]
    known.save()
    return found


def test_facts_of_a_file(tmp_path: Path, model) -> None:
    path = model(
        tmp_path / "a.gguf", name="Some 3B Chat", basename="Some", size_label="3B", finetune="Chat", file_type=7
    )
    reading = FileFactsCache().read(model_file(path))
    assert (reading.label, reading.main_type, reading.parameters) == ("Q8_0", "F32", 128)
    assert (reading.bits_per_weight, reading.context_length, reading.problem) == (32.0, 2048, "")
    assert reading.mix == (("F32", 32, 128),)
    assert reading.identity.words == ("some", "3b", "chat")
    assert (reading.identity.architecture, reading.identity.shape) == ("llama", (1, 0, 0, 0))


def test_the_next_program_reads_no_header_again(tmp_path: Path, model, cache: Path, headers_read) -> None:
    paths = [model(tmp_path / f"{number}.gguf", rows=number) for number in (1, 2)]
    first = read_and_save(cache, *paths)
    del headers_read[:]
    assert read_and_save(cache, *paths) == first
    assert headers_read == []


@pytest.mark.parametrize("change", ["content", "time", "part"])
def test_a_file_that_changed_is_read_again(tmp_path: Path, model, cache: Path, headers_read, change: str) -> None:
    parts = [model(tmp_path / f"m-0000{number}-of-00002.gguf") for number in (1, 2)]
    read_and_save(cache, parts[0])
    del headers_read[:]
    if change == "content":
        model(parts[1], rows=8)
    elif change == "time":
        os.utime(parts[0], ns=(1, 1))
    else:
        parts[1].unlink()
    read_and_save(cache, parts[0])
    assert headers_read


def test_a_file_that_grows_while_it_is_read_is_read_again(tmp_path: Path, model, cache: Path, monkeypatch) -> None:
    path = model(tmp_path / "a.gguf")
    real = file_facts.read_header

    def growing(place: Path, **options):
        header = real(place, **options)
        with path.open("ab") as file:
            file.write(b"more")
        return header

    known = FileFactsCache(cache)
    with monkeypatch.context() as patch:
        patch.setattr(file_facts, "read_header", growing)
        known.read(model_file(path))
    assert known.get(model_file(path)) is None


def test_problems_of_a_file_are_not_cached(tmp_path: Path, model, cache: Path, monkeypatch) -> None:
    path = model(tmp_path / "a.gguf")

    def refusing(place: Path, **options):
        raise ModelFileError(f"{place}: reading it is not permitted.")

    with monkeypatch.context() as patch:
        patch.setattr(file_facts, "read_header", refusing)
        (reading,) = read_and_save(cache, path)
    assert reading.problem == "reading it is not permitted."
    (reading,) = read_and_save(cache, path)
    assert reading.problem == ""


def test_a_file_that_vanished_has_a_problem(tmp_path: Path) -> None:
    reading = FileFactsCache().read(model_file(tmp_path / "gone.gguf"))
    assert "no such file" in reading.problem


@pytest.mark.parametrize(
    ("architecture", "kind", "said"),
    [
        ("llama", "adapter", "LoRA adapter"),
        ("llama", "imatrix", "importance matrix"),
        ("clip", "", "vision or audio"),
        ("llama", "mmproj", "vision or audio"),
        ("llama", "model", "only a vocabulary"),
    ],
)
def test_sound_files_that_are_no_model(tmp_path: Path, architecture: str, kind: str, said: str) -> None:
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", architecture)
    if kind:
        writer.add_type(kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert said in FileFactsCache().read(model_file(tmp_path / "a.gguf")).problem


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"version": 3}',
        b'{"version": 3, "files": 7}',
        b'{"version": 1, "files": {}}',
    ],
    ids=lambda content: repr(content[:30]),
)
def test_a_damaged_cache_counts_as_empty_and_is_replaced(tmp_path: Path, model, cache: Path, content: bytes) -> None:
    path = model(tmp_path / "a.gguf")
    cache.parent.mkdir()
    cache.write_bytes(content)
    (reading,) = read_and_save(cache, path)
    assert reading.parameters == 128
    assert list(json.loads(cache.read_bytes())["files"]) == [str(path)]


values = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)
)


@given(data=st.data())
def test_a_row_that_is_damaged_in_one_place_is_read_again_or_is_sound(tmp_path: Path, model, data) -> None:
    path, cache = tmp_path / "a.gguf", tmp_path / "library.json"
    if not path.exists():
        model(path)
        read_and_save(cache, path)
        (tmp_path / "sound.json").write_bytes(cache.read_bytes())
    content = json.loads((tmp_path / "sound.json").read_bytes())
    row = content["files"][str(path)]
    target = data.draw(st.sampled_from([row, row["reading"], row["reading"]["identity"]]))
    key = data.draw(st.sampled_from(sorted(target)))
    if data.draw(st.booleans()):
        del target[key]
    else:
        target[key] = data.draw(values)
    cache.write_text(json.dumps(content))
    known = FileFactsCache(cache)
    reading = known.read(model_file(path))
    assert reading.problem == "" or isinstance(reading.problem, str)
    assert all(isinstance(number, int) for number in reading.identity.shape)
    assert isinstance(known.sample(model_file(path)), str)


def test_unknown_tensor_types_in_the_cache_are_not_trusted(tmp_path: Path, model, cache: Path, headers_read) -> None:
    path = model(tmp_path / "a.gguf")
    read_and_save(cache, path)
    cache.write_text(cache.read_text().replace('"F32",32', '"Q99",32'))
    del headers_read[:]
    assert read_and_save(cache, path)[0].mix == (("F32", 32, 128),)
    assert headers_read == [path]


def test_an_unwritable_cache_is_not_an_error(tmp_path: Path, model, caplog) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    (reading,) = read_and_save(blocked / "library.json", model(tmp_path / "a.gguf"))
    assert reading.parameters == 128
    assert "cannot be written" in caplog.text


def test_without_a_cache_nothing_is_written(tmp_path: Path, model) -> None:
    path = model(tmp_path / "a.gguf")
    read_and_save(None, path)
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_written_where_nothing_is_new(tmp_path: Path, model, cache: Path) -> None:
    path = model(tmp_path / "a.gguf")
    read_and_save(cache, path)
    before = cache.stat()
    read_and_save(cache, path)
    after = cache.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_rows_written_by_another_program_are_kept(tmp_path: Path, model, cache: Path) -> None:
    one, other = (model(tmp_path / f"{number}.gguf") for number in (1, 2))
    first, second = FileFactsCache(cache), FileFactsCache(cache)
    first.read(model_file(one))
    second.read(model_file(other))
    first.save()
    second.save()
    assert set(json.loads(cache.read_bytes())["files"]) == {str(one), str(other)}


def test_programs_that_write_at_once_leave_a_sound_cache(tmp_path: Path, model, cache: Path) -> None:
    paths = [model(tmp_path / f"{number}.gguf") for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda path: read_and_save(cache, path), paths * 3))
    rows = json.loads(cache.read_bytes())["files"]
    assert rows
    assert set(rows) <= set(map(str, paths))
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


def test_the_number_of_cached_files_is_limited(tmp_path: Path, model, cache: Path, monkeypatch) -> None:
    monkeypatch.setattr(file_facts, "KEPT", 2)
    paths = [model(tmp_path / f"{number}.gguf") for number in range(3)]
    for path in paths:
        read_and_save(cache, path)
    assert list(json.loads(cache.read_bytes())["files"]) == [str(paths[1]), str(paths[2])]


def test_names_that_are_not_text_are_cached(tmp_path: Path, model, cache: Path, headers_read) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.gguf")
    model(tmp_path / "plain.gguf").rename(path)
    read_and_save(cache, path)
    del headers_read[:]
    assert read_and_save(cache, path)[0].parameters == 128
    assert headers_read == []


def test_samples_tell_files_apart(tmp_path: Path, model) -> None:
    one, same, other = (
        model(tmp_path / name, fill=fill, rows=4096) for name, fill in (("a.gguf", 1), ("b.gguf", 1), ("c.gguf", 2))
    )
    known = FileFactsCache()
    assert known.sample(model_file(one)) == known.sample(model_file(same)) != known.sample(model_file(other))
    assert known.sample(model_file(tmp_path / "gone.gguf")) == ""


def test_samples_are_remembered_until_the_file_changes(tmp_path: Path, model, cache: Path, monkeypatch) -> None:
    path = model(tmp_path / "a.gguf", fill=1)
    known = FileFactsCache(cache)
    known.read(model_file(path))
    first = known.sample(model_file(path))
    known.save()
    with monkeypatch.context() as patch:
        patch.setattr(file_facts, "sample_hash", lambda file: "taken anew")
        assert FileFactsCache(cache).sample(model_file(path)) == first
        model(path, fill=2, rows=5)
        assert FileFactsCache(cache).sample(model_file(path)) == "taken anew"
