from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.models import LibraryView, ModelEntry, Place, ScanProblem
from workbench.ui.models.fuzzy import found
from workbench.ui.models.model_list import ORDERS, Filter, Heading, Shelf, key_of
from workbench.ui.models.panel import state_text
from workbench.ui.models.rows import context_text, header_row, list_row, order_at, place_text, widths_for

Act = Callable[[Shelf], object]


def entry(name: str = "Some-1B", quant: str | None = "Q4_0", *, folder: str = "/m", **more: object) -> ModelEntry:
    path = f"{folder}/{name}-{quant}.gguf"
    given = {"group": name, "places": (Place(folder, path, path),), "source": folder, **more}
    return ModelEntry(path, name, quant, path, **given)  # type: ignore[arg-type]


def shelf_of(*models: ModelEntry, complete: bool = True) -> Shelf:
    shelf = Shelf()
    shelf.take(LibraryView(models, complete=complete))
    return shelf


def names(shelf: Shelf) -> list[str]:
    """The rows: headings in brackets, and quantizations."""
    return [f"[{row.name}]" if isinstance(row, Heading) else str(row.quant) for row in shelf.rows]


ONE = entry("Alpha-1B", "Q8_0", size_bytes=900, bits_per_weight=8.5, context_length=4096, architecture="llama")
TWO = entry("Alpha-1B", "Q4_0", size_bytes=500, bits_per_weight=4.5, context_length=4096, architecture="llama")
THREE = entry("Beta-7B", "Q4_0", folder="/n", size_bytes=700, parameters=7_000_000_000, architecture="qwen2")


# Arranging


def test_quantizations_stand_below_their_model_the_smallest_first() -> None:
    assert names(shelf_of(THREE, ONE, TWO)) == ["[Alpha-1B]", "Q4_0", "Q8_0", "[Beta-7B]", "Q4_0"]


def test_without_groups_every_file_has_one_row() -> None:
    shelf = shelf_of(THREE, ONE, TWO)
    shelf.regroup()
    assert shelf.rows == [TWO, ONE, THREE]


def test_each_order_sorts_and_what_is_not_known_comes_last() -> None:
    shelf = shelf_of(ONE, TWO, THREE)
    shelf.regroup()
    seen = {}
    for _ in ORDERS:
        seen[shelf.order.title] = list(shelf.rows)
        shelf.sort()
    assert shelf.order is ORDERS[0]
    assert seen["size"] == [ONE, THREE, TWO]
    assert seen["bits"] == [ONE, TWO, THREE]
    assert seen["parameters"] == [THREE, TWO, ONE]
    assert seen["context"] == [TWO, ONE, THREE]
    assert seen["place"] == [TWO, ONE, THREE]
    assert seen["last used"] == [ONE, TWO, THREE]
    shelf.sort_by("size")
    shelf.sort_by("size")
    assert shelf.turned
    assert shelf.rows == [TWO, THREE, ONE]


def test_groups_stand_in_the_order_of_the_first_of_each() -> None:
    shelf = shelf_of(entry("Alpha-1B", "F16", size_bytes=650), TWO, THREE)
    shelf.sort()
    assert names(shelf) == ["[Beta-7B]", "Q4_0", "[Alpha-1B]", "F16", "Q4_0"]


def test_numbers_in_names_are_sorted_as_numbers() -> None:
    shelf = shelf_of(entry("Some-13B"), entry("some-7B"))
    assert names(shelf) == ["[some-7B]", "Q4_0", "[Some-13B]", "Q4_0"]


def test_a_group_is_folded_and_its_heading_is_in_hand() -> None:
    shelf = shelf_of(ONE, TWO, THREE)
    shelf.go_to(lambda model: model is ONE)
    shelf.fold(folded=True)
    assert names(shelf) == ["[Alpha-1B]", "[Beta-7B]", "Q4_0"]
    assert isinstance(shelf.row, Heading)
    assert shelf.model is None
    shelf.fold(folded=False)
    assert len(shelf.rows) == 5
    assert isinstance(shelf.row, Heading)


def test_all_are_folded_and_unfolded() -> None:
    shelf = shelf_of(ONE, TWO, THREE)
    shelf.go_to(lambda model: model is THREE)
    shelf.fold_all()
    assert names(shelf) == ["[Alpha-1B]", "[Beta-7B]"]
    assert shelf.cursor == 1
    shelf.fold_all()
    assert len(shelf.rows) == 5


