"""Markdown blocks laid out as lines of a given width."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from textual.content import Content, Span

from workbench.ui.kit.text import MEASURE
from workbench.ui.markdown.code import code_lines, label_lines
from workbench.ui.markdown.rules import install
from workbench.ui.markdown.tables import table_lines

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token
    from markdown_it.tree import SyntaxTreeNode

_logger = logging.getLogger(__name__)

BLANK = Content("")
BULLETS = ("•", "◦", "▪")
MIN_WIDTH = 8
"""Nested blocks are never laid out narrower than this; what does not fit is cropped."""
MAX_NESTING = 20
"""Levels of quotes and lists, and of emphasis, that are laid out; what is nested deeper is plain text."""
MAX_FILLED_CELLS = 2_000
"""Missing cells that the rows of a table are filled up with; the parser's own bound is 65,536."""
_INLINE_STYLES = {"em": "doc--em", "strong": "doc--strong", "s": "doc--strike"}
_CODE = ("fence", "code_block")
_LISTS = ("bullet_list", "ordered_list")
_BREAK = re.compile(r"[ \t]*<br[ \t]*/?>[ \t]*", re.IGNORECASE)
_TASKS = {"[ ] ": "☐ ", "[x] ": "☑ ", "[X] ": "☑ "}


@lru_cache(maxsize=1)
def parser() -> MarkdownIt:
    """The parser: CommonMark with tables, strikethrough and formulas; HTML is text like any other."""
    from markdown_it import MarkdownIt

    table: Any = import_module("markdown_it.rules_block.table")
    table.MAX_AUTOCOMPLETED_CELLS = MAX_FILLED_CELLS
    options = {"html": False, "maxNesting": MAX_NESTING}
    markdown = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    install(markdown)
    return markdown


def parse(source: str, env: dict[str, Any] | None = None) -> list[SyntaxTreeNode]:
    """The top-level blocks of `source`; `env` gets its reference definitions, as markdown-it writes them."""
    from markdown_it.tree import SyntaxTreeNode

    return SyntaxTreeNode(_bounded(parser().parse(source, env), source)).children


def _bounded(tokens: Sequence[Token], source: str) -> list[Token]:
    """Tokens of bounded nesting: a tree is built and drawn by recursion.

    The parser drops what is in quotes and lists beyond `MAX_NESTING`; it is put back as plain text.
    """
    from markdown_it.token import Token

    lines: list[str] = []
    kept: list[Token] = []
    for index, token in enumerate(tokens):
        if token.children:
            token.children = _bounded_inline(token.children)
        kept.append(token)
        is_empty = token.nesting == 1 and tokens[index + 1].nesting == -1
        if is_empty and token.level + 1 >= MAX_NESTING and token.map:
            lines = lines or source.split("\n")
            kept.append(Token("plain", "", 0, content="\n".join(lines[slice(*token.map)]), map=token.map))
    return kept


def _bounded_inline(tokens: Sequence[Token]) -> list[Token]:
    """Inline tokens in which emphasis beyond `MAX_NESTING` is the text of its marks."""
    from markdown_it.token import Token

    level = 0
    kept: list[Token] = []
    for token in tokens:
        level += max(0, token.nesting)
        is_plain = token.nesting and level > MAX_NESTING
        kept.append(Token("text", "", 0, content=token.markup) if is_plain else token)
        level += min(0, token.nesting)
    return kept


def code_blocks(source: str) -> list[tuple[str, str]]:
    """The code and the language of every block of code in a text, in order, at any level."""
    try:
        found = [token for token in parser().parse(source) if token.type in _CODE]
    except Exception:
        # The text comes from a model or a server: nothing in it may end the program.
        _logger.exception("The code blocks of a text could not be found")
        return []
    return [(token.content.removesuffix("\n"), language_of(token)) for token in found]


def language_of(node: SyntaxTreeNode | Token) -> str:
    """The language that a fence names; empty where it names none."""
    return next(iter(node.info.split()), "").strip("{}.")


class _Inline:
    """Collects the text and the styles of inline nodes; in a cell, where nothing else does, <br> ends a line."""

    def __init__(self, *, is_cell: bool) -> None:
        self._is_cell = is_cell
        self.text: list[str] = []
        self.spans: list[Span] = []
        self.length = 0

    def add(self, text: str, style: str = "") -> None:
        if style and text:
            self.spans.append(Span(self.length, self.length + len(text), style))
        self.text.append(text)
        self.length += len(text)

    def walk(self, nodes: Sequence[SyntaxTreeNode]) -> None:
        for node in nodes:
            kind = node.type
            if kind in ("softbreak", "hardbreak"):
                self.add("\n")
            elif kind == "code_inline":
                self.add(node.content, "doc--code")
            elif kind in _INLINE_STYLES:
                self._styled(node, _INLINE_STYLES[kind])
            elif kind == "link":
                start = len(self.text)
                self._styled(node, "doc--link")
                self._target(str(node.attrs.get("href", "")), "".join(self.text[start:]))
            elif kind == "image":
                self.add(f"[image: {node.content or 'no description'}]", "doc--em")
                self._target(str(node.attrs.get("src", "")), "")
            elif kind == "text" and self._is_cell:
                self.add(_BREAK.sub("\n", node.content))
            else:
                self.add(node.content)

    def _styled(self, node: SyntaxTreeNode, style: str) -> None:
        start = self.length
        # The span of the outer style comes first, so that an inner one is laid over it.
        place = len(self.spans)
        self.walk(node.children)
        if self.length > start:
            self.spans.insert(place, Span(start, self.length, style))

    def _target(self, target: str, shown: str) -> None:
        """Links are never opened, so the reader must see where one leads."""
        if target and target != shown:
            self.add(f" ({target})", "doc--url")


