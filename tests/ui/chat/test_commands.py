from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workbench.core.parameters import PARAMETERS
from workbench.ui.chat.commands import COMMANDS, candidates, plain_message, read_command, unquoted
from workbench.ui.prompt.completion import Candidate, common_start


@pytest.mark.parametrize(
    ("text", "name", "rest"),
    [
        ("/set", "set", ""),
        ("/SET  temperature 1 ", "set", "temperature 1"),
        ("/set system one\ntwo", "set", "system one\ntwo"),
        ("/show\ninfo", "show", "info"),
        ("/etc/passwd is what?", "etc/passwd", "is what?"),
        ("/", "", ""),
    ],
)
def test_a_line_is_read_as_a_command(text: str, name: str, rest: str) -> None:
    typed = read_command(text)
    assert typed is not None
    assert (typed.name, typed.rest) == (name, rest)


@pytest.mark.parametrize("text", ["", "hello /set", "//set", " /set"])
def test_what_is_a_message(text: str) -> None:
    assert read_command(text) is None


def test_two_slashes_send_one() -> None:
    assert (plain_message("//etc"), plain_message("a // b")) == ("/etc", "a // b")


@given(st.text(max_size=40))
@example("/models")
@example("/load Q8")
def test_every_text_is_a_message_or_a_command(text: str) -> None:
    typed = read_command(text)
    if typed is None:
        assert plain_message(text) == (text[1:] if text.startswith("//") else text)
    elif typed.command is None:
        assert "/?" in typed.advice
    for each in candidates(text, ["a", "b", "Q8"]):
        assert each.text.startswith("/")
        assert each.text != text


def test_names_and_aliases_are_each_of_one_command() -> None:
    words = [word for each in COMMANDS for word in (each.name, *each.aliases)]
    assert len(set(words)) == len(words)
    assert read_command("/quit").command is read_command("/bye").command  # type: ignore[union-attr]
    assert "'set'" in read_command("/sett").advice  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/lo", ["/load ", "/log"]),
        ("/q", ["/bye", "/quality"]),
        ("/set tem", ["/set temperature ", "/set system "]),
        ("/set parameter num_ct", ["/set parameter num_ctx "]),
        ("/set flash_attn o", ["/set flash_attn on", "/set flash_attn off", "/set flash_attn auto"]),
        ("/set use_mmap ", ["/set use_mmap true", "/set use_mmap false"]),
        ("/set temperature ", []),
        ("/show temp", ["/show template"]),
        ("/load Q8", ["/load smol:Q8_0"]),
        ("/clear x", []),
        ("/set system a\nb", []),
        ("hello", []),
    ],
)
def test_a_command_is_completed(text: str, expected: list[str]) -> None:
    assert [each.text for each in candidates(text, ["smol:Q4_K_M", "smol:Q8_0"])] == expected


def test_every_parameter_can_be_completed() -> None:
    offered = {each.text for each in candidates("/set parameter ")}
    assert offered == {f"/set parameter {name} " for name in PARAMETERS}


def test_the_common_start() -> None:
    assert common_start([]) == ""
    assert common_start([Candidate("/set top_k ", ""), Candidate("/set top_p ", "")]) == "/set top_"
    assert common_start([Candidate("/a", ""), Candidate("/ab", "")]) == "/a"


def test_quotes_around_a_text_are_left_out() -> None:
    assert [unquoted(text) for text in ('"""\na\n"""', '"a"', "a", '"', '""')] == ["a", "a", "a", '"', ""]


def test_think_is_offered_once_and_its_values_are_completed() -> None:
    assert [each.text for each in candidates("/set thin")][:2] == ["/set think ", "/set think_budget "]
    assert "/set think off" in [each.text for each in candidates("/set think o")]