def test_a_search_shows_what_is_folded_and_takes_the_best_in_hand() -> None:
    shelf = shelf_of(ONE, TWO, THREE)
    shelf.fold_all()
    shelf.search("beta")
    assert names(shelf) == ["[Beta-7B]", "Q4_0"]
    assert shelf.model is THREE
    shelf.search("nothing like it")
    assert shelf.rows == []
    assert shelf.row is None
    shelf.search("")
    assert names(shelf) == ["[Alpha-1B]", "[Beta-7B]"]


def test_what_was_found_stays_in_hand_when_the_search_ends() -> None:
    shelf = shelf_of(ONE, TWO, THREE)
    shelf.fold_all()
    shelf.search("q8")
    assert shelf.model is ONE
    shelf.search("")
    assert shelf.model is ONE
    assert names(shelf) == ["[Alpha-1B]", "Q4_0", "Q8_0", "[Beta-7B]"]


def test_the_sources_are_kept_one_after_the_other() -> None:
    shelf = shelf_of(ONE, TWO, THREE)
    shelf.keep(Filter("architecture", "llama"))
    kept = []
    for _ in range(3):
        shelf.next_source()
        kept.append(shelf.filter)
    assert kept == [Filter("source", "/m"), Filter("source", "/n"), None]


def test_filters_count_what_they_keep() -> None:
    broken = entry("Gamma", problem="It is truncated.", label_mismatch="The label lies.")
    twice = entry("Delta", places=(Place("/m", "/m/d", "d"), Place("ollama", "/o/d", "d", "delta:1b")))
    shelf = shelf_of(ONE, TWO, THREE, broken, twice)
    counts = {(each.kind, each.value): count for each, count in shelf.filters()}
    assert counts["source", "/m"] == 4
    assert counts["source", "ollama"] == 1
    assert counts["architecture", "llama"] == 2
    for each, count in shelf.filters():
        shelf.keep(each)
        assert len(shelf.shown) == count
        assert all(each.keeps(model) for model in shelf.shown)
        assert each.words
    shelf.keep(None)
    assert len(shelf.shown) == 5


def test_marks_keep_their_order_and_go_with_their_models() -> None:
    shelf = shelf_of(ONE, TWO, THREE)
    assert not shelf.mark()
    for model in (THREE, ONE):
        shelf.go_to(lambda other, wanted=model: other is wanted)
        assert shelf.mark()
    assert shelf.marked == [THREE, ONE]
    assert shelf.is_marked(ONE)
    shelf.take(LibraryView((ONE,), complete=False))
    shelf.take(LibraryView((ONE, TWO, THREE), complete=False))
    assert shelf.marked == [THREE, ONE]
    shelf.take(LibraryView((ONE, TWO), complete=True))
    assert shelf.marked == [ONE]
    shelf.go_to(lambda model: model is ONE)
    shelf.mark()
    assert not shelf.clear_marks()


def test_a_view_that_brings_nothing_new_changes_nothing() -> None:
    shelf = shelf_of(ONE, complete=False)
    assert not shelf.take(LibraryView((ONE,), read=3, found=4))
    assert shelf.take(LibraryView((ONE, TWO)))


# Whatever is done, in whatever order

_models = st.builds(
    lambda name, quant, size, architecture, source: entry(
        name, quant, folder=source, size_bytes=size, architecture=architecture, bits_per_weight=size and size / 100
    ),
    st.sampled_from(["Alpha-1B", "alpha-13B", "Beta", "Gamma 2"]),
    st.sampled_from(["Q4_0", "Q8_0", "F16", None]),
    st.none() | st.integers(1, 9),
    st.sampled_from(["llama", "qwen2", None]),
    st.sampled_from(["/m", "/n", "ollama"]),
)
_views = st.lists(_models, unique_by=lambda model: model.ref, max_size=12).map(tuple)
_acts: st.SearchStrategy[Act] = st.one_of(
    st.sampled_from(
        [
            Shelf.sort,
            Shelf.turn,
            Shelf.regroup,
            Shelf.fold_all,
            Shelf.mark,
            Shelf.clear_marks,
            lambda shelf: shelf.fold(folded=True),
            lambda shelf: shelf.fold(folded=False),
        ]
    ),
    st.sampled_from(["", "alpha", "q4 llama", "13b", "zzz"]).map(lambda query: lambda shelf: shelf.search(query)),
    st.sampled_from([None, Filter("source", "/m"), Filter("architecture", "llama")]).map(
        lambda kept: lambda shelf: shelf.keep(kept)
    ),
    st.integers(-1, 20).map(lambda index: lambda shelf: shelf.move_to(index)),
    _views.map(lambda models: lambda shelf: shelf.take(LibraryView(models, complete=True))),
)


