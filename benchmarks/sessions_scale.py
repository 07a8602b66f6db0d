"""The sessions when there are many: 10,000 with 200,000 messages; opening their list, and searching all words.

The words are drawn as they come in texts: few of them often, most of them seldom (Zipf's law, 30,000 of them), some 40
to a message, which is 45 MB of text. One session in five is in Chinese, which sets no spaces: some 100 characters to a
message, drawn in the same way from 3,000. The list is timed from the call to the rows that the dialog shows, a search
from the call to the hits with their snippets. Each search is named after what makes it hard, and the bar holds for the
slowest one. The system's own cache of the disk is warm.

    python -m benchmarks.sessions_scale [--rounds 5] [--sessions 10000]
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.common import Bar, finish, interleave, log, parser, print_samples
from workbench.core.chat import Message
from workbench.core.metrics import AnswerMetrics
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.store.sessions import schema
from workbench.store.sessions.rows import insert_session
from workbench.store.sessions.store import DatabaseSessionStore

MESSAGES = 20
"""In each session."""
VOCABULARY = 30_000
CHARACTERS = 3_000
CHINESE_EVERY = 5
"""One session in so many is in Chinese."""
T0 = 1_700_000_000.0


def character(number: int) -> str:
    """A Chinese character, the most frequent one being number 1."""
    return chr(0x4E00 + number)


SEARCHES = {
    "a rare word": "w29000",
    "a word in most messages": "w1",
    "three frequent words": "w1 w2 w3",
    "a frequent and a rare word": "w1 w20000",
    "two letters": "w2",
    "a phrase": '"w1 w2"',
    "nothing found": "w1 nowhere",
    "a rare pair of characters": character(60) + character(80),
    "a frequent pair of characters": character(1) + character(2),
    "one character in most messages": character(1),
    "one rare character": character(2500),
    "five frequent characters in a row": "".join(map(character, (1, 2, 1, 3, 1))),
    "two frequent pairs of characters": f"{character(1)}{character(2)} {character(3)}{character(1)}",
}


class Words:
    """Draws words by Zipf's law."""

    def __init__(self) -> None:
        self._chance = random.Random(7)
        self._words = [f"w{number}" for number in range(1, VOCABULARY + 1)]
        self._characters = [character(number) for number in range(1, CHARACTERS + 1)]
        total = 0.0
        self._weights = [total := total + 1 / number for number in range(1, VOCABULARY + 1)]

    def text(self) -> str:
        """One message."""
        count = self._chance.randrange(10, 70)
        return " ".join(self._chance.choices(self._words, cum_weights=self._weights, k=count))

    def chinese(self) -> str:
        """One message in Chinese."""
        count = self._chance.randrange(30, 170)
        return "".join(self._chance.choices(self._characters, cum_weights=self._weights[:CHARACTERS], k=count))


def write_sessions(path: Path, count: int) -> None:
    """A database of `count` sessions."""
    words = Words()
    metrics = AnswerMetrics(ttft_ms=100.5, decode_tps=40.25, prompt_tokens=100, completion_tokens=50)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    schema.prepare(connection)
    connection.execute("BEGIN")
    for number in range(count):
        at = T0 + 60 * number
        text = words.text if number % CHINESE_EVERY else words.chinese
        turns = [
            Turn(Message("assistant", text()), at, "demo", metrics, "stop")
            if index % 2
            else Turn(Message("user", text()), at)
            for index in range(MESSAGES)
        ]
        insert_session(connection, Session(f"s{number:06}", at, at, "demo", tree=Tree.of(turns)), None)
    connection.execute("COMMIT")
    connection.close()


def listing(path: Path) -> Mapping[str, float]:
    """The sessions as values, from a database that is not open yet, in milliseconds."""
    store = DatabaseSessionStore(path)
    began = time.perf_counter()
    found = asyncio.run(store.summaries(figures=False))
    took = 1e3 * (time.perf_counter() - began)
    assert found
    store.close()
    return {"read": took}


def searching(store: DatabaseSessionStore) -> Mapping[str, float]:
    """Every search, in milliseconds."""

    async def search() -> Mapping[str, float]:
        figures = {}
        for name, words in SEARCHES.items():
            began = time.perf_counter()
            hits = await store.search(words)
            figures[name] = 1e3 * (time.perf_counter() - began)
            assert bool(hits) != (name == "nothing found"), name
        return figures

    return asyncio.run(search())


def main() -> int:
    """Run it."""
    options = parser(__doc__, rounds=5)
    options.add_argument("--sessions", type=int, default=10_000, help="how many to store (default: %(default)s)")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="workbench-sessions-") as folder:
        path = Path(folder) / "sessions.db"
        log(f"  storing {chosen.sessions} sessions")
        write_sessions(path, chosen.sessions)
        log(f"  {path.stat().st_size / 1e6:.0f} MB")
        store = DatabaseSessionStore(path)
        lists = interleave({"list": lambda: listing(path)}, chosen.rounds, "list")
        searches = interleave({"search": lambda: searching(store)}, chosen.rounds, "search")
        store.close()
    print(f"\n{chosen.sessions} sessions, {chosen.sessions * MESSAGES} messages, milliseconds\n")
    print_samples(lists, searches)
    slowest = max(SEARCHES, key=lambda name: searches.median(f"search {name}"))
    bars = [
        Bar("the list of sessions is there", lists.median("list read"), 200, unit="ms"),
        Bar(f"the slowest search: {slowest}", searches.median(f"search {slowest}"), 100, unit="ms"),
    ]
    return finish("sessions_scale", bars, {"list": lists, "search": searches})


if __name__ == "__main__":
    sys.exit(main())
