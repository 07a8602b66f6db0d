from __future__ import annotations

import codecs
import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workbench.modelfile.syntax import COMMANDS, ROLES, Instruction, ModelfileSyntaxError, check, decode


def parse(source: bytes | str) -> tuple[Instruction, ...]:
    commands, error = check(source)
    if error is not None:
        raise error
    return commands


def read(text):
    """The commands after `FROM m`, each as its name, its second word where it has one, and its value."""
    first, *rest = parse(f"FROM m\n{text}")
    assert first == Instruction("from", "m")
    return [(*filter(None, (each.name, each.parameter, each.role)), each.args) for each in rest]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("from", "parameter", "message")])
def test_every_plain_command_in_every_case(name):
    assert read(f"{name} a\n{name.upper()} b\n{name.title()} c") == [(name, "a"), (name, "b"), (name, "c")]


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        # Values without quotes end with the line, and are trimmed.
        ("SYSTEM  \t hello  world \t ", [("system", "hello  world")]),
        ("SYSTEM a\tb", [("system", "a\tb")]),
        ("SYSTEM a # no comment", [("system", "a # no comment")]),
        ("SYSTEM a SYSTEM b", [("system", "a SYSTEM b")]),
        ("SYSTEM a\\\nTEMPLATE b", [("system", "a\\"), ("template", "b")]),
        ("SYSTEM 'single\nTEMPLATE quotes'", [("system", "'single"), ("template", "quotes'")]),
        ("SYSTEM a\rSYSTEM b\r\nSYSTEM c", [("system", "a"), ("system", "b"), ("system", "c")]),
        # Double quotes.
        ('SYSTEM "a"', [("system", "a")]),
        ('SYSTEM " a "', [("system", " a ")]),
        ('SYSTEM ""', [("system", "")]),
        ('SYSTEM "a\nb\r\n\tc"', [("system", "a\nb\r\n\tc")]),
        ('SYSTEM "a"  \t\nSYSTEM b', [("system", "a"), ("system", "b")]),
        ('SYSTEM "x" y\nand more\n"z"\nSYSTEM b', [("system", 'x" y\nand more\n"z'), ("system", "b")]),
        ('SYSTEM "x" y "z"', [("system", 'x" y "z')]),
        ('SYSTEM ""q""', [("system", '"q"')]),
        ('SYSTEM a "b"', [("system", 'a "b"')]),
        ('SYSTEM "\n"', [("system", "\n")]),
        ('SYSTEM "\\"', [("system", "\\")]),
        # Triple quotes.
        ('SYSTEM """a"""', [("system", "a")]),
        ('SYSTEM """\na "b"\n"""', [("system", '\na "b"\n')]),
        ('SYSTEM """a"""b"""', [("system", 'a"""b')]),
        ('SYSTEM """"""', [("system", "")]),
        ('SYSTEM """"a""""', [("system", '"a"')]),
        ('SYSTEM """\n""""', [("system", '\n"')]),
        ('SYSTEM """a"\n""\nb"""', [("system", 'a"\n""\nb')]),
        ('SYSTEM """a""" b\n"""', [("system", 'a""" b\n')]),
        ('SYSTEM """"\n"""', [("system", '"\n')]),
        # Empty values.
        ("SYSTEM ", [("system", "")]),
        ("SYSTEM \nSYSTEM \t", [("system", ""), ("system", "")]),
        ("PARAMETER stop ", [("parameter", "stop", "")]),
        ('MESSAGE user ""', [("message", "user", "")]),
        # Second words.
        ("PARAMETER stop <|x|>", [("parameter", "stop", "<|x|>")]),
        ("parameter StOp_1\t x", [("parameter", "StOp_1", "x")]),
        ("PARAMETER  temperature 1", [("parameter", "temperature 1")]),
        ("MESSAGE user a: b", [("message", "user", "a: b")]),
        ("message assistant\t  a ", [("message", "assistant", "a")]),
        ('MESSAGE system """\na\n"""', [("message", "system", "\na\n")]),
        # Comments and blank lines.
        ("# SYSTEM a\n\n \t# b\r#c\r\n  SYSTEM d", [("system", "d")]),
        ("#", []),
        ('# "\nSYSTEM a', [("system", "a")]),
        # What does not print is dropped from values, tabs and line ends excepted.
        ("SYSTEM a\x00\u00a0\u200b\u200d\u00ad\u2028\u3000\x0bb", [("system", "ab")]),
        ("SYSTEM \u00a0 a \u00a0", [("system", "a")]),
        ('SYSTEM \u200b"a"\u200b', [("system", "a")]),
        ('SYSTEM "a\u2028\nb\x00"\x00 \n', [("system", "a\nb")]),
        ('SYSTEM """a"\u200b""', [("system", "a")]),
        ("SYSTEM \ufffd é 日本 🙂 e\u0301", [("system", "\ufffd é 日本 🙂 e\u0301")]),
        ("\u200bSYSTEM a", [("system", "a")]),
        ("\x00SYSTEM a", [("system", "a")]),
    ],
)
def test_what_is_read(text, commands):
    assert read(text) == commands


