from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from textual.content import Content

from workbench.ui.kit.text import MEASURE
from workbench.ui.markdown.blocks import blocks_lines, parse
from workbench.ui.markdown.plain import PlainDocument
from workbench.ui.markdown.streaming import LONG_BLOCK, LONG_LINE, StreamingDocument
from workbench.ui.markdown.tables import MIN_COLUMN, column_widths

SOURCE = """\
# A title

Some *light* and **bold `code`** text,
with a line break and [a link](http://example.com/here).

3. three
4. four

   ```python
   def f(x):
       return "three\\tfour"  # why
   ```
5. five
   - below
     - deeper
   - again

- [x] done
- [ ] not done

* another list

> quoted
> - with a list

| left | right |
|:-----|------:|
| a | **b** |
| longer than the others | `c` |

~~~
a fence of tildes
```
not its end
~~~

    indented code

---
Setext
======

<b>no markup</b> and ![a picture](http://example.com/p.png) ~~gone~~

```unknown-language
never closed
"""

BLOCKS = [
    "Plain text.\n\n",
    "Two\nlines.\n\n",
    "## Heading\n\n",
    "- one\n- two\n  more\n\n",
    "1. one\n2. two\n\n   para\n\n",
    "```py\nx = 1\n\n\ny = 2\n```\n\n",
    "```\nopen `` fence\n```\n",
    "> quote\n\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n",
    "***\n\n",
    "~~~~\n~~~\n~~~~\n\n",
    "**bold\nacross** lines\n\n",
    "```markdown\n```py\nx\n```\ny\n```\n\n",
    "\\[\na_1 *\n- b * \\, c\n\\]\n\n",
    "with $x_1$, $$y\n- z$$ and \\(a *\n\n",
]


def plain(lines: list[Content]) -> list[str]:
    return [line.plain.rstrip() for line in lines]


def whole(source: str, width: int = 60) -> list[str]:
    return plain(blocks_lines(parse(source), width))


def streamed(chunks: list[str], width: int = 60) -> StreamingDocument:
    document = StreamingDocument()
    document.resize(width)
    for chunk in chunks:
        document.append(chunk)
    return document


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
def test_pieces_of_any_size_look_like_the_whole(size: int) -> None:
    chunks = [SOURCE[start : start + size] for start in range(0, len(SOURCE), size)]
    document = streamed(chunks)
    assert plain(document.lines) == whole(SOURCE)
    document.finish()
    assert plain(document.lines) == whole(SOURCE)
    assert document.source == SOURCE


@settings(max_examples=200)
@given(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=8), st.data())
def test_any_chunks_look_like_the_whole(blocks: list[str], data: st.DataObject) -> None:
    source = "".join(blocks)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(source)), max_size=20)))
    edges = [0, *cuts, len(source)]
    chunks = [source[start:end] for start, end in pairwise(edges)]
    assert plain(streamed([*chunks, ""]).lines) == whole(source)


@given(st.text(max_size=200), st.integers(8, 80))
def test_no_text_breaks_it(source: str, width: int) -> None:
    document = streamed([source[:50], source[50:]], width)
    document.finish()
    document.resize(width + 7)
    assert all(line.cell_length <= width + 7 for line in document.lines if "│" not in line.plain)


def test_a_long_block_is_complete_before_it_is_laid_out_again() -> None:
    words = [f"word{number} " for number in range(LONG_BLOCK)]
    document = streamed(words)
    assert " ".join(" ".join(plain(document.lines)).split()) == "".join(words).strip()
    document.finish()
    assert plain(document.lines) == whole("".join(words))


def test_a_fence_shows_its_code_while_it_is_open() -> None:
    document = streamed(["```python\n", "def f():\n", "    retu"])
    assert [line.strip() for line in plain(document.lines)] == ["python", "def f():", "retu"]
    assert any(span.style == "doc--keyword" for span in document.lines[1].spans)


