"""Formulas, line breaks in cells, and fences in fences."""

from __future__ import annotations

import pytest
from textual.content import Content

from workbench.ui.markdown.blocks import code_blocks
from workbench.ui.markdown.streaming import StreamingDocument

FORMULAS = r"""The sum is \(\sum_{k=1}^{m} k = \frac{m(m+1)}{2}\), over the set \{1,\,2,\;3\}.

\[
\underbrace{\{x,y\}}_{A_1},\dots,\underbrace{\{z,w\}}_{A_2} \\
a_1 * b_2 * c_3
\]

Also $p_1 * q_2 * r_3$ and $$F[\omega]_s = \hat g(\zeta)\,e^{2\pi i}$$.
"""


def lines_of(source: str, size: int = 3, width: int = 100) -> list[Content]:
    document = StreamingDocument()
    document.resize(width)
    for start in range(0, len(source), size):
        document.append(source[start : start + size])
        assert "formula" in source or not any(styles(line) for line in document.lines)
    streamed = [line.plain for line in document.lines]
    document.finish()
    assert [line.plain for line in document.lines] == streamed
    return document.lines


def styles(line: Content) -> list[str]:
    return [f"{line.plain[span.start : span.end]} {span.style}" for span in line.spans]


def test_formulas_are_shown_letter_for_letter_also_while_they_stream() -> None:
    assert [line.plain.rstrip() for line in lines_of(FORMULAS)] == FORMULAS.splitlines()


@pytest.mark.parametrize(
    "formula",
    [
        r"\[ x_1 * y *" + "\n- z\n+ w\n# v\n> u\n\\]",
        "$$\na * b *\n1. c\n$$",
        "\\begin{align}\na &= b \\\\\n- c &= *d*\n\\end{align}",
        "$a_{*}b_{*}$ and $\\text{\\$5 *and* 6}$",
        r"\(\alpha\_1 \& \%\)",
        r"never closed: \(a *b* \, c",
        r"never closed: $\alpha *b*",
        r"in $$" + "\ny * z *\n$$ a paragraph",
        r"\:\;\,\{\}\'\^ outside",
    ],
)
def test_every_kind_of_formula_is_left_alone(formula: str) -> None:
    lines = lines_of(formula)
    assert "\n".join(line.plain for line in lines) == formula
    assert not any(map(styles, lines))


@pytest.mark.parametrize(
    ("source", "shown", "styled"),
    [
        ("no formula: $5 and *much* $10", "no formula: $5 and much $10", ["much doc--em"]),
        ("no formula: $HOME, *and* $PATH", "no formula: $HOME, and $PATH", ["and doc--em"]),
        ("no formula: US$5 `a` or 6$ x", "no formula: US$5 a or 6$ x", ["a doc--code"]),
        (r"no formula: \$5 \*x\* \_ \# \` \\ *a*", r"no formula: $5 *x* _ # ` \ a", ["a doc--em"]),
        ("no formula: `\\(a\\)` $$ *is* it", "no formula: \\(a\\) $$ is it", ["\\(a\\) doc--code", "is doc--em"]),
    ],
)
def test_other_dollars_and_backslashes_are_markdown(source: str, shown: str, styled: list[str]) -> None:
    [line] = lines_of(source)
    assert line.plain == shown
    assert styles(line) == styled


def test_a_break_in_a_cell_ends_its_line() -> None:
    source = "| formula | much |\n|---|---|\n| on disk<br>in memory | 1 GB <BR /> 2 GB |\n| `<br>` | |\n\n1 <br> 2\n"
    assert [line.plain.rstrip() for line in lines_of(source)] == [
        "formula   │ much",
        "──────────┼─────",
        "on disk   │ 1 GB",
        "in memory │ 2 GB",
        "<br>      │",
        "",
        "1 <br> 2",
    ]


def test_a_fence_of_markdown_holds_fences() -> None:
    inner = "# formula\n```python\nx = 1\n```\n\n```sh\nls\n```\nmore"
    for indent, before in (("", ""), ("  ", "- item\n\n")):
        source = before + "\n".join(f"{indent}{line}" for line in f"```markdown\n{inner}\n```\n".splitlines())
        assert code_blocks(f"{source}\n\nafter *it*") == [(inner, "markdown")]
        assert lines_of(f"{source}\n\nafter *it*")[-1].plain == "after it"
    longer = "````md\n```python\nnot closed\n````\n*after*"
    assert code_blocks(longer) == [("```python\nnot closed", "md")]
    assert code_blocks("```py\n```python\n```\nafter") == [("```python", "py")]
