from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.content import Content

from workbench.core.models import LibraryView, ModelEntry, Place, ScanProblem
from workbench.ui.models.model_list import ORDERS, Filter, Heading, ModelList, Row, key_of
from workbench.ui.models.panel import heading_lines, state_text
from workbench.ui.models.rows import context_text, header_row, list_row, listed_model, order_at, place_text, table_for

Act = Callable[[ModelList], object]


def entry(name: str = "Some-1B", quant: str | None = "Q4_0", *, folder: str = "/m", **more: object) -> ModelEntry:
    path = f"{folder}/{name}-{quant}.gguf"
    given = {"group": name, "places": (Place(folder, path, path),), "source": folder, **more}
    return ModelEntry(path, name, quant, path, **given)  # type: ignore[arg-type]


def list_of(*models: ModelEntry, complete: bool = True) -> ModelList:
    listed = ModelList()
    listed.update(LibraryView(models, complete=complete))
    return listed


def names(listed: ModelList) -> list[str]:
    """The rows: headings in brackets, and quantizations."""
    return [f"[{row.name}]" if isinstance(row, Heading) else str(row.quant) for row in listed.rows]


ONE = entry("Alpha-1B", "Q8_0", size_bytes=900, bits_per_weight=8.5, context_length=4096, architecture="llama")
TWO = entry("Alpha-1B", "Q4_0", size_bytes=500, bits_per_weight=4.5, context_length=4096, architecture="llama")
THREE = entry("Beta-7B", "Q4_0", folder="/n", size_bytes=700, parameters=7_000_000_000, architecture="qwen2")


# Arranging


def test_quantizations_stand_below_their_model_the_smallest_first() -> None:
    assert names(list_of(THREE, ONE, TWO)) == ["[Alpha-1B]", "Q4_0", "Q8_0", "[Beta-7B]", "Q4_0"]


def test_without_groups_every_file_has_one_row() -> None:
    listed = list_of(THREE, ONE, TWO)
    listed.toggle_groups()
    assert listed.rows == [TWO, ONE, THREE]


def test_each_order_sorts_and_what_is_not_known_comes_last() -> None:
    listed = list_of(ONE, TWO, THREE)
    listed.toggle_groups()
    seen = {}
    for _ in ORDERS:
        seen[listed.order.title] = list(listed.rows)
        listed.next_order()
    assert listed.order is ORDERS[0]
    assert seen["size"] == [ONE, THREE, TWO]
    assert seen["bits"] == [ONE, TWO, THREE]
    assert seen["parameters"] == [THREE, TWO, ONE]
    assert seen["context"] == [TWO, ONE, THREE]
    assert seen["place"] == [TWO, ONE, THREE]
    assert seen["last used"] == [ONE, TWO, THREE]
    listed.sort_by("size")
    listed.sort_by("size")
    assert listed.reversed
    assert listed.rows == [TWO, THREE, ONE]


def test_groups_stand_in_the_order_of_the_first_of_each() -> None:
    listed = list_of(entry("Alpha-1B", "F16", size_bytes=650), TWO, THREE)
    listed.next_order()
    assert names(listed) == ["[Beta-7B]", "Q4_0", "[Alpha-1B]", "F16", "Q4_0"]


def test_numbers_in_names_are_sorted_as_numbers() -> None:
    listed = list_of(entry("Some-13B"), entry("some-7B"))
    assert names(listed) == ["[some-7B]", "Q4_0", "[Some-13B]", "Q4_0"]


def test_the_figures_of_a_heading_are_those_of_a_file_that_can_be_read() -> None:
    broken = entry("Alpha-1B", "Q2_K", problem="The file is truncated.")
    lines = heading_lines(Heading("Alpha-1B", "Alpha-1B", (broken, ONE, TWO)), 60)
    assert lines[-1].plain == "llama · context 4K"


def test_a_group_is_folded_and_its_heading_is_selected() -> None:
    listed = list_of(ONE, TWO, THREE)
    listed.select_first(lambda model: model is ONE)
    listed.fold(folded=True)
    assert names(listed) == ["[Alpha-1B]", "[Beta-7B]", "Q4_0"]
    assert isinstance(listed.row, Heading)
    assert listed.model is None
    listed.fold(folded=False)
    assert len(listed.rows) == 5
    assert isinstance(listed.row, Heading)


def test_all_are_folded_and_unfolded() -> None:
    listed = list_of(ONE, TWO, THREE)
    listed.select_first(lambda model: model is THREE)
    listed.toggle_all_folds()
    assert names(listed) == ["[Alpha-1B]", "[Beta-7B]"]
    assert listed.cursor == 1
    listed.toggle_all_folds()
    assert len(listed.rows) == 5