BAD_COMMAND = "command must be one of"
BAD_ROLE = 'message role must be one of "system", "user", or "assistant"'


@pytest.mark.parametrize(
    ("text", "problem", "line", "column", "hint"),
    [
        ("", "no FROM line", 1, 1, "FROM"),
        ("# only\n", "no FROM line", 1, 1, "FROM"),
        ("SYSTEM a", "no FROM line", 1, 1, "FROM"),
        ("PARAMETER from x", "no FROM line", 1, 1, "FROM"),
        ("FROM a\nFROMM b", BAD_COMMAND, 2, 1, "'from'"),
        ("FROM a\n\n  SYSTM b", BAD_COMMAND, 3, 3, "'system'"),
        ("FROM a\r\n\r\nEMBED b", BAD_COMMAND, 3, 1, ""),
        ("FROM a\rINCLUDE b", BAD_COMMAND, 2, 1, ""),
        ("FROM a\nSYSTEM\nFROM b", BAD_COMMAND, 2, 1, "on the same line"),
        ("FROM a\nSYSTEM\r\n", BAD_COMMAND, 2, 1, "on the same line"),
        ("FROM a\nSYSTEM: b", BAD_COMMAND, 2, 1, "blank"),
        ("FROM a\nSYSTEM\u00a0b", BAD_COMMAND, 2, 1, "blank"),
        ("FROM a\n9SYSTEM b", BAD_COMMAND, 2, 1, "'system'"),
        ("FROM a\n\u200b SYSTEM b", BAD_COMMAND, 2, 1, ""),
        ("FROM a\nSYS\u200bTEM b", BAD_COMMAND, 2, 1, ""),
        ('FROM "a\nb"\nX y', BAD_COMMAND, 3, 1, ""),
        ("FROM", "unexpected EOF", 1, 5, "FROM needs a value"),
        ("FROM a\nSYSTEM", "unexpected EOF", 2, 7, "SYSTEM needs a value"),
        ("FROM a\nSYSTM", "unexpected EOF", 2, 1, "'system'"),
        ('FROM a\nSYSTEM "b\n\nc', "unexpected EOF", 2, 8, '"'),
        ('FROM a\nSYSTEM  """b"\n""', "unexpected EOF", 2, 9, '"""'),
        ('FROM a\nSYSTEM """""', "unexpected EOF", 2, 8, '"""'),
        ('FROM a\nSYSTEM "', "unexpected EOF", 2, 8, '"'),
        ('FROM a\nSYSTEM "x" y', "unexpected EOF", 2, 8, '"'),
        ("FROM a\nPARAMETER stop", "unexpected EOF", 2, 15, "PARAMETER needs"),
        ("FROM a\nPARAMETER stop\n", "unexpected EOF: stop", 2, 15, "PARAMETER needs"),
        ("FROM a\nPARAMETER top-k 1", "unexpected EOF: top", 2, 14, "PARAMETER needs"),
        ("FROM a\nPARAMETER ", "unexpected EOF", 2, 11, "PARAMETER needs"),
        ("FROM a\nMESSAGE user", "unexpected EOF", 2, 13, "MESSAGE needs"),
        ("FROM a\nMESSAGE user:hi", "unexpected EOF: user", 2, 13, "MESSAGE needs"),
        ("FROM a\nMESSAGE User hi", BAD_ROLE, 2, 9, "'user'"),
        ("FROM a\nMESSAGE tool hi", BAD_ROLE, 2, 9, ""),
        ("FROM a\nMESSAGE  user hi", BAD_ROLE, 2, 9, "one blank"),
        ("FROM a\nMESSAGE hello there", BAD_ROLE, 2, 9, ""),
    ],
)
def test_what_is_refused_and_where(text, problem, line, column, hint):
    with pytest.raises(ModelfileSyntaxError) as caught:
        parse(text)
    error = caught.value
    assert error.problem.startswith(problem)
    assert (error.line, error.column) == (line, column)
    assert error.message.startswith(f"line {line}, column {column}: {problem}")
    assert hint in error.hint


