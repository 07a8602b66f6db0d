"""Scripts: the answers of a scripted model, and the pace at which they are played."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from workbench.core.errors import EngineError, WorkbenchError
from workbench.core.events import FinishReason, Source, TokenKind
from workbench.core.models import MemoryUse, ModelEntry
from workbench.core.parameters import Value

DEFAULT_CONTEXT = 4096
_PIECES = re.compile(r"\s*(?:\w{1,8}|[^\w\s])|\s+$")


def pieces(text: str) -> tuple[str, ...]:
    """`text` split into the tokens of this engine; joined, they are `text` again."""
    return tuple(_PIECES.findall(text))


@dataclass(frozen=True, slots=True)
class Script:
    """One answer."""

    answer: tuple[str, ...]
    """The tokens of the answer."""
    reasoning: tuple[str, ...] = ()
    """The tokens that come before it as reasoning."""
    fail_at: int | None = None
    """The index of the token, counted over reasoning and answer, in whose place it fails; None never fails."""
    error: WorkbenchError = field(default_factory=lambda: EngineError("The script says that the engine fails here."))
    finish: FinishReason = "stop"

    @classmethod
    def of(cls, answer: str, reasoning: str = "") -> Script:
        """The script of these texts."""
        return cls(pieces(answer), pieces(reasoning))

    def tokens(self) -> Iterator[tuple[str, TokenKind]]:
        """Every token with its kind, in order."""
        for text in self.reasoning:
            yield text, "reasoning"
        for text in self.answer:
            yield text, "answer"


@dataclass(frozen=True, slots=True)
class Pace:
    """The speed of a scripted model. 0 takes no time at all."""

    load_seconds: float = 0.6
    load_steps: int = 20
    """How often a load reports its progress."""
    prefill_tps: float = 900.0
    prefill_chunk: int = 32
    """Prompt tokens in one step."""
    decode_tps: float = 45.0


NO_DELAY = Pace(load_seconds=0, prefill_tps=0, decode_tps=0)

WELCOME = """\
## This is the scripted engine

No model is loaded: what you read is a **fixed text**, given at a human pace, so that every part of the screen can be \
tried without a download.

1. Press `Ctrl+O` to choose a model.
2. Press `F6` to change how it samples.
3. Press `F7` to leave with a Modelfile.

```python
def decode_speed(tokens: int, seconds: float) -> float:
    \"\"\"Tokens a second, from the first token to the last.\"\"\"
    return (tokens - 1) / seconds
```

| figure | what it is |
|---|---|
| TTFT | from Enter to the first word |
| prefill | prompt tokens computed in a second |
| decode | answer tokens in a second |

> The figures beside this text are those of the script's own pace. They say nothing about your machine.
"""

SECOND = """\
The answer continues the *same* conversation: the tokens that were in the context already are shown as **cached**, and \
only the new ones were computed.

- `Esc` stops an answer; what was written stays.
- `Ctrl+N` begins a new chat.
- `F1` lists every key.
"""


@dataclass(frozen=True, slots=True)
class ScriptedModel:
    """A model that the host can open, with its answers."""

    entry: ModelEntry
    scripts: tuple[Script, ...]
    """The answers in order; after the last one the first follows."""
    pace: Pace = Pace()
    load_error: WorkbenchError | None = None
    """Raised at the end of the load."""
    context: int = DEFAULT_CONTEXT
    """The default context length, in tokens."""
    memory: MemoryUse | None = None
    warnings: tuple[str, ...] = ()
    recommended: tuple[tuple[str, Value], ...] = ()
    """The sampling parameters that its author recommends."""
    measured_by: Source = "engine"
    """The claimed source of the figures."""
    backend: str = "script"


def demo_model() -> ScriptedModel:
    """The model that the reference `scripted` opens."""
    entry = ModelEntry("scripted", "scripted", source="built in")
    return ScriptedModel(entry, (Script.of(WELCOME), Script.of(SECOND)))
