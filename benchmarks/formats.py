"""What a format costs a token: decoding with a JSON schema and with a grammar against decoding freely.

One process holds the demo model, and writes answers of one length in turn. The formats do not end before. The schema
asks for what the model writes by itself after a few words, the grammar for digits, so that most of its tokens are
replaced: the cheap and the expensive case. One thread computes, and its processor time counts, which other programs
change little: what a format costs is computed in that thread.

    python -m benchmarks.formats [--rounds 5] [--tokens 48]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.common import Bar, finish, interleave, parser, print_samples
from benchmarks.models import variant
from benchmarks.worker import PROMPT, open_engine
from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, Request
from workbench.core.events import Failed, Token
from workbench.core.parameters import Sampling

QUANT = "Q4_K_M"
SCHEMA = '{"type": "array", "items": {"type": "string", "minLength": 2000}, "minItems": 2}'
GRAMMAR = 'root ::= group{1000}\ngroup ::= "(" [0-9]{1,3} (" " | group)* ")"\n'
BARS = {"schema": 0.9, "grammar": 0.9}


async def speed(engine: Engine, form: str, tokens: int) -> float:
    """Tokens per second of processor time, from the first token to the last."""
    sampling = Sampling(num_predict=tokens, temperature=0.8, seed=1, format=form)
    written, began = 0, 0.0
    async for batch in engine.generate(Request(prompt=PROMPT, sampling=sampling), CancelToken()):
        for event in batch:
            if isinstance(event, Failed):
                raise event.error
            written += isinstance(event, Token)
        if written and not began:
            first, began = written, time.process_time()
    if written != tokens:
        raise SystemExit(f"the answer ended after {written} tokens")
    return (tokens - first) / (time.process_time() - began)


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=5)
    options.set_defaults(threads=1)
    options.add_argument("--tokens", type=int, default=48, help="length of an answer (default: %(default)s)")
    chosen = options.parse_args()
    loop = asyncio.new_event_loop()
    host, engine = loop.run_until_complete(open_engine(str(variant(QUANT)), chosen.threads, 2048))

    def arm(form: str) -> Mapping[str, float]:
        return {"": loop.run_until_complete(speed(engine, form, chosen.tokens))}

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "groups.gbnf"
        path.write_text(GRAMMAR, encoding="utf-8")
        begun = time.perf_counter()
        arm(SCHEMA)
        first_s = time.perf_counter() - begun
        arms = {"free": lambda: arm(""), "schema": lambda: arm(SCHEMA), "grammar": lambda: arm(str(path))}
        samples = interleave(arms, chosen.rounds)
    loop.run_until_complete(host.shutdown())
    bars = [Bar(f"{name} / free", samples.ratio(f"{name} ", "free "), bar, at_least=True) for name, bar in BARS.items()]
    print(f"{QUANT}: tokens per second of processor time, {chosen.rounds} rounds of {chosen.tokens} tokens\n")
    print_samples(samples)
    return finish("formats", bars, {QUANT: samples}, tokens=chosen.tokens, first_answer_s=first_s)


if __name__ == "__main__":
    sys.exit(main())