@given(_views, st.lists(_acts, max_size=12))
def test_rows_are_always_those_models_that_search_and_filter_leave(
    models: tuple[ModelEntry, ...], acts: Sequence[Act]
) -> None:
    shelf = shelf_of(*models)
    for act in acts:
        act(shelf)
        at_hand = {model.ref for model in shelf.view.models}
        refs = [model.ref for model in shelf.shown]
        assert len(set(refs)) == len(refs)
        assert set(refs) <= at_hand
        if not shelf.query and shelf.filter is None:
            assert set(refs) == at_hand
        in_rows = [row for row in shelf.rows if isinstance(row, ModelEntry)]
        assert {model.ref for model in in_rows} <= set(refs)
        folded = [model for row in shelf.rows if isinstance(row, Heading) and row.folded for model in row.members]
        assert len(in_rows) + len(folded) == len(refs)
        keys = [key_of(row) for row in shelf.rows]
        assert len(set(keys)) == len(keys)
        assert 0 <= shelf.cursor < max(1, len(shelf.rows))
        assert {model.ref for model in shelf.marked} <= at_hand


@given(_views, st.sampled_from(ORDERS), st.booleans())
def test_sorting_keeps_the_order_of_equals(models: tuple[ModelEntry, ...], order: object, turned: bool) -> None:
    shelf = shelf_of(*models)
    shelf.regroup()
    by_name = [model.ref for model in shelf.shown]
    while shelf.order is not order:
        shelf.sort()
    if turned:
        shelf.turn()
    value = shelf.order.value
    if value is None:
        assert list(shelf.shown) == list(models)[:: -1 if turned else 1]
        return
    values = [value(model) for model in shelf.shown]
    known = [each for each in values if each is not None]
    assert values[: len(known)] == known
    assert known == sorted(known, reverse=shelf.order.descending != turned)  # type: ignore[type-var]
    for before, after in zip(shelf.shown, shelf.shown[1:], strict=False):
        if value(before) == value(after):
            assert by_name.index(before.ref) < by_name.index(after.ref)


@given(_views, _views, st.integers(0, 20), st.booleans())
def test_the_model_in_hand_stays_in_hand_while_a_search_goes_on(
    first: tuple[ModelEntry, ...], more: tuple[ModelEntry, ...], index: int, grouped: bool
) -> None:
    shelf = shelf_of(*first, complete=False)
    if not grouped:
        shelf.regroup()
    shelf.move_to(index)
    row = shelf.row
    known = {model.ref for model in first}
    shelf.take(LibraryView((*(model for model in more if model.ref not in known), *first)))
    if row is not None and shelf.row is not None:
        assert key_of(shelf.row) == key_of(row)


# Seeking


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("smol", "SmolLM2-135M-Instruct"),
        ("q4km", "Qwen Q4_K_M"),
        ("qwen 0.5", "Qwen2.5-0.5B-Instruct"),
        ("smol135", "SmolLM2-135M"),
        ("INSTRUCT llama", "llama-3.1-Instruct"),
        ("", "anything"),
    ],
)
def test_what_is_found(query: str, text: str) -> None:
    assert bool(found(query, text)) is bool(query)


@pytest.mark.parametrize(
    ("query", "text"), [("zzz", "Some"), ("q8", "Some Q4_0"), ("smol big", "smol"), ("sax", "sbbbbbax")]
)
def test_what_is_not_found(query: str, text: str) -> None:
    assert not found(query, text)


def test_the_start_of_a_word_is_better_than_its_middle_and_both_than_gaps() -> None:
    start, middle, gaps = (found("lama", text) for text in ("lama", "xlama", "lxama"))
    assert start > middle > gaps > 0


