"""Ways to set one key in a TOML text that leave every other character where it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

import tomli_w

from workbench.store.config.toml_scan import Statement, scan


def toml_value(value: object) -> str:
    """A value as TOML."""
    return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")


def toml_key(name: str) -> str:
    """A key as TOML, in quotes where it needs them."""
    return tomli_w.dumps({name: 0}).removesuffix(" = 0\n")


def edits(text: str, keys: tuple[str, ...], value: object) -> Iterator[str]:
    """Texts in which `keys` has `value`, the most natural first. Whether one is right is for the caller to check.

    Args:
        text: TOML.
        keys: A key above the tables, or a table and a key in it.
        value: What to set.
    """
    # tomllib reads CR LF as one line end, and the places of the statements stay true only in the text as it is.
    ending = "\r\n" if "\r\n" in text else "\n"
    statements = scan(text)
    literal = toml_value(value).replace("\n", ending)
    for statement in statements:
        if statement.keys == keys and not statement.is_header:
            yield text[: statement.value_start] + literal + text[statement.end :]
            return
    entry = f"{toml_key(keys[-1])} = {literal}{ending}"
    if len(keys) == 1:
        yield from _into_top(text, statements, keys[0], entry, ending)
    else:
        yield from _into_table(text, statements, keys, entry, ending)


def _into_top(text: str, statements: list[Statement], key: str, entry: str, ending: str) -> Iterator[str]:
    headers = [statement.start for statement in statements if statement.is_header]
    header = headers[0] if headers else len(text)
    yield from _below_its_comment(text, 0, header, key, entry)
    above = [statement for statement in statements if statement.start < header]
    if above:
        yield _insert(text, _line_end(text, above[-1].end), entry, ending)
    elif headers:
        yield _insert(text, _above_comments(text, header), entry + ending, ending)
    else:
        yield _insert(text, header, entry, ending)


def _into_table(
    text: str, statements: list[Statement], keys: tuple[str, ...], entry: str, ending: str
) -> Iterator[str]:
    table = keys[:-1]
    for index, statement in enumerate(statements):
        if statement.is_header and statement.keys == table:
            last, end = statement, len(text)
            for below in statements[index + 1 :]:
                if below.is_header:
                    end = below.start
                    break
                last = below
            yield from _below_its_comment(text, statement.end, end, keys[-1], entry)
            yield _insert(text, _line_end(text, last.end), entry, ending)
    dotted = [each for each in statements if not each.is_header and not each.scope and each.keys[:-1] == table]
    if dotted:
        yield _insert(text, _line_end(text, dotted[-1].end), f"{table[0]}.{entry}", ending)
    yield _insert(text, len(text), f"{ending}[{table[0]}]{ending}{entry}", ending)


def _below_its_comment(text: str, start: int, end: int, key: str, entry: str) -> Iterator[str]:
    """After the line that names the key in a comment: there a written file explains it."""
    line = re.compile(rf"^#[ \t]*{re.escape(key)}[ \t]*=[^\n]*\n", re.MULTILINE)
    if match := line.search(text, start, end):
        yield text[: match.end()] + entry + text[match.end() :]


def _insert(text: str, position: int, entry: str, ending: str) -> str:
    before = text[:position]
    if before and not before.endswith("\n"):
        before += ending
    return before + entry + text[position:]


def _line_end(text: str, position: int) -> int:
    """The start of the line after `position`."""
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


def _above_comments(text: str, position: int) -> int:
    """The start of the comment lines just above the line at `position`."""
    start = text.rfind("\n", 0, position) + 1
    while start > 0:
        above = text.rfind("\n", 0, start - 1) + 1
        if not text.startswith("#", above):
            break
        start = above
    return start
