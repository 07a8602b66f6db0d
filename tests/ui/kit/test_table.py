from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.content import Content

from workbench.ui.kit.table import MOST_FLEXIBLE, Column, Table, natural

NAME = Column[str]("name", lambda text: text, key=lambda text: text)
LENGTH = Column[str]("length", lambda text: str(len(text)), 7, right=True, style="rows--figure")
STYLED = Column[str]("styled", lambda text: Content.styled(text, "rows--accent"), 6, least=30)
TABLE = Table([NAME, LENGTH, STYLED], indent=1)


def test_columns_without_a_width_share_what_the_others_leave() -> None:
    assert [room for _, room in TABLE.laid_out(40)] == [22, 7, 6]
    assert TABLE.row("llama", 40).plain == " llama" + " " * 25 + "5  llama "


def test_figures_stay_beside_their_names_on_a_wide_screen() -> None:
    assert [room for _, room in TABLE.laid_out(300)] == [MOST_FLEXIBLE, 7, 6]
    assert [room for _, room in Table([LENGTH, NAME]).laid_out(300)] == [7, 291]


def test_a_narrow_table_leaves_columns_out() -> None:
    assert [column.title for column, _ in TABLE.laid_out(29)] == ["name", "length"]
    assert [column.title for column, _ in Table([NAME, LENGTH, LENGTH], least_flexible=16).laid_out(30)] == [
        "name",
        "length",
    ]
    assert len(Table([NAME, LENGTH], least_flexible=16).laid_out(10)) == 2


def test_the_order_is_marked_beside_its_title() -> None:
    assert "name ↑" in TABLE.header(40, NAME).plain
    assert "↓length" in TABLE.header(40, LENGTH, ascending=False).plain
    assert TABLE.column_at(1, 40) is NAME
    assert TABLE.column_at(30, 40) is LENGTH
    assert TABLE.column_at(0, 40) is None


def test_content_may_take_the_place_of_several_cells() -> None:
    line = TABLE.row("llama", 40, (0, 2, Content.styled("all of it", "rows--error")))
    assert line.plain == " all of it" + " " * 24 + "llama "
    assert [(span.start, span.style) for span in line.spans] == [(1, "rows--error"), (34, "rows--accent")]


@given(st.text(max_size=40), st.integers(30, MOST_FLEXIBLE))
def test_a_row_is_as_wide_as_the_table_and_harmless(text: str, width: int) -> None:
    line = Table([NAME, LENGTH], indent=1).row(text, width)
    assert line.cell_length == width
    assert "\x1b" not in line.plain


@pytest.mark.parametrize(("first", "second"), [("Some-7B", "some-13B"), ("blk.9", "blk.10")])
def test_digits_are_sorted_as_numbers(first: str, second: str) -> None:
    assert natural(first) < natural(second)
