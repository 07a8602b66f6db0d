"""Stand-ins for what the screen is handed, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench.core.chat import Message
from workbench.core.config import Config, ConfigProblem
from workbench.core.errors import SessionError, WorkbenchError
from workbench.core.logbook import RingLogBook
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.ports import Catalog, ExportFormat, HostSample, Services
from workbench.core.session import Session
from workbench.engine.scripted import ScriptedHost

THEMES = Path(__file__).parents[2] / "themes"


class FakeClock:
    """Time that passes only in sleeps; while it is held, sleeps do not end."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000
        self._open = asyncio.Event()
        self._open.set()
        self.budget: int | None = None
        """Sleeps that still end before the clock holds; None holds never."""

    def __call__(self) -> int:
        return self.ns

    def hold_after(self, sleeps: int) -> None:
        """Let some sleeps end, and no more."""
        self.budget = sleeps

    def release(self) -> None:
        """Let every sleep end."""
        self.budget = None
        self._open.set()

    async def sleep(self, seconds: float) -> None:
        if self.budget is not None:
            if self.budget <= 0:
                self._open.clear()
                await self._open.wait()
            else:
                self.budget -= 1
        self.ns += round(seconds * 1e9)
        await asyncio.sleep(0)


class FakeJournal:
    """Records what was written, in order."""

    def __init__(self, store: FakeStore, session_id: str) -> None:
        self._store = store
        self._id = session_id
        self.records: list[tuple[object, ...]] = []

    @property
    def id(self) -> str:
        return self._id

    def _write(self, *record: object) -> None:
        if self._store.broken:
            raise SessionError("The disk is full.", "Make room.")
        self.records.append(record)

    async def settings(self, system: str, sampling: Sampling, load: LoadSettings) -> None:
        self._write("settings", system, sampling, load)

    async def model(self, entry: ModelEntry) -> None:
        self._write("model", entry)

    async def message(self, message: Message) -> None:
        self._write("message", message)

    async def partial(self, message: Message, model: str) -> None:
        self._write("partial", message, model)

    async def answer(self, message: Message, model: str, metrics: AnswerMetrics, finish_reason: str) -> None:
        self._write("answer", message, model, metrics, finish_reason)

    async def close(self) -> None:
        self._write("close")

    def kinds(self) -> list[object]:
        return [record[0] for record in self.records]


class FakeStore:
    """Sessions in memory."""

    def __init__(self, interrupted: Sequence[Session] = ()) -> None:
        self._interrupted = list(interrupted)
        self.journals: list[FakeJournal] = []
        self.exports: list[tuple[Session, ExportFormat, Path]] = []
        self.dismissed: list[str] = []
        self.export_error: WorkbenchError | None = None
        self.broken = False

    async def create(self) -> FakeJournal:
        self.journals.append(FakeJournal(self, f"session-{len(self.journals) + 1}"))
        return self.journals[-1]

    async def resume(self, session_id: str) -> tuple[Session, FakeJournal]:
        for session in self._interrupted:
            if session.id == session_id:
                self.journals.append(FakeJournal(self, session_id))
                return session, self.journals[-1]
        raise SessionError(f"There is no session {session_id!r}.")

    async def interrupted(self) -> Sequence[Session]:
        return self._interrupted

    async def dismiss(self, session_id: str) -> None:
        self.dismissed.append(session_id)

    async def export(self, session: Session, form: ExportFormat, path: Path) -> None:
        if self.export_error is not None:
            raise self.export_error
        self.exports.append((session, form, path))


class FakeMonitor:
    """A machine that never changes."""

    def sample(self) -> HostSample:
        return HostSample(rss_bytes=412_000_000, free_bytes=5_300_000_000, total_bytes=8_200_000_000, cpu_percent=12.0)


class FakeConfigFile:
    """Takes what would be written to the config file."""

    def __init__(self) -> None:
        self.saved: list[Mapping[str, object]] = []
        self.error: WorkbenchError | None = None

    def __call__(self, changes: Mapping[str, object]) -> None:
        if self.error is not None:
            raise self.error
        self.saved.append(changes)


def fake_services(
    host: ScriptedHost,
    *,
    store: FakeStore | None = None,
    config: Config | None = None,
    problems: Sequence[ConfigProblem] = (),
    themes: Sequence[Path] = (THEMES,),
    catalog: Catalog | None = None,
    save: FakeConfigFile | None = None,
    export_folder: Path = Path("/exports"),
    logs: RingLogBook | None = None,
    no_model_hint: str = "Type: workbench demo",
) -> Services:
    return Services(
        engines=host,
        catalog=catalog or host,
        sessions=store or FakeStore(),
        monitor=FakeMonitor(),
        logs=logs or RingLogBook(),
        config=config or Config(),
        config_problems=problems,
        save_config=save or FakeConfigFile(),
        theme_folders=themes,
        export_folder=export_folder,
        no_model_hint=no_model_hint,
    )
