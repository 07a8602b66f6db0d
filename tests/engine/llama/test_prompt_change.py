from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.core.chat import Message
from workbench.engine.llama.prompt_change import Asked, cause_of_change

SYSTEM, QUESTION, ANSWER = (
    Message("system", "Be kind."),
    Message("user", "Why?"),
    Message("assistant", "Because it is."),
)
BEFORE = Asked((SYSTEM, QUESTION), 0, ("template",), "Be kind. Why?", 10)
AFTER = replace(BEFORE, messages=(SYSTEM, QUESTION, ANSWER, QUESTION))


@pytest.mark.parametrize(
    ("after", "written", "at", "cause"),
    [
        (AFTER, "Because it", 12, "the text of the answer has other tokens than the model wrote"),
        (AFTER, "<think>so</think>Because it", 12, "the chat template writes an answer differently from the model"),
        (AFTER, "Something else", 12, "an edited answer"),
        (AFTER, "Because it is.", 5, "the chat template writes earlier turns differently"),
        (replace(AFTER, dropped=2), "", 5, "a dropped turn"),
        (replace(AFTER, template=("template", "on")), "", 5, "another chat template"),
        (replace(AFTER, messages=(QUESTION,)), "", 5, "a system prompt that was added or removed"),
        (replace(AFTER, messages=(replace(SYSTEM, content="Be short."), QUESTION)), "", 5, "another system prompt"),
        (replace(AFTER, messages=(SYSTEM, replace(QUESTION, content="How?"))), "", 5, "an edited message"),
        (replace(AFTER, messages=()), "", 5, "another text"),
    ],
)
def test_the_cause_of_a_change(after: Asked, written: str, at: int, cause: str) -> None:
    assert cause_of_change(BEFORE, after, written, at).startswith(cause)


@pytest.mark.parametrize(
    ("one", "other"),
    [("09:41", "10:15"), ("2026-11-30", "2026-12-01"), ("Monday", "Tuesday"), ("30 Nov 2026", "1 Dec 2026")],
)
def test_dates_and_times_are_recognized(one: str, other: str) -> None:
    before, after = (replace(BEFORE, rendered=f"Today is {text}, and all is well.") for text in (one, other))
    assert cause_of_change(before, after, "", 5) == "a date or time in the chat template"


def test_a_number_is_no_time() -> None:
    before, after = (replace(BEFORE, rendered=f"Use {count} apples in each basket.") for count in (3, 4))
    assert "date" not in cause_of_change(before, after, "", 5)
