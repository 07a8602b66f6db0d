r"""What models write beyond CommonMark: formulas, and fences in a fence of Markdown.

A formula is shown letter for letter: `$…$`, `$$…$$`, `\(…\)`, `\[…\]` and `\begin{…}…\end{…}`. As long as it is
open, it reaches to the end of its block, so that nothing in a streaming formula becomes markup for a moment. Only a
single `$` has to be closed, by the rule of Pandoc: no space inside of it and no digit after it, which leaves prices
alone; unless TeX follows it at once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

_SHORT = re.compile(r"\$(?![\s$])(?:[^$\\`]|\\.)*(?<!\s)\$(?!\d)", re.DOTALL)
_SHORT_TEX = re.compile(r"\$(?:\\[A-Za-z]|[A-Za-z][_^{\\])")
_OPENING = re.compile(r"\$\$|\\[(\[]|\\begin\{([^{}\n]{1,40})\}")
_CLOSING = {"$$": "$$", "\\(": "\\)", "\\[": "\\]"}
_KEPT_AFTER_BACKSLASH = frozenset("{}()[],;:=%/'^@?")
"""Punctuation that means nothing in Markdown but something in TeX: a backslash before it stays."""
_MOST_LINES = 50
"""Lines of a paragraph that are searched for the beginning of a formula."""
_INTERRUPTED = ["paragraph", "reference", "blockquote", "list"]
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([^`\n]*?)[ \t]*")
_WORD = re.compile(r"[\w.+#-]{1,30}")
_MARKDOWN = ("markdown", "md", "mdx", "rmd", "qmd")


def install(parser: MarkdownIt) -> None:
    """Add the rules of this module to a parser."""
    parser.inline.ruler.before("escape", "formula", _formula)
    parser.block.ruler.before("fence", "fence_of_markdown", _fence_of_markdown, {"alt": _INTERRUPTED})
    parser.block.ruler.before("fence", "formula", _formula_block, {"alt": _INTERRUPTED})


def _closing(opening: re.Match[str]) -> str:
    return _CLOSING.get(opening[0]) or f"\\end{{{opening[1]}}}"


def _formula_end(text: str, start: int, limit: int) -> int:
    """Where the formula that begins at `start` ends; `start` where none begins."""
    if opening := _OPENING.match(text, start, limit):
        closing = _closing(opening)
        end = text.find(closing, opening.end(), limit)
        is_prose = opening[0] == "$$" and text[start + 2 : start + 3] in ("", " ")
        return end + len(closing) if end >= 0 else start if is_prose else limit
    if short := _SHORT.match(text, start, limit):
        return short.end()
    return limit if _SHORT_TEX.match(text, start, limit) else start


def _formula(state: StateInline, silent: bool) -> bool:
    place = state.pos
    if state.src[place] not in "$\\":
        return False
    end = _formula_end(state.src, place, state.posMax)
    if end == place and state.src[place] == "\\" and state.src[place + 1 : place + 2] in _KEPT_AFTER_BACKSLASH:
        end = place + 2
    if end == place:
        return False
    if not silent:
        state.push("formula", "", 0).content = state.src[place:end]
    state.pos = end
    return True


def _formula_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A formula of several lines that begins a line: none of them begins a list, a heading or a quote.

    TeX allows no blank line in it, so that one ends it in any case.
    """
    first = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]]
    opening = _OPENING.match(first)
    if opening is None or first.startswith("\\(") or state.is_code_block(start):
        return False
    closing = _closing(opening)
    if closing in first[opening.end() :] or (silent and opening[0] == "$$" and _is_inside(state, start)):
        return False
    if silent:
        return True
    line = start + 1
    while line < end and not state.isEmpty(line) and state.sCount[line] >= state.blkIndent:
        line += 1
        if closing in state.src[state.bMarks[line - 1] : state.eMarks[line - 1]]:
            break
    state.line = line
    state.push("paragraph_open", "p", 1).map = [start, line]
    inline = state.push("inline", "", 0)
    inline.content = state.getLines(start, line, state.blkIndent, False).strip()
    inline.map = [start, line]
    inline.children = []
    state.push("paragraph_close", "p", -1)
    return True


def _is_inside(state: StateBlock, line: int) -> bool:
    """Whether a formula in `$$` is open at the beginning of a line of a paragraph."""
    marks = 0
    for above in range(line - 1, max(-1, line - _MOST_LINES), -1):
        if state.isEmpty(above):
            break
        marks += state.src.count("$$", state.bMarks[above], state.eMarks[above])
    return marks % 2 == 1


class FenceEnd:
    """Finds the line that closes a fence.

    In a fence of Markdown, a line such as "```python" opens an inner fence, whose end closes nothing else. CommonMark
    wants a longer outer fence there, which models leave out.
    """

    def __init__(self, markup: str, info: str) -> None:
        self._markup = markup
        self._nests = is_markdown(info)
        self._open = 1

    def closes(self, line: str) -> bool:
        """Whether a line, the next one, closes the fence."""
        found = _FENCE.fullmatch(line)
        if found is None or not found[1].startswith(self._markup):
            return False
        if not found[2]:
            self._open -= 1
        elif self._nests and _WORD.fullmatch(found[2]):
            self._open += 1
        return not self._open


def is_markdown(info: str) -> bool:
    """Whether a fence holds Markdown, by the text after its mark."""
    return (info.split() or [""])[0].casefold() in _MARKDOWN


def _fence_of_markdown(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    opening = _FENCE.fullmatch(state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]])
    if opening is None or not is_markdown(opening[2]) or state.is_code_block(start):
        return False
    if silent:
        return True
    fence = FenceEnd(opening[1], opening[2])
    line = start + 1
    closed = False
    while line < end and not closed and (state.isEmpty(line) or state.sCount[line] >= state.blkIndent):
        text = state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]
        closed = not state.is_code_block(line) and fence.closes(text)
        line += 1
    state.line = line
    token = state.push("fence", "code", 0)
    token.info, token.markup, token.map = opening[2], opening[1], [start, line]
    token.content = state.getLines(start + 1, line - closed, state.sCount[start], True)
    return True
