"""What an engine tells while it works: frozen, picklable values, stamped where they happened.

Two clocks are kept apart. `at_ns` is `time.perf_counter_ns()` on the machine that runs `workbench`, taken in the
thread that did the work. `lane_ns` is the time that this answer's own steps have taken since it was submitted: where
several answers are stepped in turn, the steps of the others are not in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.core.errors import WorkbenchError

TokenKind = Literal["answer", "reasoning"]
FinishReason = Literal["stop", "length", "context", "cancelled"]
"""`stop`: the model ended, or a stop string came; `length`: the token limit; `context`: no room is left."""
Source = Literal["engine", "server", "client"]
"""Who measured or counted a figure."""


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """How far the prefill is. The first one has `done == cached`, the last one `done == total`."""

    done: int
    """Prompt tokens in the KV cache so far, the cached ones included."""
    total: int
    cached: int
    """Prompt tokens that were in the KV cache already and are not computed again."""
    at_ns: int
    lane_ns: int
    dropped: int = 0
    """Messages left out at the start of the conversation because they no longer fit in the context."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that could have been chosen, with its natural-log probability."""

    text: str
    id: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Token:
    """One sampled token.

    `text` may be empty: the bytes of an unfinished character, or of what may become a stop string, are held back and
    come with a later token.
    """

    text: str
    id: int
    """The id in the model's vocabulary; -1 where the engine does not tell."""
    kind: TokenKind
    at_ns: int
    lane_ns: int
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """The token counts of one answer, by whoever tokenized."""

    prompt_tokens: int
    cached_tokens: int | None
    completion_tokens: int
    estimated: bool = False
    """True where neither engine nor server counted, and the figures are a guess from the text."""
    unseen_tokens: int = 0
    """Of the completion tokens those of which nothing was sent, such as reasoning that a server keeps to itself."""


@dataclass(frozen=True, slots=True)
class Timings:
    """What a server says about its own times, in milliseconds. It wins over what a client can see."""

    prefill_ms: float | None = None
    decode_ms: float | None = None
    load_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer; nothing comes after it. `text` is what had been held back and belongs to the answer."""

    reason: FinishReason
    usage: Usage
    at_ns: int
    lane_ns: int
    seed: int | None = None
    """The seed that was used, also where one was drawn."""
    text: str = ""
    kind: TokenKind = "answer"
    timings: Timings | None = None
    dropped: int = 0
    """Messages left out, where that could be told only now; else it is told with the `PromptProgress`."""
    notice: str = ""
    """What the user ought to know of how this answer came about; empty for nothing."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer could not be finished; nothing comes after it."""

    error: WorkbenchError
    at_ns: int


Event = PromptProgress | Token | Finished | Failed
Batch = tuple[Event, ...]