def test_a_search_shows_folded_models_and_selects_the_best() -> None:
    listed = list_of(ONE, TWO, THREE)
    listed.toggle_all_folds()
    listed.search("beta")
    assert names(listed) == ["[Beta-7B]", "Q4_0"]
    assert listed.model is THREE
    listed.search("nothing like it")
    assert listed.rows == []
    assert listed.row is None
    listed.search("")
    assert names(listed) == ["[Alpha-1B]", "[Beta-7B]"]


def test_the_match_stays_selected_when_the_search_ends() -> None:
    listed = list_of(ONE, TWO, THREE)
    listed.toggle_all_folds()
    listed.search("q8")
    assert listed.model is ONE
    listed.search("")
    assert listed.model is ONE
    assert names(listed) == ["[Alpha-1B]", "Q4_0", "Q8_0", "[Beta-7B]"]


def test_the_sources_are_kept_one_after_the_other() -> None:
    listed = list_of(ONE, TWO, THREE)
    listed.set_filter(Filter("architecture", "llama"))
    kept = []
    for _ in range(3):
        listed.next_source()
        kept.append(listed.filter)
    assert kept == [Filter("source", "/m"), Filter("source", "/n"), None]


def test_filters_count_what_they_keep() -> None:
    broken = entry("Gamma", problem="It is truncated.", label_mismatch="The label lies.")
    twice = entry("Delta", places=(Place("/m", "/m/d", "d"), Place("ollama", "/o/d", "d", "delta:1b")))
    listed = list_of(ONE, TWO, THREE, broken, twice)
    counts = {(each.kind, each.value): count for each, count in listed.filters()}
    assert counts["source", "/m"] == 4
    assert counts["source", "ollama"] == 1
    assert counts["architecture", "llama"] == 2
    for each, count in listed.filters():
        listed.set_filter(each)
        assert len(listed.shown) == count
        assert all(each.keeps(model) for model in listed.shown)
        assert each.value
    listed.set_filter(None)
    assert len(listed.shown) == 5


def test_marks_keep_their_order_and_go_with_their_models() -> None:
    listed = list_of(ONE, TWO, THREE)
    listed.toggle_mark()
    assert listed.marked == []
    for model in (THREE, ONE):
        listed.select_first(lambda other, wanted=model: other is wanted)
        listed.toggle_mark()
    assert listed.marked == [THREE, ONE]
    assert listed.is_marked(ONE)
    listed.update(LibraryView((ONE,), complete=False))
    listed.update(LibraryView((ONE, TWO, THREE), complete=False))
    assert listed.marked == [THREE, ONE]
    listed.update(LibraryView((ONE, TWO), complete=True))
    assert listed.marked == [ONE]
    listed.select_first(lambda model: model is ONE)
    listed.toggle_mark()
    assert not listed.clear_marks()


def test_a_view_that_brings_nothing_new_changes_nothing() -> None:
    listed = list_of(ONE, complete=False)
    assert not listed.update(LibraryView((ONE,), read=3, found=4))
    assert listed.update(LibraryView((ONE, TWO)))


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
            ModelList.next_order,
            ModelList.reverse,
            ModelList.toggle_groups,
            ModelList.toggle_all_folds,
            ModelList.toggle_mark,
            ModelList.clear_marks,
            lambda listed: listed.fold(folded=True),
            lambda listed: listed.fold(folded=False),
        ]
    ),
    st.sampled_from(["", "alpha", "q4 llama", "13b", "zzz"]).map(lambda query: lambda listed: listed.search(query)),
    st.sampled_from([None, Filter("source", "/m"), Filter("architecture", "llama")]).map(
        lambda kept: lambda listed: listed.set_filter(kept)
    ),
    st.integers(-1, 20).map(lambda index: lambda listed: listed.select(index)),
    _views.map(lambda models: lambda listed: listed.update(LibraryView(models, complete=True))),
)


@given(_views, st.lists(_acts, max_size=12))
def test_rows_are_always_those_models_that_search_and_filter_leave(
    models: tuple[ModelEntry, ...], acts: Sequence[Act]
) -> None:
    listed = list_of(*models)
    for act in acts:
        act(listed)
        at_hand = {model.ref for model in listed.view.models}
        refs = [model.ref for model in listed.shown]
        assert len(set(refs)) == len(refs)
        assert set(refs) <= at_hand
        if not listed.query and listed.filter is None:
            assert set(refs) == at_hand
        in_rows = [row for row in listed.rows if isinstance(row, ModelEntry)]
        assert {model.ref for model in in_rows} <= set(refs)
        folded = [model for row in listed.rows if isinstance(row, Heading) and row.folded for model in row.members]
        assert len(in_rows) + len(folded) == len(refs)
        keys = [key_of(row) for row in listed.rows]
        assert len(set(keys)) == len(keys)
        assert 0 <= listed.cursor < max(1, len(listed.rows))
        assert {model.ref for model in listed.marked} <= at_hand


