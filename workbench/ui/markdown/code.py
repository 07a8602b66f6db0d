"""Source code as styled lines."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from typing import Protocol

from textual.content import Content, Span

from workbench.ui.kit.text import fold

HIGHLIGHT_LIMIT = 60_000
"""Characters up to which a block is highlighted: some lexers are slow on long input, and output is untrusted."""
TAB = "    "
CONTINUES = "↪"
"""Stands before a row that continues the line above it."""

_logger = logging.getLogger(__name__)

_STYLES: dict[str, str] = {
    "Comment": "doc--comment",
    "Keyword": "doc--keyword",
    "Operator.Word": "doc--keyword",
    "Name.Builtin": "doc--builtin",
    "Name.Function": "doc--function",
    "Name.Class": "doc--function",
    "Name.Tag": "doc--keyword",
    "Name.Attribute": "doc--function",
    "Name.Decorator": "doc--builtin",
    "Literal.Number": "doc--number",
    "Literal.String": "doc--string",
    "Generic.Heading": "doc--keyword",
    "Generic.Deleted": "doc--deleted",
    "Generic.Inserted": "doc--string",
}


class _Lexer(Protocol):
    def get_tokens_unprocessed(self, text: str) -> Iterable[tuple[int, object, str]]: ...


@lru_cache(maxsize=64)
def _lexer(language: str) -> _Lexer | None:
    # Pygments has no type hints, and is not needed before the first block of code.
    lexers, util = import_module("pygments.lexers"), import_module("pygments.util")
    try:
        lexer: _Lexer = lexers.get_lexer_by_name(language)
    except util.ClassNotFound:
        return None
    return lexer


@lru_cache(maxsize=512)
def _style(token: object) -> str:
    path = str(token).removeprefix("Token.")
    while path:
        if path in _STYLES:
            return _STYLES[path]
        path = path.rpartition(".")[0]
    return ""


def highlight(code: str, language: str) -> list[Content]:
    """The lines of `code`, in colour where the language is known."""
    code = code.replace("\t", TAB)
    lexer = _lexer(language.lower()) if language and len(code) <= HIGHLIGHT_LIMIT else None
    spans: list[Span] = []
    if lexer is not None:
        try:
            for start, token, text in lexer.get_tokens_unprocessed(code):
                if (style := _style(token)) and not text.isspace():
                    spans.append(Span(start, start + len(text), style))
        except Exception:
            # Hundreds of lexers, on the text of a model: the rest of the code stays plain.
            _logger.warning("The %s lexer failed; the code stays plain", language, exc_info=True)
    return Content(code, spans).split("\n", allow_blank=True)


def code_lines(code: str, language: str, width: int, *, within: bool = False) -> list[Content]:
    """The rows of a code block, without its label; a row that continues a line that was too long is marked.

    `within` is whether the first row continues such a line.
    """
    room = max(1, width - 2)
    begins, continues = Content(" "), Content(CONTINUES, [Span(0, 1, "doc--continues")])
    rows: list[Content] = []
    for line in highlight(code, language):
        for part in fold(line, room):
            row = (continues if within else begins) + part.pad_right(max(1, width - 1 - part.cell_length))
            rows.append(row.stylize_before("doc--code-block"))
            within = True
        within = False
    return rows


def label_lines(language: str, width: int) -> list[Content]:
    """The row above a code block that names its language; none where it has no name."""
    if not language:
        return []
    text = f" {language}"[: width - 1].ljust(width)
    return [Content(text, [Span(0, len(text), "doc--code-label")])]