def test_the_numbers_of_a_list_continue() -> None:
    document = streamed(list("7. a\n7. b\n7. c\n"))
    assert plain(document.lines) == ["7. a", "8. b", "9. c"]


def test_a_link_shows_where_it_leads() -> None:
    assert whole("[here](http://example.com)") == ["here (http://example.com)"]
    assert whole("<http://example.com>") == ["http://example.com"]


def test_code_is_folded_and_never_lost() -> None:
    code = "x" * 150
    lines = whole(f"```\n{code}\n```", 40)
    assert "".join(line.lstrip(" ↪") for line in lines) == code
    assert [line[0] for line in lines] == [" ", "↪", "↪", "↪"]


@pytest.mark.parametrize("size", [7, LONG_LINE, 3 * LONG_LINE])
def test_a_long_line_of_code_is_marked_also_while_it_streams(size: int) -> None:
    source = f"```py\n{'x = 1; ' * LONG_LINE}\ny = 2\n```\n"
    chunks = [source[start : start + size] for start in range(0, len(source), size)]
    assert plain(streamed(chunks).lines) == whole(source)


def test_a_narrower_width_lays_out_again() -> None:
    document = streamed(["word " * 40])
    wide = len(document.lines)
    document.resize(20)
    lines = document.lines
    assert len(lines) > wide
    document.resize(20)
    assert document.lines is lines


@pytest.mark.parametrize(
    ("natural", "room", "expected"), [([5, 5], 20, [5, 5]), ([50, 5], 20, [15, 5]), ([1, 1], 2, None)]
)
def test_the_widest_column_gives_way(natural: list[int], room: int, expected: list[int] | None) -> None:
    assert column_widths(natural, room) == expected


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 60)), min_size=1, max_size=6), st.integers(4, 200))
def test_no_column_gets_narrower_than_its_longest_word(columns: list[tuple[int, int]], room: int) -> None:
    words, natural = [word for word, _ in columns], [word + more for word, more in columns]
    widths = column_widths(natural, room, words)
    least = [max(MIN_COLUMN, word) for word in words]
    if widths is None:
        assert sum(least) > room
    else:
        assert all(low <= width <= max(low, most) for low, width, most in zip(least, widths, natural, strict=True))
        assert sum(widths) == min(room, sum(map(max, natural, least)))


def test_a_table_whose_words_do_not_fit_side_by_side_is_a_block_for_each_row() -> None:
    source = "| quantization | remarks |\n|---|---|\n| Q4_K_M | surprisingly good |\n| Q8_0 | |\n"
    assert whole(source, 27) == [
        "quantization │ remarks",
        "─────────────┼─────────────",
        "Q4_K_M       │ surprisingly",
        "             │ good",
        "Q8_0         │",
    ]
    assert whole(source, 26) == [
        "quantization  Q4_K_M",
        "remarks       surprisingly",
        "              good",
        "──────────────────────────",
        "quantization  Q8_0",
        "remarks",
    ]


def test_running_text_is_no_wider_than_a_reader_likes_code_and_tables_are() -> None:
    source = f"{'word ' * 60}\n\n- {'item ' * 60}\n\n```\n{'x' * 150}\n```\n"
    widths = [len(line) for line in whole(source, 180)]
    assert max(widths[:-1]) <= MEASURE + 2
    assert widths[-1] == 151


@given(st.lists(st.text(alphabet="ab \n", max_size=12), max_size=20), st.integers(4, 30))
@example(["aaaaaaaa", " "], 4)
@example(["aaaaaaaa ", "a"], 4)
def test_plain_pieces_wrap_as_the_whole(chunks: list[str], width: int) -> None:
    pieces, one = PlainDocument(), PlainDocument()
    pieces.resize(width)
    for chunk in chunks:
        pieces.append(chunk)
    one.append("".join(chunks))
    one.resize(width)
    assert plain(pieces.lines) == plain(one.lines)