@given(_views, st.sampled_from(ORDERS), st.booleans())
def test_sorting_keeps_the_order_of_equals(models: tuple[ModelEntry, ...], order: object, turned: bool) -> None:
    listed = list_of(*models)
    listed.toggle_groups()
    by_name = [model.ref for model in listed.shown]
    while listed.order is not order:
        listed.next_order()
    if turned:
        listed.reverse()
    value = listed.order.value
    if value is None:
        assert list(listed.shown) == list(models)[:: -1 if turned else 1]
        return
    values = [value(model) for model in listed.shown]
    known = [each for each in values if each is not None]
    assert values[: len(known)] == known
    assert known == sorted(known, reverse=listed.order.descending != turned)  # type: ignore[type-var]
    for before, after in zip(listed.shown, listed.shown[1:], strict=False):
        if value(before) == value(after):
            assert by_name.index(before.ref) < by_name.index(after.ref)


@given(_views, _views, st.integers(0, 20), st.booleans())
def test_the_selected_row_stays_selected_during_a_scan(
    first: tuple[ModelEntry, ...], more: tuple[ModelEntry, ...], index: int, grouped: bool
) -> None:
    listed = list_of(*first, complete=False)
    if not grouped:
        listed.toggle_groups()
    listed.select(index)
    row = listed.row
    known = {model.ref for model in first}
    listed.update(LibraryView((*(model for model in more if model.ref not in known), *first)))
    if row is not None and listed.row is not None:
        assert key_of(listed.row) == key_of(row)


# Rows


def drawn(models: ModelList, row: Row, width: int, current: ModelEntry | None = None) -> Content:
    return list_row(listed_model(models, row, current), width, grouped=models.grouped)


@given(_views, st.integers(20, 200), st.booleans(), st.lists(_acts, max_size=4))
def test_rows_are_as_wide_as_the_list_and_no_wider(
    models: tuple[ModelEntry, ...], width: int, grouped: bool, acts: Sequence[Act]
) -> None:
    listed = list_of(*models)
    if not grouped:
        listed.toggle_groups()
    for act in acts:
        act(listed)
    if width >= 76:
        for line in (header_row(listed, width), *(drawn(listed, row, width) for row in listed.rows)):
            assert line.cell_length <= width


@pytest.mark.parametrize("width", [76, 80, 96, 120])
@pytest.mark.parametrize("grouped", [True, False])
def test_columns_stand_below_their_titles(width: int, grouped: bool) -> None:
    listed = list_of(ONE)
    if not grouped:
        listed.toggle_groups()
    title, row = header_row(listed, width).plain, drawn(listed, listed.rows[-1], width).plain
    for name, value in (("bits", "8.50"), ("size", "900 B")):
        assert title.index(name) + len(name) == row.index(value) + len(value)
    assert order_at(title.index("bits"), listed, width) == "bits"
    assert order_at(title.index("size"), listed, width) == "size"
    assert order_at(0, listed, width) == ""


def test_nothing_in_a_name_reaches_the_terminal() -> None:
    evil = entry("\x1b[31mRed\r\nTwo", "\x1b]0;Q", architecture="\u202ellama", tensor_quant="\x07", folder="\x9b1")
    listed = list_of(evil)
    for row in listed.rows:
        text = drawn(listed, row, 120).plain
        assert all(character.isprintable() for character in text)
        assert "\x1b" not in text


def test_marks_states_and_flags_are_signs_and_not_colours_alone() -> None:
    broken = entry("Gamma", "Q8_0", problem="/m/Gamma-Q8_0.gguf: it is truncated.")
    lying = entry("Delta", "Q8_0", label_mismatch="Most weights are Q4_K.", tensor_quant="Q4_K")
    listed = list_of(ONE, broken, lying)
    listed.toggle_groups()
    listed.select(0)
    listed.toggle_mark()
    texts = {row.name: drawn(listed, row, 120, ONE).plain for row in listed.shown}
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
        widths = {column.title: column.width for column in table_for(10, grouped=grouped).columns}
        assert widths["model" if grouped else "name"] > 0
        assert widths[" place"] > 0


def test_the_state_says_everything_that_was_not_read() -> None:
    problems = (ScanProblem(Path("/x"), "no"), ScanProblem(Path("/y"), "no"), ScanProblem(Path("/z"), "no"))
    listed = ModelList()
    listed.update(LibraryView((ONE, TWO), problems, read=40, found=1000))
    assert state_text(listed, "p") == "2 models · 3 places could not be read (p) · reading 40 of 1,000"
    listed.search("q8")
    listed.update(LibraryView((ONE, TWO), complete=True))
    assert state_text(listed, "p") == "1 of 2 models"
    assert state_text(ModelList(), "p") == "Looking for models…"
