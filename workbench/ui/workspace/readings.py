"""The figures that the statistics panel shows, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field

from workbench.core.events import ThreadsUsed
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import EngineInfo
from workbench.ui.workspace.machine_watch import MachineView


@dataclass(frozen=True, slots=True)
class StatsReadings:
    """The figures of one moment."""

    info: EngineInfo | None = None
    loading: str = ""
    """The model that is being loaded; empty where none is."""
    metrics: AnswerMetrics | None = None
    """The figures of the answer that streams, or of the last one."""
    live_tps: float | None = None
    """Decode speed over the last second, in tokens/s; None where nothing streams."""
    history: tuple[float, ...] = ()
    """Past decode speeds in tokens/s, oldest first."""
    context_used: int | None = None
    machine: MachineView = field(default_factory=MachineView)
    meters_key: str = ""
    """The key that lists the alarms."""
    threads: ThreadsUsed | None = None
    """Those that write the answer that streams; None where their number was not adapted."""
    needs_reload: bool = False
    streaming: bool = False

    @property
    def decode_tps(self) -> float | None:
        """Decode speed in tokens/s: over the last second while an answer streams, over the whole answer afterwards."""
        if self.streaming:
            return self.live_tps
        return self.metrics.decode_tps if self.metrics else None

    @property
    def context(self) -> tuple[int | None, int | None, float | None]:
        """Used tokens of the context, its size in tokens, and the share in use, 0 to 1; None where unknown."""
        # 0: a server does not say how long it is.
        size = (self.info.settings.num_ctx or None) if self.info else None
        return self.context_used, size, self.context_used / size if self.context_used is not None and size else None

    @property
    def prompt_tokens(self) -> tuple[int | None, int | None]:
        """Cached tokens and all tokens of the prompt."""
        if self.metrics is None:
            return None, None
        return self.metrics.cached_tokens, self.metrics.prompt_tokens
