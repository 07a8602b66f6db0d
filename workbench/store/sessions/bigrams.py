"""Bigrams for scripts without spaces between words, so that a search finds a word inside a run of characters.

SQLite's tokenizer treats such a run as one word, or breaks it at each vowel sign. In a separate index every character
is paired with the next one: 図書館 becomes 図書 書館 館, so that 書館 is found. The last character of a run is
a token too, so that a token begins with every character. A longer word is a sequence of its pairs.
"""

from __future__ import annotations

import re
import sqlite3
from functools import cache

_SCRIPTS = (
    "\u0e01-\u0e3a\u0e40-\u0e4e"  # Thai
    "\u0e81-\u0ebd\u0ec0-\u0ece\u0edc-\u0edf"  # Lao
    "\u1000-\u103f\u1050-\u109d"  # Burmese
    "\u1780-\u17d3\u17d7\u17dc\u17dd"  # Khmer
    "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3"  # Korean: particles and compounds are written together
    "\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Kana
    "\u3005-\u3007\u3105-\u312f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
)
_BETWEEN = rf"[^\w{_SCRIPTS}]*"

TABLE = """
CREATE VIRTUAL TABLE runs USING fts5 (
    -- Messages with runs of such scripts, their runs cut into pairs; the text itself is in the message.
    content, reasoning,
    content = '', tokenize = "unicode61 remove_diacritics 2 categories 'L* M* N* Co'", prefix = '1 2 3'
);
CREATE TRIGGER message_runs_in AFTER INSERT ON message
WHEN has_runs(new.content) OR has_runs(new.reasoning) BEGIN
    INSERT INTO runs (rowid, content, reasoning) VALUES (new.key, in_pairs(new.content), in_pairs(new.reasoning));
END;
CREATE TRIGGER message_runs_out AFTER DELETE ON message
WHEN has_runs(old.content) OR has_runs(old.reasoning) BEGIN
    INSERT INTO runs (runs, rowid, content, reasoning)
    VALUES ('delete', old.key, in_pairs(old.content), in_pairs(old.reasoning));
END;
CREATE TRIGGER message_runs_changed AFTER UPDATE OF content, reasoning ON message BEGIN
    INSERT INTO runs (runs, rowid, content, reasoning)
    SELECT 'delete', old.key, in_pairs(old.content), in_pairs(old.reasoning)
    WHERE has_runs(old.content) OR has_runs(old.reasoning);
    INSERT INTO runs (rowid, content, reasoning)
    SELECT new.key, in_pairs(new.content), in_pairs(new.reasoning)
    WHERE has_runs(new.content) OR has_runs(new.reasoning);
END;
"""


def register(connection: sqlite3.Connection) -> None:
    """Define the functions of the triggers in a connection that writes.

    The index holds what these returned: a function that returns something else could not remove it, and needs a new
    `VERSION` of the tables.
    """
    connection.execute("PRAGMA trusted_schema = ON")
    connection.create_function("has_runs", 1, has_runs, deterministic=True)
    connection.create_function("in_pairs", 1, in_pairs, deterministic=True)


@cache
def _runs() -> re.Pattern[str]:
    # Compiled when it is first needed: so many ranges take longer than most modules take to import.
    return re.compile(f"[{_SCRIPTS}]+")


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def has_runs(value: str | bytes) -> bool:
    """Whether a text has runs of such scripts."""
    text = _text(value)
    return not text.isascii() and _runs().search(text) is not None


def in_pairs(value: str | bytes) -> str:
    """A text for the index, with its runs as pairs."""
    return _runs().sub(lambda run: f" {' '.join(_pairs(run[0]))} ", _text(value))


def _pairs(run: str) -> list[str]:
    """Every character with the next one, and the last one alone."""
    return [run[place : place + 2] for place in range(len(run))]


def phrase(term: str, *, begins: bool) -> str:
    """A word or phrase of a search in the syntax of FTS5: its tokens in sequence.

    `begins` makes the last word a prefix if it ends in a script with spaces; in the others it always is one.
    """
    *_, last = (None, *_runs().finditer(term))
    if last is None or last.end() < len(term):
        return f'"{in_pairs(term)}"' + ("*" if begins else "")
    # The run may continue in the text: its last character begins a pair there.
    pairs = _pairs(last[0])
    tokens = pairs[:-1] or pairs
    return f'"{in_pairs(term[: last.start()])} {" ".join(tokens)}"' + ("*" if len(pairs) == 1 else "")


def finder(terms: list[str]) -> re.Pattern[str]:
    """A pattern for the terms of a search where a text contains them literally."""
    wanted = (_BETWEEN.join(map(re.escape, re.findall(rf"[\w{_SCRIPTS}]+", term))) for term in terms)
    return re.compile("|".join(filter(None, wanted)) or r"(?!)", re.IGNORECASE)
