"""A Markdown document that grows at its end; what a fragment costs does not depend on the length of the document.

What can no longer change is settled: laid out once and never looked at again. Only the last block is open. A fence is
taken line by line, a list item by item, and any other block that grows long is laid out again only when it has grown by
a quarter; what came in between is shown as plain text until then.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.content import Content

from workbench.ui.kit.text import MEASURE, fold
from workbench.ui.markdown.blocks import (
    BLANK,
    block_lines,
    blocks_lines,
    first_number,
    is_list,
    item_lines,
    language_of,
    needs_air,
    parse,
)
from workbench.ui.markdown.code import TAB, code_lines, label_lines
from workbench.ui.markdown.plain import PlainDocument
from workbench.ui.markdown.rules import FenceEnd

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

LONG_BLOCK = 1200
"""Characters from which an open block is no longer laid out again with every fragment."""
LONG_LINE = 400
"""Characters from which the full rows of an open line of code are settled."""
GROWTH = 1.25
"""The factor by which a long open block grows before it is laid out again."""

_logger = logging.getLogger(__name__)
_PERHAPS_MARKER = re.compile(r"[ \t]*(?:\d{1,9}[.)]?|[-+*])?[ \t]*")


class _OpenFence:
    """A fenced block that is not closed yet."""

    def __init__(self, node: SyntaxTreeNode, opening: str) -> None:
        self.language = language_of(node)
        self.end = FenceEnd(node.markup, node.info)
        self.maybe_closing = re.compile(rf" {{0,3}}{re.escape(node.markup[0])}*[ \t]*")
        self.indent = len(opening) - len(opening.lstrip(" "))
        self.rest = ""
        """The open part of the last line."""
        self.within = False
        """Whether the beginning of that line is settled, because it is long."""

    def dedent(self, line: str) -> str:
        spaces = 0 if self.within else len(line) - len(line.lstrip(" "))
        return line[min(spaces, self.indent) :]


@dataclass(frozen=True, slots=True)
class _ListSoFar:
    """The list whose first items are settled and whose last item is open."""

    kind: str
    markup: str
    next_number: int | None
    air: bool
    """Whether a blank line goes before the next item."""


class StreamingDocument:
    """Markdown that is appended to, as lines of a width that may change."""

    def __init__(self) -> None:
        self._source: list[str] = []
        self._width = 0
        self._done = False
        self._reset()

    def _reset(self) -> None:
        self.lines: list[Content] = []
        self._settled = 0
        self._tail = ""
        self._parsed = 0
        self._changed = 0
        self._plain: PlainDocument | None = None
        """The whole text, where its layout failed."""
        self._fence: _OpenFence | None = None
        self._list: _ListSoFar | None = None

    @property
    def source(self) -> str:
        return "".join(self._source)

    def resize(self, width: int) -> None:
        """Lay everything out in another width."""
        if width != self._width:
            self._width = width
            self._reset()
            self._lay_out(self._whole if self._done else lambda: self._take(self.source))

    def append(self, text: str) -> int:
        """Add to the end. Returns the first line that may have changed."""
        self._source.append(text)
        if not self._width:
            return 0
        if self._plain is not None:
            return self._plain.append(text)
        self._changed = self._settled
        self._lay_out(lambda: self._take(text))
        return self._changed

    def finish(self) -> None:
        """The document is complete: lay it out once more as a whole, as a reader of the file would see it."""
        self._done = True
        if self._width:
            self._reset()
            self._lay_out(self._whole)

    def _whole(self) -> None:
        self.lines = blocks_lines(parse(self.source), self._width)

    def _lay_out(self, work: Callable[[], None]) -> None:
        """Run a step of the layout; if it fails the text is shown as plain text."""
        try:
            work()
        except Exception:
            # The text comes from a model or a server: nothing in it may end the program.
            _logger.exception("The layout of a Markdown text failed; it is shown as plain text")
            self._plain = PlainDocument()
            self._plain.append(self.source)
            self._plain.resize(self._width)
            self.lines = self._plain.lines
            self._changed = 0

    def _take(self, text: str) -> None:
        if self._fence is not None:
            text = self._feed_fence(self._fence, text)
        if text:
            self._tail += text
            if self._parsed > LONG_BLOCK and len(self._tail) < self._parsed * GROWTH:
                self._extend_plainly(text)
            else:
                self._lay_out_tail()

    def _open(self, lines: list[Content]) -> None:
        """Show `lines` as the open end."""
        self.lines[self._settled :] = lines

    def _settle(self, lines: list[Content], *, blank: bool = True) -> None:
        """Put `lines` where the open end was, for good."""
        self._open([BLANK, *lines] if blank and self._settled else lines)
        self._settled = len(self.lines)

    def _lay_out_tail(self) -> None:
        # What may be the beginning of a list marker is left out: it would end the list that it continues.
        unfinished = self._tail.rpartition("\n")[2]
        known = self._tail.removesuffix(unfinished) if _PERHAPS_MARKER.fullmatch(unfinished) else self._tail
        definitions: dict[str, Any] = {}
        nodes = parse(known, definitions)
        tail_lines = self._tail.splitlines(keepends=True)
        if not nodes:
            # Blank lines and reference definitions show nothing; only the last line may still become something else.
            self._tail = "".join(tail_lines[_open_definition(definitions, known) :]) or unfinished
            self._parsed = len(self._tail)
            self._open([])
            return
        for node in nodes[:-1]:
            if is_list(node):
                self._settle_items(node, leave=0)
            else:
                self._settle(block_lines(node, self._width))
            self._list = None
        last = nodes[-1]
        start = _first_line(last)
        if last.type == "fence" and self._begin_fence(last, tail_lines, start):
            return
        if is_list(last):
            start = self._settle_items(last)
        elif last is not nodes[0]:
            self._list = None
        self._tail = "".join(tail_lines[start:])
        self._parsed = len(self._tail)
        self._open(self._open_lines(last))

    def _continues(self, node: SyntaxTreeNode) -> _ListSoFar | None:
        so_far = self._list
        return so_far if so_far and (node.type, node.markup) == (so_far.kind, so_far.markup) else None

    def _settle_items(self, node: SyntaxTreeNode, leave: int = 1) -> int:
        """Settle all but the last `leave` items of a list. Returns the line where the open one begins."""
        items = node.children
        for item in items[: len(items) - leave]:
            so_far = self._continues(node)
            number = so_far.next_number if so_far else first_number(node)
            self._settle(item_lines(item, self._width, number), blank=so_far is None or so_far.air)
            following = None if number is None else number + 1
            self._list = _ListSoFar(node.type, node.markup, following, needs_air(item))
        return _first_line(items[-1])

    def _open_lines(self, node: SyntaxTreeNode) -> list[Content]:
        so_far = self._continues(node)
        if is_list(node):
            number = so_far.next_number if so_far else first_number(node)
            lines = item_lines(node.children[-1], self._width, number)
        else:
            lines = block_lines(node, self._width)
        blank = self._settled and (so_far is None or so_far.air)
        return [BLANK, *lines] if blank else lines

    def _extend_plainly(self, text: str) -> None:
        """Show `text` after the last word of the open block, as it is."""
        text = text.replace("\t", " ")
        # A line loses the space at its end when it is wrapped.
        before = self._tail[-len(text) - 1]
        space = " " if before.isspace() and not text[0].isspace() else ""
        last = self.lines.pop() if len(self.lines) > self._settled else BLANK
        self._changed = len(self.lines)
        self.lines += (last + Content(space + text)).wrap(min(self._width, MEASURE))

    def _begin_fence(self, node: SyntaxTreeNode, tail_lines: list[str], start: int) -> bool:
        """Go over to taking a fence line by line; False where its first line is not complete."""
        opening = tail_lines[start]
        if not opening.endswith("\n"):
            return False
        self._list = None
        self._fence = _OpenFence(node, opening)
        self._settle(label_lines(self._fence.language, self._width))
        self._tail = ""
        self._parsed = 0
        self._take("".join(tail_lines[start + 1 :]))
        return True

    def _feed_fence(self, fence: _OpenFence, text: str) -> str:
        """Take more of the open fence. Returns the text after its end; empty while it has none."""
        *complete, rest = (fence.rest + text).split("\n")
        for index, line in enumerate(complete):
            if not (fence.within and index == 0) and fence.end.closes(line):
                self._settle_code(fence, complete[:index])
                self._fence = None
                self._open([])
                return "\n".join([*complete[index + 1 :], rest])
        self._settle_code(fence, complete)
        if len(rest) > LONG_LINE:
            rest = self._settle_rows(fence, rest)
        fence.rest = rest
        shown = rest and (fence.within or not fence.maybe_closing.fullmatch(rest))
        rows = code_lines(fence.dedent(rest), fence.language, self._width, within=fence.within) if shown else []
        self._open(rows)
        return ""

    def _settle_code(self, fence: _OpenFence, lines: list[str]) -> None:
        if not lines:
            return
        first, within = fence.dedent(lines[0]), fence.within
        fence.within = False
        code = "\n".join([first, *map(fence.dedent, lines[1:])])
        self._settle(code_lines(code, fence.language, self._width, within=within), blank=False)

    def _settle_rows(self, fence: _OpenFence, line: str) -> str:
        """Settle the full rows of a long line. Returns the text of its last row."""
        *full, last = fold(Content(fence.dedent(line).replace("\t", TAB)), max(1, self._width - 2))
        if not full:
            return line
        code = "".join(row.plain for row in full)
        self._settle(code_lines(code, fence.language, self._width, within=fence.within), blank=False)
        fence.within = True
        return last.plain


def _open_definition(definitions: dict[str, Any], source: str) -> int:
    """The line of `source` where the last reference definition begins, if it may still continue; else its last line."""
    references = [*definitions.get("references", {}).values(), *definitions.get("duplicate_refs", ())]
    start, end = max((reference["map"] for reference in references), default=(0, 0))
    lines = source.count("\n")
    return start if end == lines and references else lines


def _first_line(node: SyntaxTreeNode) -> int:
    return node.map[0] if node.map else 0