def test_the_text_of_a_bad_command():
    with pytest.raises(ModelfileSyntaxError) as caught:
        parse("FOO bar")
    assert caught.value.problem == (
        'command must be one of "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", '
        '"parameter", "message", or "requires"'
    )


def test_a_parameter_called_model_is_a_model_as_in_ollama():
    assert parse("PARAMETER model x") == (Instruction("parameter", "x", parameter="model"),)


def test_commands_know_their_place():
    commands = parse('# c\r\n\r\nFROM a\r\n  SYSTEM "b\r\nc"\r\n\tPARAMETER seed 1\nMESSAGE user x\r\rLICENSE y')
    assert [(each.name, each.line, each.column) for each in commands] == [
        ("from", 3, 1),
        ("system", 4, 3),
        ("parameter", 6, 2),
        ("message", 7, 1),
        ("license", 9, 1),
    ]


def test_what_comes_before_an_error_is_told():
    commands, error = check("FROM a\nSYSTEM b\nFOO c\nSYSTEM d")
    assert [each.args for each in commands] == ["a", "b"]
    assert error is not None
    assert error.line == 3


def test_an_error_survives_pickling():
    with pytest.raises(ModelfileSyntaxError) as caught:
        parse("FROM a\n FOO b")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.problem, copy.hint, copy.line, copy.column) == (
        str(caught.value),
        caught.value.problem,
        caught.value.hint,
        2,
        2,
    )


@pytest.mark.parametrize(
    "data",
    [
        "FROM é🙂\n".encode(),
        codecs.BOM_UTF8 + "FROM é🙂\n".encode(),
        codecs.BOM_UTF16_LE + "FROM é🙂\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "FROM é🙂\n".encode("utf-16-be"),
    ],
)
def test_encodings(data):
    assert parse(data) == (Instruction("from", "é🙂"),)


def test_a_byte_order_mark_is_no_column():
    assert parse("\ufeffFROM a")[0].column == 1
    assert parse(codecs.BOM_UTF8 + b"FROM a")[0].column == 1


def test_utf16_without_a_mark_is_not_known():
    with pytest.raises(ModelfileSyntaxError):
        parse("FROM a\n".encode("utf-16-le"))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\xffb", "a\ufffdb"),
        (b"a\xe2\x82", "a\ufffd"),
        (b"\xf0\x9f\x98b\xe2", "\ufffdb\ufffd"),
        (b"\xff\xff", "\ufffd\ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b"\xc0\x80", "\ufffd\ufffd"),
        (codecs.BOM_UTF16_LE + b"a\x00\x00\xd8", "a\ufffd"),
        (codecs.BOM_UTF16_BE + b"\x00a\x00", "a\ufffd"),
        (codecs.BOM_UTF8 + codecs.BOM_UTF8 + b"a", "\ufeffa"),
    ],
)
def test_bytes_that_are_no_text(data, text):
    assert decode(data) == text


class Refused(Exception):
    """What the plain grammar does not take."""