def inline(node: SyntaxTreeNode) -> Content:
    """The text of a block that holds inline nodes."""
    collector = _Inline(is_cell=node.type in ("th", "td"))
    for child in node.children:
        collector.walk(child.children)
    return Content("".join(collector.text), collector.spans)


def _prefixed(lines: Sequence[Content], first: Content, rest: Content) -> list[Content]:
    return [(first if index == 0 else rest) + line for index, line in enumerate(lines)]


def is_list(node: SyntaxTreeNode) -> bool:
    """Whether `node` is a list."""
    return node.type in _LISTS


def first_number(node: SyntaxTreeNode) -> int | None:
    """The number of an ordered list's first item; None for a bullet list."""
    return int(node.attrs.get("start", 1)) if node.type == "ordered_list" else None


def needs_air(item: SyntaxTreeNode) -> bool:
    """Whether a blank line follows a list item: where it holds more than a paragraph and lists below it."""
    return sum(not is_list(child) for child in item.children) > 1


def item_lines(item: SyntaxTreeNode, width: int, number: int | None, depth: int = 0) -> list[Content]:
    """One item of a list, with its number; None for a bullet."""
    marker = BULLETS[depth % len(BULLETS)] if number is None else f"{number}."
    indent = len(marker) + 1
    room = max(MIN_WIDTH, width - indent)
    body: list[Content] = []
    for index, child in enumerate(item.children):
        if index and not is_list(child):
            body.append(BLANK)
        if index == 0 and child.type == "paragraph":
            body += _task(inline(child)).wrap(min(room, MEASURE))
        else:
            body += block_lines(child, room, depth + 1)
    first = Content(f"{marker} ", [Span(0, len(marker), "doc--marker")])
    return _prefixed(body or [BLANK], first, Content(" " * indent))


def _task(content: Content) -> Content:
    box = _TASKS.get(content.plain[:4])
    return Content(box, [Span(0, 1, "doc--marker")]) + content[4:] if box else content


def _list_lines(node: SyntaxTreeNode, width: int, depth: int) -> list[Content]:
    first = first_number(node)
    lines: list[Content] = []
    for index, item in enumerate(node.children):
        if index and needs_air(node.children[index - 1]):
            lines.append(BLANK)
        lines += item_lines(item, width, None if first is None else first + index, depth)
    return lines


def _quote_lines(node: SyntaxTreeNode, width: int) -> list[Content]:
    bar = Content("▎ ", [Span(0, 1, "doc--quote-bar")])
    inner = [line.stylize_before("doc--quote") for line in blocks_lines(node.children, max(MIN_WIDTH, width - 2))]
    return _prefixed(inner, bar, bar)


def block_lines(node: SyntaxTreeNode, width: int, depth: int = 0) -> list[Content]:
    """One block; `depth` counts the lists around it."""
    kind = node.type
    if kind == "paragraph":
        return inline(node).wrap(min(width, MEASURE))
    if kind == "heading":
        level = min(int(node.tag[1:]), 3)
        return [line.stylize_before(f"doc--h{level}") for line in inline(node).wrap(min(width, MEASURE))]
    if kind in _CODE:
        language = language_of(node)
        return label_lines(language, width) + code_lines(node.content.removesuffix("\n"), language, width)
    if is_list(node):
        return _list_lines(node, width, depth)
    if kind == "blockquote":
        return _quote_lines(node, width)
    if kind == "table":
        rows = [[inline(cell) for cell in row.children] for part in node.children for row in part.children]
        header = node.children[0].children[0].children
        return table_lines(rows, [str(cell.attrs.get("style", "")) for cell in header], width)
    if kind == "hr":
        rule = "─" * min(width, MEASURE)
        return [Content(rule, [Span(0, len(rule), "doc--rule")])]
    return Content(node.content).wrap(min(width, MEASURE))


def blocks_lines(nodes: Sequence[SyntaxTreeNode], width: int) -> list[Content]:
    """Blocks below one another, a blank line between them."""
    lines: list[Content] = []
    for node in nodes:
        if lines:
            lines.append(BLANK)
        lines += block_lines(node, width)
    return lines
