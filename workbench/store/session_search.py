"""Finding words in all sessions."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

from workbench.core.session import SessionHit
from workbench.store.session_rows import SUMMARY, from_text, read_summary

MOST_HITS = 100
"""Sessions that a search gives, at most."""
_MOST_MESSAGES = 5_000
"""Messages that are looked at, the newest first, before a search for a frequent word ends."""
_SNIPPET_TOKENS = 16
_BEGIN, _END = "\ue000", "\ue001"
_TERM = re.compile(r'"([^"]*)"?|(\S+)')


def match_expression(words: str) -> str:
    """What is typed as FTS5 takes it: every word, quoted ones as a phrase, the last one also as a beginning.

    Nothing that is typed is an operator; an empty text is given where there is nothing to look for.
    """
    terms = [phrase or word for phrase, word in _TERM.findall(words)]
    # A term without a letter or digit has no token, and would match nothing.
    terms = [term.replace('"', "").replace("\0", " ") for term in terms if any(char.isalnum() for char in term)]
    quoted = [f'"{term}"' for term in terms]
    # A single letter as a beginning would gather a tenth of all words.
    if quoted and not words.endswith(('"', " ")) and len(terms[-1]) > 1:
        quoted[-1] += "*"
    return " ".join(quoted)


def search(connection: sqlite3.Connection, words: str) -> list[SessionHit]:
    """The sessions with all of `words` in one message or in the name, the newest message first; a hit each."""
    expression = match_expression(words)
    if not expression:
        return []
    hits = {hit.session.id: hit for hit in _named(connection, words)}
    for hit in _said(connection, expression):
        hits.setdefault(hit.session.id, hit)
        if len(hits) >= MOST_HITS:
            break
    return list(hits.values())


def _named(connection: sqlite3.Connection, words: str) -> Iterator[SessionHit]:
    escaped = re.sub(r"([%_!])", r"!\1", words.replace('"', " "))
    pattern = "%" + "%".join(escaped.split()) + "%"
    rows = connection.execute(
        f"SELECT {SUMMARY} FROM session WHERE name <> '' AND deleted_at IS NULL AND name LIKE ? ESCAPE '!' "
        "ORDER BY updated_at DESC LIMIT ?",
        (pattern, MOST_HITS),
    )
    for row in rows:
        yield SessionHit(read_summary(row))


def _said(connection: sqlite3.Connection, expression: str) -> Iterator[SessionHit]:
    # The newest message is found first without looking at the others: ranking them all would take seconds for "the".
    rows = connection.execute(
        "SELECT words.rowid, message.session, message.number FROM words JOIN message ON message.key = words.rowid "
        "WHERE words MATCH ? AND message.deleted_at IS NULL ORDER BY words.rowid DESC LIMIT ?",
        (expression, _MOST_MESSAGES),
    )
    seen = set()
    for rowid, session, number in rows:
        if session in seen:
            continue
        seen.add(session)
        row = connection.execute(
            f"SELECT {SUMMARY} FROM session WHERE key = ? AND deleted_at IS NULL", (session,)
        ).fetchone()
        if row is None:
            continue
        snippet = connection.execute(
            "SELECT snippet(words, -1, ?, ?, '…', ?) FROM words WHERE words MATCH ? AND rowid = ?",
            (_BEGIN, _END, _SNIPPET_TOKENS, expression, rowid),
        ).fetchone()
        text, marks = _marked(from_text(snippet[0] or "") if snippet else "")
        yield SessionHit(read_summary(row), text, marks, number)


def _marked(snippet: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """A snippet on one line, and where the words are in it."""
    text: list[str] = []
    marks: list[tuple[int, int]] = []
    length, start = 0, 0
    for piece in re.split(f"([{_BEGIN}{_END}])", " ".join(snippet.split())):
        if piece == _BEGIN:
            start = length
        elif piece == _END:
            if length > start:
                marks.append((start, length))
        else:
            text.append(piece)
            length += len(piece)
    return "".join(text), tuple(marks)
