"""The markup around the thoughts of families of models, as in the chat templates that they are published with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from workbench.core.chat import Message

State = Literal["start", "header", "message", "reasoning", "answer"]
"""`start`: the next text may be a marker; `header`: what is written is no text; `message`: its header says the kind."""


@dataclass(frozen=True, slots=True)
class Family:
    """The markup of a family of models."""

    opening: str
    """What opens the thoughts at the beginning of an answer."""
    closing: str
    """What ends them."""
    moves: Mapping[State, Mapping[str, State]]
    """In each state, the markers that end it and the state that follows."""
    written: str = ""
    """What is written between thoughts and answer, where that is more than `closing`."""
    answer: str = ""
    """What stands before an answer without thoughts."""


def tag_family(opening: str, closing: str, written: str = "") -> Family:
    """A family that writes one tag before its thoughts and one after them."""
    moves: dict[State, dict[str, State]] = {"start": {opening: "reasoning", closing: "start"}}
    return Family(opening, closing, moves | {"reasoning": {closing: "start"}}, written or closing)


_MESSAGE_ENDS: dict[str, State] = {
    "<|end|>": "start",
    "<|return|>": "start",
    "<|call|>": "start",
    "<|start|>": "header",
    "<|channel|>": "header",
}

HARMONY = Family(
    "<|channel|>analysis<|message|>",
    "<|end|>",
    {
        "start": {"<|start|>": "header", "<|channel|>": "header", "<|message|>": "message", "<|end|>": "start"},
        "header": {"<|message|>": "message"},
        "reasoning": _MESSAGE_ENDS,
        "answer": _MESSAGE_ENDS,
    },
    "<|end|><|start|>assistant<|channel|>final<|message|>",
    "<|channel|>final<|message|>",
)
"""gpt-oss: https://cookbook.openai.com/articles/openai-harmony."""

FAMILIES = (
    tag_family("<think>", "</think>", "\n</think>\n\n"),
    HARMONY,
    # Apriel writes its thoughts without an opening; the prompt of later ones begins them.
    Family(
        "Here are my reasoning steps:\n",
        "[BEGIN FINAL RESPONSE]",
        {"start": {}, "reasoning": {"[BEGIN FINAL RESPONSE]": "answer"}, "answer": {"[END FINAL RESPONSE]": "answer"}},
        "\n[BEGIN FINAL RESPONSE]\n",
    ),
    # Gemma 4
    Family(
        "<|channel>thought\n",
        "<channel|>",
        {
            "start": {"<|channel>": "header", "<channel|>": "start"},
            "header": {"\n": "message", "<channel|>": "start"},
            "reasoning": {"<channel|>": "start"},
        },
        "\n<channel|>",
    ),
    tag_family("<thinking>", "</thinking>"),
    tag_family("[THINK]", "[/THINK]"),
    tag_family("<seed:think>", "</seed:think>"),
    tag_family("<mm:think>", "</mm:think>"),
    tag_family("<think:opensource>", "</think:opensource>"),
    tag_family("<|START_THINKING|>", "<|END_THINKING|>"),
    tag_family("<|inner_prefix|>", "<|inner_suffix|>"),
    # Kimi-VL Thinking
    tag_family("◁think▷", "◁/think▷"),
    # OpenThinker, Sky-T1
    tag_family("<|begin_of_thought|>", "<|end_of_thought|>"),
    # Kimi K3
    Family(
        "<|open|>think<|sep|>",
        "<|close|>think<|sep|>",
        {
            "start": {
                "<|open|>think<|sep|>": "reasoning",
                "<|close|>think<|sep|>": "start",
                "<|open|>response<|sep|>": "answer",
            },
            "reasoning": {"<|close|>think<|sep|>": "start"},
            "answer": {"<|close|>response<|sep|>": "header"},
        },
        "<|close|>think<|sep|><|open|>response<|sep|>",
        "<|open|>response<|sep|>",
    ),
    # Muse
    Family(
        " to=self<|message|>",
        "<|eom|>",
        {
            "start": {"to=self<|message|>": "reasoning", "to=user<|message|>": "answer", "<|start|>": "header"},
            "header": {"<|message|>": "message"},
            "reasoning": {"<|eom|>": "start"},
            "answer": {"<|eom|>": "start"},
        },
        "<|eom|><|start|>assistant to=user<|message|>",
        " to=user<|message|>",
    ),
    # Solar
    Family(
        "<|think|>",
        "<|end|>",
        {
            "start": {"<|think|>": "reasoning", "<|begin|>": "header", "<|content|>": "answer", "<|end|>": "start"},
            "header": {"<|think|>": "reasoning", "<|content|>": "answer"},
            "reasoning": {"<|end|>": "start", "<|begin|>": "header"},
            "answer": {"<|end|>": "answer"},
        },
        "<|end|><|begin|>assistant<|content|>",
        "<|content|>",
    ),
)
"""In the order in which a chat template is searched for their openings."""

