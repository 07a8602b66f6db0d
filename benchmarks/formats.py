"""What a format costs a token: decoding with a JSON schema and with a grammar against decoding freely.

One process holds the demo model, and writes answers of one length in turn. The formats do not end before. The schema
asks for what the model writes by itself after a few words, the grammar for digits, so that most of its tokens are
replaced: the cheap and the expensive case.

    python -m benchmarks.formats [--rounds 10] [--tokens 128]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.common import SAMPLE_HEADERS, Bar, finish, interleave, parser, print_table, sample_rows
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
    """Tokens per second by the wall clock, from the first token to the last."""
    sampling = Sampling(num_predict=tokens, temperature=0.8, seed=1, format=form)
    stamps = []
    async for batch in engine.generate(Request(prompt=PROMPT, sampling=sampling), CancelToken()):
        for event in batch:
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Token):
                stamps.append(event.at_ns)
    if len(stamps) != tokens:
        raise SystemExit(f"the answer ended after {len(stamps)} tokens")
    return (tokens - 1) * 1e9 / (stamps[-1] - stamps[0])


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=10)
    options.add_argument("--tokens", type=int, default=128, help="length of an answer (default: %(default)s)")
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
    print(f"{QUANT}: tokens/s, answers of {chosen.tokens} tokens, {chosen.rounds} interleaved rounds\n")
    print_table(SAMPLE_HEADERS, sample_rows(samples))
    return finish("formats", bars, {QUANT: samples}, tokens=chosen.tokens, first_answer_s=first_s)


if __name__ == "__main__":
    sys.exit(main())
