"""Values of a load test: a server that more and more users ask at the same time.

The loop is closed: each user asks, reads to the end, and asks again. All times are nanoseconds of the client's clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.core.metrics import known_values, median_and_p95, per_second, percentile

LEVELS = (1, 2, 4, 8, 16)
MOST_USERS = 256
MOST_QUESTIONS = 1000
"""Of each user, at a level."""
MOST_SECONDS = 3600
MOST_TOKENS = 1_000_000
"""Of a prompt or an answer."""


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """What is asked of a server, and its limits."""

    levels: tuple[int, ...] = LEVELS
    """Numbers of users who ask at the same time, in order."""
    n_prompt: int = 128
    """The length of the prompts, in tokens; words only come near it."""
    n_gen: int = 64
    repetitions: int = 5
    """Questions of each user at a level."""
    seconds: float = 60.0
    """The time of a level, after which nobody asks again; running answers get as long once more."""
    all_levels: bool = False

    @property
    def most_requests(self) -> int:
        """The largest number of questions, without those that warm up."""
        return self.repetitions * sum(self.levels)

    @property
    def most_tokens(self) -> int:
        """The largest number of prompt and answer tokens."""
        return self.most_requests * (self.n_prompt + self.n_gen)


@dataclass(frozen=True, slots=True)
class LoadTarget:
    """The server and its model."""

    url: str
    kind: str
    """Such as `vLLM`."""
    model: str
    version: str | None = None

    @property
    def name(self) -> str:
        """Its kind and version."""
        return f"{self.kind} {self.version}" if self.version else self.kind


@dataclass(frozen=True, slots=True)
class LoadLevel:
    """The work of a client: a number of users who ask these questions."""

    concurrency: int
    prompts: tuple[str, ...]
    """Each is asked once, by the next free user."""
    n_gen: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LoadSample:
    """One question as its user saw it; times count from the beginning of the level."""

    sent_ns: int
    end_ns: int
    """When the answer was complete, or had failed."""
    first_ns: int | None = None
    """When the first visible or reasoning character was there."""
    last_ns: int | None = None
    """When the last of the text came."""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    """None where the server does not report them."""
    completion_tokens: int | None = None
    estimated: bool = False
    """Whether pieces of text were counted, because the server does not report tokens."""
    error: str = ""
    """What went wrong; empty for an answer."""

    @property
    def ttft_ms(self) -> float | None:
        """From asking to the first character."""
        return None if self.first_ns is None else (self.first_ns - self.sent_ns) / 1e6

    @property
    def decode_tps(self) -> float | None:
        """(N - 1) / (last - first), as in `core.metrics`."""
        count, first, last = self.completion_tokens, self.first_ns, self.last_ns
        return None if count is None or first is None or last is None else per_second(count - 1, last - first)


@dataclass(frozen=True, slots=True)
class LoadCost:
    """The client's own load during a level: when it is high, the client is the bottleneck and not the server."""

    wall_ns: int
    cpu_ns: int
    lag_ns: int
    """The 95th percentile of the delay with which its event loop woke up."""

    @property
    def cpu_pct(self) -> float:
        """The share of one core."""
        return 100 * self.cpu_ns / self.wall_ns if self.wall_ns else 0.0


@dataclass(frozen=True, slots=True)
class SweepLevel:
    """The results of a number of users at the same time."""

    concurrency: int
    samples: tuple[LoadSample, ...]
    cost: LoadCost | None = None

    @property
    def answers(self) -> tuple[LoadSample, ...]:
        """The questions that were answered."""
        return tuple(sample for sample in self.samples if not sample.error)

    @property
    def failures(self) -> int:
        """The number of questions that failed."""
        return len(self.samples) - len(self.answers)

    @property
    def errors(self) -> dict[str, int]:
        """The number of failures by their error."""
        return dict(Counter(sample.error for sample in self.samples if sample.error))

    @property
    def ttft_p50_ms(self) -> float | None:
        """The median time to the first character."""
        return self._ttft[0]

    @property
    def ttft_p95_ms(self) -> float | None:
        """Their 95th percentile; None for fewer than 20 answers."""
        return self._ttft[1]

    @property
    def _ttft(self) -> tuple[float | None, float | None]:
        return median_and_p95(known_values(self.answers, "ttft_ms"))

    @property
    def tps_per_user(self) -> float | None:
        """The median decode speed of the answers, in tokens/s."""
        return self.middle("decode_tps")

    @property
    def tps_total(self) -> float | None:
        """All answer tokens per second, from the first question to the last end."""
        return per_second(sum(sample.completion_tokens or 0 for sample in self.answers), self.duration_ns)

    @property
    def duration_ns(self) -> int:
        """From the first question to the end of the last answer."""
        ends = [sample.end_ns for sample in self.answers]
        return max(ends) - min(sample.sent_ns for sample in self.samples) if ends else 0

    @property
    def cached_pct(self) -> float | None:
        """Prompt tokens from the server's cache, in per cent; None where it does not report them."""
        known = [sample for sample in self.answers if sample.cached_tokens is not None and sample.prompt_tokens]
        total = sum(sample.prompt_tokens or 0 for sample in known)
        return 100 * sum(sample.cached_tokens or 0 for sample in known) / total if total else None

    @property
    def estimated(self) -> bool:
        """Whether token counts are estimates."""
        return any(sample.estimated for sample in self.answers)

    def middle(self, name: str) -> float | None:
        """The median of `prompt_tokens`, `completion_tokens` or `decode_tps`."""
        return percentile(known_values(self.answers, name), 0.5)


class LoadClient(Protocol):
    """A client that acts as several users of a server at the same time, in a process of its own."""

    target: LoadTarget
    """Who is asked."""

    def run(self, level: LoadLevel, cancel: CancelToken) -> AsyncIterator[LoadSample | LoadCost]:
        """Ask everything of a level. Yields each question as it ends, and last the cost for the client.

        A question that fails is a sample with an error. Cancelling ends it at once, without the unfinished questions.

        Raises:
            ServerError: The client itself ended.
        """

    async def close(self) -> None:
        """End the client."""


class LoadClients(Protocol):
    """Makes load clients."""

    async def open(self, ref: str, on_progress: ProgressCallback, cancel: CancelToken) -> LoadClient:
        """Connect to the server that `ref` names as `http://host:port#MODEL`, and let it load the model.

        Without a model in `ref`, the server's only one is taken.

        Raises:
            WorkbenchError: It cannot be asked; CancelledError when `cancel` was set.
        """