WRAPPERS = {
    "<response>": "</response>",
    "<answer>": "</answer>",
    "<|START_RESPONSE|>": "<|END_RESPONSE|>",
    "<|START_TEXT|>": "<|END_TEXT|>",
    "<|begin_of_solution|>": "<|end_of_solution|>",
}
"""What some families write around the answer after their thoughts."""

MARKS = frozenset(
    mark
    for family in FAMILIES
    for text in (family.opening, family.written)
    for mark in re.findall(r"<[^<>\s]+>|\[/?[A-Z]+\]|◁[^▷\s]+▷", text)
)
"""The texts that may be tokens of their own, in the markup of all families."""


def family_of(source: str) -> Family | None:
    """The family whose opening a chat template contains; None where it has none."""
    for family in (HARMONY, *FAMILIES[2:], FAMILIES[0]):
        if any(marker in source or marker.replace("\n", "\\n") in source for marker in _signs(family)):
            return family
    return None


def wrapped_family(family: Family, wrapper: str) -> Family:
    """`family` for a model that writes `wrapper`, a key of `WRAPPERS`, before its answers."""
    # Those that are no control tokens are written after thoughts alone.
    answer = wrapper if wrapper.startswith("<|") else family.answer
    return replace(family, written=family.written + wrapper, answer=answer)


def _signs(family: Family) -> tuple[str, ...]:
    """What a template of the family contains: its opening, or else its closing."""
    return (family.opening,) if family.moves["start"] else (family.opening, family.closing)


def open_family(prompt: str, own: Family | None = None) -> Family | None:
    """The family whose block of thoughts a rendered prompt leaves open at its end; None where none is open.

    `own` is that of the model.
    """
    tail = prompt.rstrip()
    families = (*((own,) if own else ()), *FAMILIES)
    return next((family for family in families if tail.endswith(family.opening.rstrip())), None)


def begins_answer(prompt: str, own: Family | None) -> bool:
    """Whether a rendered prompt ends with the end of thoughts, or with what `own` writes before an answer."""
    tail = prompt.rstrip()
    markers = (own.closing, own.written, own.answer) if own else ()
    return any(tail.endswith(marker.rstrip()) for marker in markers if marker)


def with_beginning(prompt: str, answer: Message, family: Family | None = None) -> tuple[str, Family | None]:
    """A rendered prompt with the beginning of its answer, and the family of a block of thoughts left open.

    `family` writes the markers where the prompt opens no block.
    """
    opened = open_family(prompt, family)
    family = opened or family or FAMILIES[0]
    opening = "" if opened else family.opening
    if not answer.reasoning and opened is None:
        begun = begins_answer(prompt, family)
        return prompt + ("" if begun else family.answer) + answer.content, None
    block = f"{prompt}{opening}{answer.reasoning}"
    return (block + family.written + answer.content, None) if answer.content else (block, family)
