"""A sweep's values: a server that is asked by more and more users at the same time.

The loop is closed: each user asks, reads to the end, and asks again. All times are nanoseconds of the client's clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.core.metrics import P95_NEEDS, percentile

LEVELS = (1, 2, 4, 8, 16)
MOST_USERS = 256
MOST_QUESTIONS = 1000
"""Of each user, at a level."""
MOST_SECONDS = 3600
MOST_TOKENS = 1_000_000
"""Of a prompt or an answer."""


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """What is asked of a server, and how much at most."""

    levels: tuple[int, ...] = LEVELS
    """Numbers of users who ask at the same time, in the order in which they are tried."""
    n_prompt: int = 128
    """The length of the prompts, in tokens, as nearly as words can be had to it."""
    n_gen: int = 64
    """The longest answer, in tokens."""
    repetitions: int = 5
    """Questions of each user at a level."""
    seconds: float = 60.0
    """After so long nobody asks any more at a level. Who still reads then is given as long again."""
    all_levels: bool = False
    """Whether it goes on where more users only wait longer."""

    @property
    def most_requests(self) -> int:
        """How many questions there will be at most, without those that warm up."""
        return self.repetitions * sum(self.levels)

    @property
    def most_tokens(self) -> int:
        """How many tokens are read and written at most."""
        return self.most_requests * (self.n_prompt + self.n_gen)


@dataclass(frozen=True, slots=True)
class LoadTarget:
    """Who is asked."""

    url: str
    kind: str
    """Such as `vLLM`."""
    model: str
    """What the server calls it."""
    version: str | None = None


@dataclass(frozen=True, slots=True)
class LoadLevel:
    """What a client does: so many users who put these questions."""

    concurrency: int
    prompts: tuple[str, ...]
    """Each is asked once, by whoever is free."""
    n_gen: int
    seconds: float
    """As `SweepSettings.seconds`."""


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
    """None where the server does not say."""
    completion_tokens: int | None = None
    estimated: bool = False
    """Whether pieces were counted for tokens, because the server does not say."""
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
        if count is None or count < 2 or first is None or last is None or last <= first:
            return None
        return (count - 1) * 1e9 / (last - first)


@dataclass(frozen=True, slots=True)
class LoadCost:
    """What a level took of the client itself: where that is much, the figures are its own and not the server's."""

    wall_ns: int
    cpu_ns: int
    lag_ns: int
    """The 95th percentile of how much later than asked its event loop woke up."""

    @property
    def cpu_pct(self) -> float:
        """The share of one core."""
        return 100 * self.cpu_ns / self.wall_ns if self.wall_ns else 0.0


@dataclass(frozen=True, slots=True)
class SweepLevel:
    """What a number of users at the same time came to."""

    concurrency: int
    samples: tuple[LoadSample, ...]
    cost: LoadCost | None = None

    @property
    def answers(self) -> tuple[LoadSample, ...]:
        """The questions that were answered."""
        return tuple(sample for sample in self.samples if not sample.error)

    @property
    def failures(self) -> int:
        """How many were not."""
        return len(self.samples) - len(self.answers)

    @property
    def errors(self) -> dict[str, int]:
        """What went wrong, and how often."""
        found: dict[str, int] = {}
        for sample in self.samples:
            if sample.error:
                found[sample.error] = found.get(sample.error, 0) + 1
        return found

    @property
    def ttft_p50_ms(self) -> float | None:
        """The middle one of the times to the first character."""
        return percentile(self._ttfts, 0.5)

    @property
    def ttft_p95_ms(self) -> float | None:
        """Their 95th percentile; None for fewer than 20 answers."""
        return percentile(self._ttfts, 0.95) if len(self._ttfts) >= P95_NEEDS else None

    @property
    def _ttfts(self) -> list[float]:
        return [time for sample in self.answers if (time := sample.ttft_ms) is not None]

    @property
    def tps_per_user(self) -> float | None:
        """Tokens/s at which the answer in the middle was written, without the time to its first token."""
        return percentile([speed for sample in self.answers if (speed := sample.decode_tps) is not None], 0.5)

    @property
    def tps_total(self) -> float | None:
        """All tokens that were written, by the time from the first question to the last end."""
        tokens = sum(sample.completion_tokens or 0 for sample in self.answers)
        duration = self.duration_ns
        return tokens * 1e9 / duration if tokens and duration else None

    @property
    def duration_ns(self) -> int:
        """From the first question to the end of the last answer."""
        ends = [sample.end_ns for sample in self.answers]
        return max(ends) - min(sample.sent_ns for sample in self.samples) if ends else 0

    @property
    def cached_pct(self) -> float | None:
        """Prompt tokens that came from the server's cache, in per cent; None where it does not say."""
        told = [sample for sample in self.answers if sample.cached_tokens is not None and sample.prompt_tokens]
        total = sum(sample.prompt_tokens or 0 for sample in told)
        return 100 * sum(sample.cached_tokens or 0 for sample in told) / total if total else None

    @property
    def estimated(self) -> bool:
        """Whether tokens had to be guessed."""
        return any(sample.estimated for sample in self.answers)

    def middle(self, name: str) -> float | None:
        """The middle one of `prompt_tokens` or `completion_tokens`."""
        return percentile([value for sample in self.answers if (value := getattr(sample, name)) is not None], 0.5)


class LoadClient(Protocol):
    """A client that stands for several users of a server at the same time, away from the screen."""

    @property
    def target(self) -> LoadTarget:
        """Who is asked."""

    def run(self, level: LoadLevel, cancel: CancelToken) -> AsyncIterator[LoadSample | LoadCost]:
        """Ask everything of a level. Gives each question as it ends, and last what that took of the client.

        A question that fails is a sample with an error, and nothing is raised for it. Cancelling ends it at once; the
        questions that were under way are left out.

        Raises:
            ServerError: The client itself ended.
        """

    async def close(self) -> None:
        """End the client."""


class LoadClients(Protocol):
    """Makes such clients."""

    async def open(self, ref: str, on_progress: ProgressCallback, cancel: CancelToken) -> LoadClient:
        """See who is at the server that `ref` names as `http://host:port#MODEL`, and have it load the model.

        Without a model it is the one that the server has, where it has only one.

        Raises:
            WorkbenchError: It cannot be asked; CancelledError when `cancel` was set.
        """
