"""An answer whose text turns out to be reasoning."""

from __future__ import annotations

from workbench.core.answer import Answer
from workbench.core.events import Finished, Token, Usage
from workbench.core.metrics import Meter
from workbench.core.trace import Tracer

EVENTS = (
    Token("Two and", 1, "answer", 1_000_000, 1),
    Token(" two.", 2, "answer", 2_000_000, 2),
    Token("", 3, "reasoning", 3_000_000, 3, recast=True),
    Token("Four", 4, "answer", 4_000_000, 4),
    Finished("stop", Usage(1, None, 4), 5_000_000, 5, text=".", thoughts="!"),
)


def test_the_text_before_is_reasoning():
    answer, tracer = Answer(Meter(0)), Tracer(0)
    for event in EVENTS:
        answer.feed(event)
        tracer.feed(event)
    message = answer.message()
    assert (message.reasoning, message.content) == ("Two and two.!", "Four.")
    assert answer.meter.metrics().ttft_ms == 1
    steps = [(step.characters, step.kind) for step in tracer.trace().steps()]
    assert steps == [(7, "reasoning"), (5, "reasoning"), (4, "answer"), (1, "reasoning"), (1, "answer")]
