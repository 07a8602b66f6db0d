"""Full-text search in all sessions."""

from __future__ import annotations

import heapq
import re
import sqlite3
from collections.abc import Iterator, Sequence

from workbench.core.session import SessionHit
from workbench.store.sessions import bigrams
from workbench.store.sessions.rows import SUMMARY, from_text, read_summary

MOST_SEARCHED = 200
"""Characters of the words that are searched for; SQLite's snippets take minutes for some thousand words."""
MOST_HITS = 100
_MOST_MESSAGES = 5_000
"""The most messages that a search for a frequent word visits, newest first."""
_SNIPPET_TOKENS = 16
_SNIPPET_CHARACTERS, _BEFORE = 60, 16
"""The same for scripts without word boundaries, and how much of it precedes the match."""
_BEGIN, _END = "\ue000", "\ue001"
_Marked = tuple[str, tuple[tuple[int, int], ...]]
"""A text, and the matches in it."""
_TERM = re.compile(r'"([^"]*)"?|(\S+)')


def terms_of(words: str) -> list[str]:
    """Every typed word once; a quoted phrase is one."""
    terms = [phrase or word for phrase, word in _TERM.findall(words)]
    # A term without a letter or digit has no token, and would match nothing.
    found = (term.replace('"', "").replace("\0", " ") for term in terms if any(char.isalnum() for char in term))
    return list(dict.fromkeys(found))


def _begins(words: str, term: str) -> bool:
    # A single letter as a prefix would match a tenth of all words.
    return not words.endswith(('"', " ")) and len(term) > 1


def match_expression(words: str) -> str:
    """Typed words in the syntax of FTS5: quoted ones as a phrase, the last one also as a prefix, runs as bigrams.

    Operators have no effect; the result is empty if there is no word.
    """
    terms = terms_of(words)
    last = len(terms) - 1
    return " ".join(
        bigrams.phrase(term, begins=number == last and _begins(words, term)) for number, term in enumerate(terms)
    )


def search(connection: sqlite3.Connection, words: str) -> list[SessionHit]:
    """The sessions with all of `words` in one message or in the name, newest message first; one hit each."""
    # SQLite accepts no lone surrogates, and no word has one.
    words = words[:MOST_SEARCHED].encode("utf-8", "replace").decode("utf-8")
    if not terms_of(words):
        return []
    hits = {hit.session.id: hit for hit in _named(connection, words)}
    for hit in _said(connection, words):
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


def _found(connection: sqlite3.Connection, index: str, expression: str) -> Iterator[tuple[int, int, int, str]]:
    """Key, session and number of each matching message of an index, and the index; newest first."""
    # The newest messages are read without ranking all matches, which would take seconds for "the".
    return connection.execute(
        f"SELECT {index}.rowid, message.session, message.number, '{index}' "
        f"FROM {index} JOIN message ON message.key = {index}.rowid WHERE {index} MATCH ? "
        f"AND message.deleted_at IS NULL ORDER BY {index}.rowid DESC LIMIT ?",
        (expression, _MOST_MESSAGES),
    )


def _said(connection: sqlite3.Connection, words: str) -> Iterator[SessionHit]:
    expression = match_expression(words)
    sources = []
    if not bigrams.has_runs(words):
        sources.append(_found(connection, "words", expression))
    sources.append(_found(connection, "runs", expression))
    finder = bigrams.finder(terms_of(words))
    seen = set()
    for key, session, number, index in heapq.merge(*sources, key=lambda found: found[0], reverse=True):
        if session in seen:
            continue
        seen.add(session)
        row = connection.execute(
            f"SELECT {SUMMARY} FROM session WHERE key = ? AND deleted_at IS NULL", (session,)
        ).fetchone()
        if row is None:
            continue
        if index == "words":
            text, marks = _snippet(connection, key, expression)
        else:
            texts = connection.execute("SELECT content, reasoning FROM message WHERE key = ?", (key,)).fetchone()
            text, marks = _cut_out([from_text(part) for part in texts], finder)
        yield SessionHit(read_summary(row), text, marks, number)


def _snippet(connection: sqlite3.Connection, key: int, expression: str) -> _Marked:
    # As bytes, because of texts with lone surrogates.
    found = connection.execute(
        "SELECT CAST(snippet(words, -1, ?, ?, '…', ?) AS BLOB) FROM words WHERE words MATCH ? AND rowid = ?",
        (_BEGIN, _END, _SNIPPET_TOKENS, expression, key),
    ).fetchone()
    return _marked((found[0] or b"").decode("utf-8", "replace") if found else "")


def _cut_out(texts: Sequence[str], finder: re.Pattern[str]) -> _Marked:
    """The text around the first match, on one line."""
    text, place = texts[0], 0
    for each in texts:
        if (match := finder.search(each)) is not None:
            text, place = each, match.start()
            break
    begin = max(0, place - _BEFORE)
    end = begin + _SNIPPET_CHARACTERS
    piece = " ".join(text[begin:end].split())
    piece = ("…" if begin else "") + piece + ("…" if end < len(text) else "")
    return piece, tuple(match.span() for match in finder.finditer(piece))


def _marked(snippet: str) -> _Marked:
    """A snippet on one line, and the matches in it."""
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