class PlainGrammar:
    """The grammar again, one character at a time and in the plainest way, to compare with."""

    def __init__(self):
        self.state = self.between
        self.word = self.name = self.second = ""
        self.commands = []

    def between(self, character):
        if character == "#":
            self.state = self.comment
        elif character not in " \t\r\n":
            self.state = self.command
            self.word = character if character.isprintable() else ""

    def comment(self, character):
        if character in "\r\n":
            self.state = self.between

    def command(self, character):
        if character in " \t" and self.word.lower() in COMMANDS:
            self.name, self.word, self.second = self.word.lower(), "", ""
            self.state = {"parameter": self.parameter, "message": self.role}.get(self.name, self.value)
        else:
            self.more_of_the_word(character, "")

    def parameter(self, character):
        if character in " \t":
            self.second, self.word, self.state = self.word, "", self.value
        else:
            self.more_of_the_word(character, "0123456789_")

    def role(self, character):
        if character not in " \t":
            self.more_of_the_word(character, "")
        elif self.word in ROLES:
            self.second, self.word, self.state = self.word, "", self.value
        else:
            raise Refused

    def more_of_the_word(self, character, others):
        if not (character.isascii() and character.isalpha()) and character not in others:
            raise Refused
        self.word += character

    def value(self, character):
        if character not in "\r\n" or not self.value_ends():
            self.word += character if character.isprintable() or character in "\t\r\n" else ""

    def value_ends(self):
        value = self.word.strip(" \t\r\n")
        quote = next((each for each in ('"""', '"') if value.startswith(each)), "")
        if quote:
            if len(value) < 2 * len(quote) or not value.endswith(quote):
                return False
            value = value[len(quote) : -len(quote)]
        self.commands.append((self.name, self.second, value))
        self.state = self.between
        return True


def step_by_step(text):
    """The commands in `text` by the plain grammar; None where it refuses."""
    grammar = PlainGrammar()
    try:
        for character in text:
            grammar.state(character)
    except Refused:
        return None
    if grammar.state == grammar.value:
        grammar.value_ends()
    if grammar.state not in (grammar.between, grammar.comment):
        return None
    has_model = any(name == "from" or second == "model" for name, second, _ in grammar.commands)
    return grammar.commands if has_model else None


pieces = st.sampled_from(
    [
        *'""""\n\n\r\t  #a:\'\\\u200b\u00a0',
        '"""',
        "SYSTEM ",
        "\nFROM a",
        "\nPARAMETER stop ",
        "MESSAGE user ",
        "é🙂",
        "model",
    ]
)


@given(st.lists(pieces, max_size=25).map("".join) | st.text(max_size=40))
@example('SYSTEM """a\n\u200b"""\u200b\nFROM b')
@example("PARAMETER model x")
def test_it_agrees_with_the_grammar_taken_step_by_step(text):
    for source in (text, f"FROM m\n{text}", f"FROM m\nSYSTEM {text}"):
        commands, error = check(source)
        plain = None if error else [(each.name, each.parameter or each.role, each.args) for each in commands]
        assert plain == step_by_step(source.removeprefix("\ufeff"))


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data):
    commands, error = check(b"FROM a\nSYSTEM " + data)
    assert error is None or error.line >= 1
    assert all(each.line >= 1 and each.column >= 1 for each in commands)


@given(st.lists(pieces, max_size=25).map("".join))
def test_places_are_those_of_an_editor(text):
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    commands, error = check(text)
    for command in commands:
        rest = "".join(c for c in lines[command.line - 1][command.column - 1 :] if c.isprintable())
        assert rest.lower().startswith(command.name)
    if error is not None:
        assert error.line <= len(lines)
        assert error.column <= len(lines[error.line - 1]) + 1


# Each of these would take hours if reading it again and again were anywhere in the reader.
@pytest.mark.parametrize(
    "text",
    [
        'FROM a\nSYSTEM "' + "x\n" * 500_000,
        'FROM a\nSYSTEM """' + 'x"\n' * 300_000 + '"""',
        'FROM a\nSYSTEM "' + '"\u200b' * 500_000 + "x",
        "FROM a\nSYSTEM " + '"' * 1_000_001,
        "FROM a\n" + "#\n" * 500_000,
        "FROM a" + "\r" * 1_000_000,
        "FROM a\n" + "SYSTEM a\n" * 50_000,
        "FROM a\nLICENSE " + "\x00" * 1_000_000,
        "FROM a\nSYSTEM a" + " " * 1_000_000 + "b",
    ],
    ids=range(9),
)
def test_a_large_file_is_read_in_linear_time(text):
    commands, _ = check(text)
    assert commands[0] == Instruction("from", "a")
