"""Grammars in GBNF: the language stays what it means, and each mistake is named with its line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.errors import FormatError
from workbench.engine.formats import gbnf
from workbench.engine.formats.answer_format import AnswerFormat
from workbench.engine.formats.lark import to_lark
from workbench.engine.formats.verdict import judge


def state(grammar: str, text: str) -> str:
    gbnf.read(grammar, "g")
    return judge(AnswerFormat("grammar", grammar, "g"), text).state


@pytest.mark.parametrize(
    ("grammar", "valid", "truncated", "invalid"),
    [
        ('root ::= "ab" "d" | "a" "bc"', "abc", "ab", "abe"),
        ('root ::= word "b"\nword ::= [a-z]+', "aab", "aaa", "aA"),
        ('root ::= "ab"{2}', "abab", "aba", "abb"),
        ('root ::= "a" "b"*', "abb", "", "b"),
        ('root ::= ("a" | # one\n  "b" )? "c"', "bc", "b", "ab"),
        (r'root ::= [^"\\\n]{2,3} "\x21" "\u00e9" [\]\[-]', "añ!é]", "añb", 'a"'),
        ("root ::= .{3}", "a\né", "a\n", "abcd"),
        ('root ::= "x" ""* root | "y"', "xxy", "xx", "xz"),
        ('root ::= "[" list "]"\nlist ::= item "," list | item\nitem ::= "1" | root', "[1,[1]]", "[1,[1]", "[1,]"),
        ('root ::= ("a"?)* "b"', "aab", "aa", "c"),
        ('root ::= "old"\nroot ::= "new"', "new", "ne", "old"),
    ],
)
def test_the_language_of_a_grammar(grammar, valid, truncated, invalid):
    assert state(grammar, valid) == "valid"
    assert state(grammar, truncated) == "truncated"
    assert state(grammar, invalid) == "invalid"


@st.composite
def _regular(draw, depth: int = 3) -> tuple[str, str]:
    """A grammar without rules, and the regular expression with its language."""
    kind = draw(st.sampled_from(["text", "set", "any", *(["all", "either", "again"] if depth else [])]))
    if kind == "text":
        text = draw(st.text("ab.*", min_size=1, max_size=3))
        return f'"{text}"', f"(?:{re.escape(text)})"
    if kind == "set":
        found = draw(st.sampled_from(["[ab]", "[^a]", "[a-b.]", "[*-]"]))
        return found, found
    if kind == "any":
        return ".", "."
    parts = draw(st.lists(_regular(depth - 1), min_size=1, max_size=3))
    if kind == "again":
        sign = draw(st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}"]))
        return f"({parts[0][0]}){sign}", f"(?:{parts[0][1]}){sign}"
    joined = " " if kind == "all" else " | "
    return f"({joined.join(each[0] for each in parts)})", f"(?:{joined.strip().join(each[1] for each in parts)})"


@settings(max_examples=60, deadline=None)
@given(_regular(), st.lists(st.text("ab.*\n", max_size=6), min_size=5, max_size=5))
def test_a_grammar_without_recursion_means_what_its_regular_expression_means(both, texts):
    grammar, expression = both
    for text in texts:
        assert (state(f"root ::= {grammar}", text) == "valid") == bool(re.fullmatch(expression, text, re.DOTALL))


@pytest.mark.parametrize(
    ("grammar", "words"),
    [
        ("", ["no rule 'root'"]),
        ('start ::= "a"', ["no rule 'root'"]),
        ('root ::= "a" b\n', ["line 1", "no rule 'b'"]),
        ('\nroot = "a"', ["line 2", "::= is missing after 'root'"]),
        ('root ::= "a"\n | "b"', ["line 2", "begins with its name"]),
        ('root ::= "a\n', ["line 1", "not closed"]),
        ("root ::= [a", ["not closed"]),
        ("root ::= [z-a]", ["the range is empty"]),
        ("root ::= []", ["matches nothing"]),
        (r'root ::= "\q"', [r"no escape"]),
        (r'root ::= "\ud800"', ["no character"]),
        ('root ::= ("a"', ["not closed"]),
        ("root ::= *", ["nothing to repeat before *"]),
        ('root ::= "a"{2,1}', ["never match"]),
        ('root ::= "a"{,2}', ["no repetition"]),
        ('root ::= "a"{99999}', ["more than 10,000 times"]),
        ("root ::= <think>", ["reference to a token"]),
        ('root ::= root "a" | "b"', ["'root' begins with itself"]),
        ('root ::= a root "b" | "c"\na ::= b\nb ::= "x"?', ["begins with itself"]),
        ('root ::= "a" x\nx ::= y* z\ny ::= "" | x\nz ::= "q"', ["begins with itself"]),
        (f"root ::= {'(' * 51}{')' * 51}", ["nested more than 50 deep"]),
        ("\n".join(f"r{i} ::= r{i + 1}" for i in range(1001)), ["more than 1,000 rules"]),
    ],
)
def test_a_mistake_is_named(grammar, words):
    with pytest.raises(FormatError) as caught:
        gbnf.read(grammar, "my.gbnf")
    assert "my.gbnf" in caught.value.message
    for word in words:
        assert word in caught.value.message


@settings(max_examples=150, deadline=None)
@given(st.text('ro:="ab[]^-\\x|()*+?{}1,2.#\n <>', max_size=30).map("root ::= ".__add__))
def test_any_text_is_a_grammar_or_a_format_error(text):
    try:
        rules = gbnf.read(text, "g")
    except FormatError:
        return
    assert to_lark(rules).startswith("start: r0\n")
    assert judge(AnswerFormat("grammar", text, "g"), "ab").state in {"valid", "truncated", "invalid"}
