"""What the engine spends between two calls of `llama_decode` while an answer is written.

Taken is the processor time of the thread that computes, from the end of one call to the beginning of the next, for each
token of an answer: sampling, text, the event, and the step of the runtime. The native sampler chain stands apart. The
time by the clock stands beside it: other programs lengthen it.

    python -m benchmarks.between_decodes [--rounds 5] [--tokens 200] [--quant Q4_K_M] [--threads 2]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from benchmarks.common import Bar, finish, interleave, parser, print_samples
from benchmarks.models import variant
from benchmarks.worker import PROMPT, open_engine
from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, Request
from workbench.core.events import Failed
from workbench.core.parameters import Sampling
from workbench.engine.llama import native

BAR_US = 150
LEFT_OUT = 8
"""The first tokens, which fill caches."""

SAMPLERS = {
    "greedy": Sampling(temperature=0.0),
    "default sampler": Sampling(seed=1),
    "with penalties": Sampling(seed=1, repeat_penalty=1.1),
}
_Moment = tuple[int, int]
"""The processor time of the thread, and the time by the clock, in nanoseconds."""


def now() -> _Moment:
    """This moment."""
    return time.thread_time_ns(), time.perf_counter_ns()


class Watch:
    """Notes the beginning and the end of each call of `llama_decode`, and the time of the native sampler."""

    def __init__(self) -> None:
        self.calls: list[tuple[_Moment, _Moment]] = []
        self.sampling_ns: list[int] = []
        decode = native.api.llama_decode

        def decoded(*arguments: object) -> int:
            began = now()
            code: int = decode(*arguments)
            self.calls.append((began, now()))
            return code

        native.api.llama_decode = decoded
        native.sample, native.sampler_apply = map(self._sampling, (native.sample, native.sampler_apply))

    def _sampling(self, function: Callable[..., int]) -> Callable[..., int]:
        def sampled(*arguments: object) -> int:
            began = time.thread_time_ns()
            found = function(*arguments)
            self.sampling_ns.append(time.thread_time_ns() - began)
            return found

        return sampled

    def forget(self) -> None:
        """Begin anew."""
        self.calls.clear()
        self.sampling_ns.clear()

    def figures(self) -> dict[str, float]:
        """Means in microseconds a token, as several are converted to text at once; by the clock, the median."""
        gaps = [
            (after[0][0] - before[1][0], after[0][1] - before[1][1])
            for before, after in zip(self.calls, self.calls[1:], strict=False)
        ][LEFT_OUT:]
        native_ns = self.sampling_ns[LEFT_OUT:] or [0]
        return {
            "µs": statistics.fmean(cpu for cpu, _ in gaps) / 1e3,
            "native sampler µs": statistics.fmean(native_ns) / 1e3,
            "by the clock µs": statistics.median(wall for _, wall in gaps) / 1e3,
        }


async def write(engine: Engine, sampling: Sampling, tokens: int) -> None:
    """One answer."""
    request = Request(prompt=PROMPT, sampling=replace(sampling, num_predict=tokens))
    async for batch in engine.generate(request, CancelToken()):
        for event in batch:
            if isinstance(event, Failed):
                raise event.error


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=5)
    options.add_argument("--tokens", type=int, default=200, help="tokens of an answer (default: %(default)s)")
    options.add_argument("--quant", default="Q4_K_M")
    chosen = options.parse_args()
    watch = Watch()
    with asyncio.Runner() as runner:
        host, engine = runner.run(open_engine(str(variant(chosen.quant)), chosen.threads, 2048))

        def measured(sampling: Sampling) -> dict[str, float]:
            watch.forget()
            runner.run(write(engine, sampling, chosen.tokens))
            return watch.figures()

        arms = {name: lambda sampling=sampling: measured(sampling) for name, sampling in SAMPLERS.items()}
        samples = interleave(arms, chosen.rounds, chosen.quant)
        runner.run(host.shutdown())
    print_samples(samples)
    bars = [Bar(f"{name}, between two tokens", samples.median(f"{name} µs"), BAR_US, unit="µs") for name in SAMPLERS]
    return finish("between_decodes", bars, {chosen.quant: samples}, threads=chosen.threads)


if __name__ == "__main__":
    sys.exit(main())
