"""The events of an engine: frozen, picklable values with the time at which they happened.

There are two clocks. `at_ns` is `time.perf_counter_ns()` on the machine that runs `workbench`, read in the thread that
did the work. `lane_ns` is the time that the steps of this answer have taken since it was submitted: where several
answers are stepped in turn, it excludes the steps of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.core.alternatives import TokenChoice
from workbench.core.errors import WorkbenchError
from workbench.core.formats import Verdict
from workbench.core.speculation import SpeculationFigures

TokenKind = Literal["answer", "reasoning"]
FinishReason = Literal["stop", "length", "context", "cancelled"]
"""`stop`: the model ended the answer, or a stop string; `length`: the token limit; `context`: the context is full."""
Source = Literal["engine", "server", "client"]
"""Who measured or counted a figure."""


CachedFrom = Literal["nothing", "context", "checkpoint", "saved state"]
"""Where the cached tokens of a prompt come from: nowhere, the context as it is or cut, a checkpoint of it, or the state
of another branch or of a model that was closed."""


@dataclass(frozen=True, slots=True)
class PromptChange:
    """Where a prompt leaves the tokens that an engine has."""

    at: int
    """The number of common tokens."""
    before: str
    """The text of the first token that differs, as it was."""
    after: str
    """The same in this prompt."""
    cause: str
    """What was changed, in words."""

    def __str__(self) -> str:
        return f"token {self.at + 1:,} is {self.after!r} instead of {self.before!r}: {self.cause}"


@dataclass(frozen=True, slots=True)
class PromptReuse:
    """What an engine had of a prompt."""

    source: CachedFrom = "nothing"
    change: PromptChange | None = None
    """Where the prompt differs from what was known; None where it continues or repeats that, or nothing was known."""
    lost: str = ""
    """Why common tokens are computed again; empty where none are."""
    kept_bytes: int = 0
    """The memory of the checkpoints of the context and of the saved states."""


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """The progress of prefill. The first one has `done == cached`, the last one `done == total`."""

    done: int
    """Prompt tokens in the KV cache so far, the cached ones included."""
    total: int
    cached: int
    """Prompt tokens that were already in the KV cache and are not computed again."""
    at_ns: int
    lane_ns: int
    dropped: int = 0
    """Messages left out at the start of the conversation because they no longer fit in the context."""
    reuse: PromptReuse | None = None
    """What was known of the prompt; None where the engine does not say."""


@dataclass(frozen=True, slots=True)
class Token:
    """One sampled token.

    `text` may be empty: the bytes of an incomplete character, or of a possible stop string, are held back and come with
    a later token.
    """

    text: str
    id: int
    """The id in the model's vocabulary; -1 where the engine does not report it."""
    kind: TokenKind
    at_ns: int
    lane_ns: int
    recast: bool = False
    """Whether all text before this token turns out to be reasoning: its end was marked, and its beginning was not."""
    choices: tuple[TokenChoice, ...] = ()
    """The choices of the tokens since the event before, where they were asked for and the engine knows them."""


@dataclass(frozen=True, slots=True)
class ThreadsUsed:
    """The threads that write the answer from here on: fewer than `most` while other programs use the cores."""

    count: int
    most: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Usage:
    """The token counts of one answer, from whoever tokenized it."""

    prompt_tokens: int
    cached_tokens: int | None
    completion_tokens: int
    estimated: bool = False
    """Whether the counts are estimated from the text, because neither engine nor server counted."""
    unseen_tokens: int = 0
    """Completion tokens whose text was not sent, such as reasoning that a server withholds."""


@dataclass(frozen=True, slots=True)
class Timings:
    """The times that a server reports, in milliseconds. They take precedence over what a client can measure."""

    prefill_ms: float | None = None
    decode_ms: float | None = None
    load_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer; the last event. `text` is text that was held back and belongs to the answer."""

    reason: FinishReason
    usage: Usage
    at_ns: int
    lane_ns: int
    seed: int | None = None
    """The seed in use, also where it was drawn at random."""
    text: str = ""
    kind: TokenKind = "answer"
    thoughts: str = ""
    """Held text of the reasoning, where `text` is of the answer."""
    timings: Timings | None = None
    dropped: int = 0
    """Messages left out, where only the end of the answer shows it; otherwise `PromptProgress` has the count."""
    server_limit: bool = False
    """Whether it ended at a limit of the server that nobody had asked for."""
    notice: str = ""
    """A note to the user about how this answer was made; empty for none."""
    verdict: Verdict | None = None
    """Whether it has the format that was asked for; None where none was."""
    speculation: SpeculationFigures | None = None
    """What drafting gained; None where the engine drafts nothing or does not say."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer could not be finished; the last event."""

    error: WorkbenchError
    at_ns: int


Event = PromptProgress | ThreadsUsed | Token | Finished | Failed
Batch = tuple[Event, ...]
