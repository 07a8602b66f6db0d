"""Texts of scripts that set no spaces between words, cut so that a word in the middle of a run of characters is found.

SQLite's tokenizer takes such a run for a single word, or breaks it at each vowel sign. In an index of its own every
character goes together with the next one: 図書館 becomes 図書 書館 館, so that 書館 is found. The last one of a run is
there alone too: any character begins a token. A longer word is its pairs in a row.
"""

from __future__ import annotations

import re
import sqlite3

_SCRIPTS = (
    "\u0e01-\u0e3a\u0e40-\u0e4e"  # Thai
    "\u0e81-\u0ebd\u0ec0-\u0ece\u0edc-\u0edf"  # Lao
    "\u1000-\u103f\u1050-\u109d"  # Burmese
    "\u1780-\u17d3\u17d7\u17dc\u17dd"  # Khmer
    "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3"  # Korean: particles and compounds are written together
    "\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Kana
    "\u3005-\u3007\u3105-\u312f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
)
_RUN = re.compile(f"[{_SCRIPTS}]+")
_WORD = re.compile(rf"[\w{_SCRIPTS}]+")
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
    """Give a connection that writes the functions that the triggers call.

    The index holds what these returned: a function that returns something else could not remove it, and needs a new
    `VERSION` of the tables.
    """
    connection.execute("PRAGMA trusted_schema = ON")
    connection.create_function("has_runs", 1, has_runs, deterministic=True)
    connection.create_function("in_pairs", 1, in_pairs, deterministic=True)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def has_runs(value: str | bytes) -> bool:
    """Whether there is anything in a text that has to be cut."""
    text = _text(value)
    return not text.isascii() and _RUN.search(text) is not None


def in_pairs(value: str | bytes) -> str:
    """A text as the index takes it."""
    return _RUN.sub(lambda run: f" {' '.join(_pairs(run[0]))} ", _text(value))


def _pairs(run: str) -> list[str]:
    """Every character with the next one; the last one alone."""
    return [run[place : place + 2] for place in range(len(run))]


def phrase(term: str, *, begins: bool) -> str:
    """A word that is looked for, as FTS5 takes it: its tokens in a row.

    Args:
        term: The word, or a phrase, without quotation marks.
        begins: Whether the text may go on after it where it ends in a script with spaces; in the others it always may.
    """
    *_, last = (None, *_RUN.finditer(term))
    if last is None or last.end() < len(term):
        return f'"{in_pairs(term)}"' + ("*" if begins else "")
    # The run may go on in the text: its last character is the first one of a pair there.
    pairs = _pairs(last[0])
    tokens = pairs[:-1] or pairs
    return f'"{in_pairs(term[: last.start()])} {" ".join(tokens)}"' + ("*" if len(pairs) == 1 else "")


def finder(terms: list[str]) -> re.Pattern[str]:
    """Finds what was looked for in a text, as far as it stands there letter by letter."""
    wanted = (_BETWEEN.join(map(re.escape, _WORD.findall(term))) for term in terms)
    return re.compile("|".join(filter(None, wanted)) or r"(?!)", re.IGNORECASE)
