"""The cost of telling markup from text: control tokens in a prompt, and thoughts in an answer.

A conversation is tokenized with the texts of control tokens kept as text, and without: the difference is compared with
the prefill of its tokens. The tokens of an answer go through the separation of thoughts and through the decoding of
characters alone: the difference is compared with the time that the model takes for one token.

    python -m benchmarks.markup [--rounds 9] [--threads 2]
"""

from __future__ import annotations

import asyncio
import codecs
import random
import sys
import time
from collections.abc import Callable, Sequence

from benchmarks.common import Bar, finish, interleave, parser, print_samples
from benchmarks.escape import WORDS
from benchmarks.models import demo_model
from benchmarks.worker import PROMPT, open_engine
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.metrics import AnswerMetrics, Meter
from workbench.core.parameters import Sampling
from workbench.engine.families import FAMILIES
from workbench.engine.llama.control_texts import ControlTexts, unused_mark
from workbench.engine.llama.engine import LlamaEngine
from workbench.engine.text import AnswerText
from workbench.engine.thoughts import ReasoningSplitter

BAR_PERCENT = 2.0
TURNS, WORDS_OF_A_TURN = 7, 180
TYPED = "A log says <|im_start|>user and <|im_end|>. "
ANSWER_TOKENS = 128
REPEATED = 20
"""How often the tokens of an answer are separated: once takes too little time to be measured."""


def conversation() -> list[Message]:
    """Some 1,500 tokens; every question has the texts of control tokens in it."""
    return [
        Message(
            "assistant" if turn % 2 else "user",
            TYPED * (1 - turn % 2) + " ".join(random.choices(WORDS, k=WORDS_OF_A_TURN)),
        )
        for turn in range(TURNS)
    ]


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


async def generated(engine: LlamaEngine, request: Request) -> AnswerMetrics:
    meter = Meter(time.perf_counter_ns())
    async for batch in engine.generate(request, CancelToken()):
        for event in batch:
            meter.feed(event)
    return meter.metrics()


def prompt_once(engine: LlamaEngine, runner: asyncio.Runner) -> dict[str, float]:
    """The additional time for a prompt, in percent of its prefill."""
    messages = conversation()
    template, vocabulary = engine._template, engine._model.vocabulary
    assert not isinstance(template, Exception)

    def tokens(controls: ControlTexts) -> list[int]:
        mark = unused_mark(message.content for message in messages)
        return vocabulary.tokenize_prompt(*controls.render(template, messages, mark, CancelToken()).split(mark))

    arms = [ControlTexts(), engine._controls]
    whole = tokens(arms[0])
    random.shuffle(arms)
    took = {controls: seconds(lambda controls=controls: tokens(controls)) for controls in arms}
    plain, apart = took.pop(next(each for each in arms if each is not engine._controls)), took.pop(engine._controls)
    metrics = runner.run(generated(engine, Request(tokens=tuple(whole), sampling=Sampling(num_predict=1))))
    assert metrics.prefill_tps
    return {"%": 100 * (apart - plain) / (len(whole) / metrics.prefill_tps)}


def answer_once(
    engine: LlamaEngine, runner: asyncio.Runner, pieces: Sequence[bytes], *, thinks: bool
) -> dict[str, float]:
    """The additional time for a token of an answer, in percent of the time in which the model writes one."""

    def separate() -> None:
        text = AnswerText(splitter=ReasoningSplitter(FAMILIES[0] if thinks else None, FAMILIES[0]))
        for data in pieces:
            text.push(data)

    def decode() -> None:
        push = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        for data in pieces:
            push(data)

    times = [seconds(work) for _ in range(REPEATED) for work in (separate, decode)]
    extra = (sum(times[::2]) - sum(times[1::2])) / (REPEATED * len(pieces))
    sampling = Sampling(num_predict=ANSWER_TOKENS, seed=random.randrange(1000))
    metrics = runner.run(generated(engine, Request(prompt=PROMPT, sampling=sampling)))
    assert metrics.decode_tps
    return {"%": 100 * extra * metrics.decode_tps}


def main() -> int:
    """Measure, and print."""
    chosen = parser(__doc__, rounds=9).parse_args()
    with asyncio.Runner() as runner:
        host, engine = runner.run(open_engine(str(demo_model()), chosen.threads, 4096))
        assert isinstance(engine, LlamaEngine)
        vocabulary = engine._model.vocabulary
        pieces = [engine._model.pieces[token] for token in vocabulary.tokenize_raw((PROMPT + ". ") * 12)]
        arms = {
            "prompt": lambda: prompt_once(engine, runner),
            "answer": lambda: answer_once(engine, runner, pieces, thinks=False),
            "thoughts": lambda: answer_once(engine, runner, pieces, thinks=True),
        }
        samples = interleave(arms, chosen.rounds)
        runner.run(host.shutdown())
    print_samples(samples)
    bars = [Bar(name, samples.median(f"{name} %"), BAR_PERCENT, at_least=False, unit="%") for name in arms]
    return finish("markup", bars, {"markup": samples})


if __name__ == "__main__":
    sys.exit(main())
