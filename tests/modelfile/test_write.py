from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workbench.core.errors import ModelfileError
from workbench.modelfile.syntax import COMMANDS, ROLES, Instruction, check
from workbench.modelfile.write import write


def parse(source: bytes | str) -> tuple[Instruction, ...]:
    commands, error = check(source)
    if error is not None:
        raise error
    return commands


FROM = Instruction("from", "model")

hard_text = st.text(st.sampled_from('"" \t\r\na#x:é🙂')) | st.text()
writable_text = st.text(
    st.sampled_from('""" \t\r\nab#:é日🙂') | st.characters(categories=("L", "M", "N", "P", "S"))
).filter(str.isprintable) | st.text(st.sampled_from('" \t\r\na#'))
parameter_names = st.from_regex(r"[A-Za-z0-9_]+", fullmatch=True)


def commands(texts):
    plain = st.sampled_from([name for name in COMMANDS if name not in ("from", "parameter", "message")])
    return st.one_of(
        st.builds(Instruction, plain, texts),
        st.builds(Instruction, st.just("from"), texts),
        st.builds(Instruction, st.just("parameter"), texts, parameter=parameter_names),
        st.builds(Instruction, st.just("message"), texts, role=st.sampled_from(ROLES)),
    )


@given(st.lists(commands(hard_text), max_size=6))
def test_what_is_written_is_read_back_or_refused(some):
    try:
        text = write([FROM, *some])
    except ModelfileError:
        return
    assert parse(text) == (FROM, *some)
    assert parse(text.encode()) == (FROM, *some)


@given(st.lists(commands(writable_text), max_size=6), st.lists(st.text(), max_size=3))
@example([Instruction("system", 'ends in "')], [])
@example([Instruction("system", '"')], [])
@example([Instruction("system", '""')], [])
@example([Instruction("system", '"""')], [])
@example([Instruction("system", 'a"""')], [])
@example([Instruction("system", '"\n"')], [])
@example([Instruction("system", "\r")], [])
@example([Instruction("system", "\t")], [])
@example([Instruction("parameter", "", parameter="stop")], ["# a\r\nFROM evil"])
def test_only_what_cannot_be_held_is_refused(some, header):
    unholdable = any(re.search(r'"""[ \t]*[\r\n]', command.args) for command in some)
    if unholdable or any(command.name == "from" and not command.args for command in some):
        with pytest.raises(ModelfileError):
            write([FROM, *some], header)
    else:
        assert parse(write([FROM, *some], header)) == (FROM, *some)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("", '""'),
        (" lead", '" lead"'),
        ("trail ", '"trail "'),
        ("\ttab", '"\ttab"'),
        ("a\nb", '"a\nb"'),
        ("a\rb", '"a\rb"'),
        ('say "hi"', 'say "hi"'),
        ('"x"', '""""x""""'),
        ('a "b"\nc', '"""a "b"\nc"""'),
        ("# no comment", "# no comment"),
        ("'single'", "'single'"),
    ],
)
def test_quotes(value, written):
    assert write([Instruction("system", value)]) == f"SYSTEM {written}\n"


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (Instruction("system", "a\u00a0b"), r"SYSTEM .* 2 .*U\+00A0 \(NO-BREAK SPACE\)"),
        (Instruction("message", "👩\u200d💻", role="user"), r"MESSAGE user \(number 1\).*U\+200D"),
        (Instruction("parameter", "\x00", parameter="stop"), r"PARAMETER stop.*U\+0000"),
        (Instruction("system", "\ud800"), r"U\+D800"),
        (Instruction("template", 'a"""\nb'), r'TEMPLATE has a line that ends in """'),
        (Instruction("from", ""), "FROM needs a model"),
        (Instruction("parameter", "1", parameter="a-b"), "'a-b'"),
        (Instruction("parameter", "1"), "''"),
        (Instruction("message", "x", role="tool"), "'tool'"),
        (Instruction("model", "x"), "'model'"),
    ],
)
def test_a_refusal_names_the_value(command, named):
    with pytest.raises(ModelfileError, match=named):
        write([FROM, command])


def test_messages_are_counted_in_a_refusal():
    with pytest.raises(ModelfileError, match="number 2"):
        write([Instruction("message", "good", role="user"), Instruction("message", "\x07", role="assistant")])


def test_a_header_stays_a_comment():
    text = write([FROM], ["made by\nhand", "", "x\u2028y\x0bz"])
    assert text == "# made by hand\n#\n# x y z\n\nFROM model\n"
    assert parse(text) == (FROM,)
