"""Texts as a hostile or confused model may write them: random, but equal for an equal seed."""

from __future__ import annotations

from random import Random

MARKDOWN = [
    "# ", "## t\n", "===\n", "---\n", "- ", "1. ", "  - ", "* ", "+ ", "> ", ">> ", "```", "```py\n", "~~~\n",
    "    x\n", "\t", "|", "|a|b|\n", "|-|:-:|\n", "**", "*", "_", "__", "~~", "`", "``", "[", "](", "[a](b)",
    "![", "![a](b \"c\")", "<", ">", "<b>", "</b>", "<!--", "-->", "<http://a.b>", "&amp;", "&#0;",
    "&#x110000;", "[a]: b\n", "[^1]", "[^1]: n\n", "\\", "\\*", "\\\n", "  \n", "\n", "\n\n", "- [x] ",
    "<details>", "$$", "\\(", "http://a.b/c?d=e&f#g", "www.a.b", "a@b.c", ":smile:",
]  # fmt: skip
ESCAPES = [
    "\x1b[2J", "\x1b]0;t\x07", "\x1b]8;;http://a\x1b\\", "\x1b[31m", "\x1bP", "\x9b", "\x00", "\x07", "\x08",
    "\x7f", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\x1b", "\x90q", "\u2028", "\u2029",
]  # fmt: skip
MARKUP = [
    "[/x]", "[bold]", "[/]", "[@click=app.quit]", "[$primary]", "\\[", "[link='", "[#ff0000 on red]", "{{ x }}",
    "{% x",
]  # fmt: skip
UNICODE = [
    "é", "é", "́", "日本語", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "🇩🇪", "\u200d", "\u200c", "️",
    "\u202e", "\u2066", "ﷺ", "नि", "\ud800", "\udfff", "\ufeff", "�", "\ufffe", "𒐫", "Ａ", "ß", "İ", "\xad",
    "\u200b", "\u3000", "\U000e0001", "ส้", "\U0010ffff", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
]  # fmt: skip
WORDS = [
    "a", "word", " ", " ", "The sea. ", "x" * 90, "1", "0x1p9", "<think>", "</think>", "```\n", "import os\n",
    "\"\"\"", "FROM x\n",
]  # fmt: skip
POOLS = (MARKDOWN, MARKDOWN, MARKDOWN, ESCAPES, MARKUP, UNICODE, WORDS, WORDS)


def text(random: Random, pieces: int) -> str:
    """A text of so many pieces, some of which are repeated, or nested around the rest."""
    found: list[str] = []
    ends: list[str] = []
    pools = random.sample(POOLS, random.randint(1, len(POOLS)))
    for _ in range(pieces):
        piece = random.choice(random.choice(pools))
        how = random.random()
        if how < 0.05:
            piece *= random.choice((3, 30, 300))
        elif how < 0.1:
            ends.append(piece)
        elif how < 0.12:
            piece = "".join(chr(random.randrange(0x110000)) for _ in range(5))
        found.append(piece)
    return whole_characters("".join(found) + "".join(reversed(ends)))


def whole_characters(joined: str) -> str:
    """A text in which two halves of a surrogate pair that meet are one character, as wherever text is encoded."""
    return joined.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def repeated(random: Random) -> tuple[str, str, str]:
    """A text that is grown by repeating its parts: a beginning, and two parts that are repeated one after the other."""
    before, unit, after = (
        "".join(random.choice(random.choice(POOLS)) for _ in range(random.randint(0, 3))) for _ in range(3)
    )
    return before, unit or "a", after


def chunks(random: Random, whole: str) -> list[str]:
    """A text in pieces of random lengths, as a stream brings it; not too many of them."""
    least = 1 + len(whole) // 150
    most = least * random.choice((1, 4, 30))
    found = []
    while whole:
        size = random.randint(least, most)
        found.append(whole[:size])
        whole = whole[size:]
    return found