@given(st.text(max_size=40), st.text(max_size=60))
def test_seeking_takes_any_text(query: str, text: str) -> None:
    assert found(query, text) >= 0


# Rows


@given(_views, st.integers(20, 200), st.booleans(), st.lists(_acts, max_size=4))
def test_rows_are_as_wide_as_the_list_and_no_wider(
    models: tuple[ModelEntry, ...], width: int, grouped: bool, acts: Sequence[Act]
) -> None:
    shelf = shelf_of(*models)
    if not grouped:
        shelf.regroup()
    for act in acts:
        act(shelf)
    if width >= 76:
        for line in (header_row(shelf, width), *(list_row(shelf, row, width, None) for row in shelf.rows)):
            assert line.cell_length <= width


@pytest.mark.parametrize("width", [76, 80, 96, 120])
@pytest.mark.parametrize("grouped", [True, False])
def test_columns_stand_below_their_titles(width: int, grouped: bool) -> None:
    shelf = shelf_of(ONE)
    if not grouped:
        shelf.regroup()
    title, row = header_row(shelf, width).plain, list_row(shelf, shelf.rows[-1], width, None).plain
    for name, value in (("bits", "8.50"), ("size", "900 B")):
        assert title.index(name) + len(name) == row.index(value) + len(value)
    assert order_at(title.index("bits"), shelf, width) == "bits"
    assert order_at(title.index("size"), shelf, width) == "size"
    assert order_at(0, shelf, width) == ""


def test_nothing_in_a_name_reaches_the_terminal() -> None:
    evil = entry("\x1b[31mRed\r\nTwo", "\x1b]0;Q", architecture="\u202ellama", tensor_quant="\x07", folder="\x9b1")
    shelf = shelf_of(evil)
    for row in shelf.rows:
        text = list_row(shelf, row, 120, None).plain
        assert all(character.isprintable() for character in text)
        assert "\x1b" not in text


def test_marks_states_and_flags_are_signs_and_not_colours_alone() -> None:
    broken = entry("Gamma", "Q8_0", problem="/m/Gamma-Q8_0.gguf: it is truncated.")
    lying = entry("Delta", "Q8_0", label_mismatch="Most weights are Q4_K.", tensor_quant="Q4_K")
    shelf = shelf_of(ONE, broken, lying)
    shelf.regroup()
    shelf.move_to(0)
    shelf.mark()
    texts = {row.name: list_row(shelf, row, 120, ONE).plain for row in shelf.shown}
    assert "✓●" in texts["Alpha-1B"]
    assert "!" in texts["Gamma"]
    assert "it is truncated." in texts["Gamma"]
    assert "Q8_0 ≠" in texts["Delta"]
    assert "Q4_K" in texts["Delta"]


def test_a_place_says_how_many_more_there_are() -> None:
    places = (Place("/very/long/way/to/the/models", "/a", "a"), Place("ollama", "/b", "b"), Place("ollama", "/c", "c"))
    assert place_text(entry(places=places), 12) == "…e/models +2"
    assert place_text(entry(folder="ollama"), 12) == "ollama"


def test_context_in_few_letters() -> None:
    assert [context_text(value) for value in (None, 512, 8192, 40960, 2**20, 131072)] == [
        "—", "512", "8K", "40K", "1M", "128K",
    ]  # fmt: skip


def test_a_row_is_never_narrower_than_its_columns() -> None:
    for grouped in (True, False):
        widths = widths_for(10, grouped=grouped)
        assert widths.name > 0
        assert widths.place > 0


def test_the_state_says_everything_that_was_not_read() -> None:
    problems = (ScanProblem(Path("/x"), "no"), ScanProblem(Path("/y"), "no"), ScanProblem(Path("/z"), "no"))
    shelf = Shelf()
    shelf.take(LibraryView((ONE, TWO), problems, read=40, found=1000))
    assert state_text(shelf, "p") == "2 models · 3 places could not be read (p) · reading 40 of 1,000"
    shelf.search("q8")
    shelf.take(LibraryView((ONE, TWO), complete=True))
    assert state_text(shelf, "p") == "1 of 2 models"
    assert state_text(Shelf(), "p") == "Looking for models…"
