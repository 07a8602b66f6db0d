"""The format that an answer has to have, as the parameter `format` names it."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import FormatError
from workbench.engine.formats import gbnf, schema
from workbench.engine.formats.lark import to_lark

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

ITEMS_IN_ROW = 20_000
ITEMS_IN_STEP = 500_000
"""Limits of llguidance's parser, above its defaults: a grammar may be a list of some thousand words."""

ANY_OBJECT = '{"type": "object"}'
MOST_BYTES = 1 << 18
"""The size of the largest file that is read."""


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """A format: any JSON object, a JSON schema, or a grammar in llama.cpp's GBNF."""

    kind: Literal["json", "schema", "grammar"]
    text: str
    """The schema or the grammar."""
    name: str
    """What messages call it: the name of its file, or its kind."""

    @property
    def schema(self) -> dict[str, Any]:
        """The schema; that of any object where the kind is `json`. A grammar has none."""
        return schema.parse(self.text, self.name)


def read_format(value: str) -> AnswerFormat | None:
    """The format that a value of the parameter `format` names; None for none.

    The value is `json`, the path of a file, or a JSON schema itself.

    Raises:
        FormatError: The file cannot be read, or it is neither a JSON schema nor a grammar.
    """
    if not value:
        return None
    if value == "json":
        return AnswerFormat("json", ANY_OBJECT, "JSON")
    if value.startswith("{"):
        return _checked(value, "the schema")
    path = Path(value)
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise FormatError(f"{value} is no file.", "Name a JSON schema or a GBNF grammar.")
        if found.st_size > MOST_BYTES:
            raise FormatError(
                f"{value} has {found.st_size:,} bytes.", f"A schema or a grammar has at most {MOST_BYTES:,}."
            )
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = "it is no UTF-8 text" if isinstance(error, ValueError) else getattr(error, "strerror", None) or error
        raise FormatError(
            f"The format {value} cannot be read: {reason}.",
            "A format is json, or the file of a JSON schema or of a GBNF grammar.",
        ) from None
    return _checked(text, path.name)


@lru_cache(maxsize=8)
def _checked(text: str, name: str) -> AnswerFormat:
    """A format of this text, checked as far as it means the same for every engine."""
    if gbnf.is_gbnf(text):
        gbnf.read(text, name)
        return AnswerFormat("grammar", text, name)
    schema.check(schema.parse(text, name), name)
    return AnswerFormat("schema", text, name)


@lru_cache(maxsize=8)
def guided(form: AnswerFormat) -> str:
    """The grammar of a format for llguidance, exactly what the format means.

    Raises:
        FormatError: llguidance has no exact grammar for it; the message names the part.
    """
    if form.kind == "grammar":
        return to_lark(gbnf.read(form.text, form.name))
    return schema.to_grammar(form.schema, form.name)


def matcher_for(tokenizer: LLTokenizer, grammar: str) -> LLMatcher:
    """What a grammar allows next, and whether its text is complete."""
    from llguidance import LLMatcher, LLParserLimits

    limits = LLParserLimits(max_items_in_row=ITEMS_IN_ROW, step_max_items=ITEMS_IN_STEP, verbose_errors=False)
    return LLMatcher(tokenizer, grammar, log_level=0, limits=limits)


def check_format(value: str, *, exact: bool) -> AnswerFormat | None:
    """Read a format, and where it is to hold `exact`ly, as in process, turn it into a grammar; see `read_format`."""
    form = read_format(value)
    if form is not None and exact:
        guided(form)
    return form
