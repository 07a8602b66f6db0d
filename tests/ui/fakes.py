"""Stand-ins for the services of the program, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.lab.bench.fake_bencher import FakeBencher, FakeWatch
from tests.lab.bench.fake_load import FakeLoadClient
from tests.lab.evals.fake_tools import FakeEvalTools, FakeRuns
from workbench.core.bench import BenchMachine, ConditionWatch, MemorySpeed
from workbench.core.cancel import CancelToken
from workbench.core.config import Config
from workbench.core.engine import ProgressCallback
from workbench.core.errors import CancelledError, ModelLoadError, SessionError, WorkbenchError
from workbench.core.json_reader import read_json
from workbench.core.logbook import LogBook
from workbench.core.memory import Correction, correction_of
from workbench.core.models import LoadRecord, MemoryUse, ModelEntry
from workbench.core.parameters import LoadSettings, Sampling, Value
from workbench.core.prompt_text import PromptText
from workbench.core.sending import OnSend, SendProgress, SendTarget, Sent
from workbench.core.session import ExportFormat, Session, SessionHit, SessionSummary
from workbench.core.sweep import LoadClient
from workbench.core.telemetry import (
    Alarm,
    AlarmWatch,
    GpuInfo,
    GpuSample,
    HostSample,
    Situation,
    TelemetryEvent,
    TelemetrySample,
)
from workbench.core.tree import Node, View
from workbench.engine.files import LocalFiles
from workbench.engine.scripted import Script, ScriptedHost, ScriptedModel
from workbench.gguf.check import check_loadable
from workbench.gguf.fit import FitModel
from workbench.gguf.header import Header
from workbench.gguf.lora import check_adapter
from workbench.gguf.shares import DeviceRoom, Room
from workbench.lab.race.kept import KeptRace
from workbench.store.export.session import session_text
from workbench.ui.services import Services

GIB = 2**30
THEMES = Path(__file__).parents[2] / "themes"


class FakeTimer:
    """A call that a `FakeClock` is to make."""

    def __init__(self, due_ns: int, call: Callable[[], object]) -> None:
        self.due_ns = due_ns
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """A clock that advances only in sleeps; while it is held, sleeps do not end, and timers do not wait."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000
        self._timers: list[FakeTimer] = []
        self._open = asyncio.Event()
        self._open.set()
        self.budget: int | None = None
        """Sleeps that still end before the clock holds; None never holds."""

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
                self._run_timers(self._timers)
                await self._open.wait()
            else:
                self.budget -= 1
        self.ns += round(seconds * 1e9)
        self._run_timers([timer for timer in self._timers if timer.due_ns <= self.ns])
        await asyncio.sleep(0)

    def call_later(self, seconds: float, call: Callable[[], object]) -> FakeTimer:
        timer = FakeTimer(self.ns + round(seconds * 1e9), call)
        self._timers.append(timer)
        if not self._open.is_set():
            asyncio.get_running_loop().call_soon(self._run_timers, [timer])
        return timer

    def _run_timers(self, timers: Sequence[FakeTimer]) -> None:
        self._timers = [timer for timer in self._timers if timer not in timers]
        for timer in timers:
            if not timer.cancelled:
                timer.call()


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

    async def message(self, node: Node) -> None:
        self._write("answer" if node.turn.message.role == "assistant" else "message", node)

    async def partial(self, node: Node) -> None:
        self._write("partial", node)

    async def view(self, view: View) -> None:
        self._write("view", view)

    async def close(self) -> None:
        self._write("close")

    def kinds(self) -> list[object]:
        return [record[0] for record in self.records]


class FakeStore:
    """Sessions in memory."""

    def __init__(self, interrupted: Sequence[Session] = (), stored: Sequence[Session] = ()) -> None:
        self._interrupted = list(interrupted)
        self.stored = {session.id: session for session in (*interrupted, *stored)}
        self.deleted: dict[str, Session] = {}
        self.journals: list[FakeJournal] = []
        self.exports: list[tuple[Session, ExportFormat, Path]] = []
        self.bases: list[str] = []
        """The name after FROM in each export."""
        self.dismissed: list[str] = []
        self.export_error: WorkbenchError | None = None
        self.broken = False

    async def create(self) -> FakeJournal:
        self.journals.append(FakeJournal(self, f"session-{len(self.journals) + 1}"))
        return self.journals[-1]

    async def resume(self, session_id: str) -> tuple[Session, FakeJournal]:
        session = await self.open_session(session_id)
        self.journals.append(FakeJournal(self, session_id))
        return session, self.journals[-1]

    async def open_session(self, session_id: str) -> Session:
        if session_id not in self.stored:
            raise SessionError(f"There is no session {session_id!r}.")
        return self.stored[session_id]

    async def summaries(self, *, figures: bool = True) -> Sequence[SessionSummary]:
        if self.broken:
            raise SessionError("The disk is full.", "Make room.")
        found = sorted(self.stored.values(), key=lambda session: (not session.pinned, -session.updated_at))
        return [self._summary(session) for session in found]

    @staticmethod
    def _summary(session: Session) -> SessionSummary:
        count = len(session.tree.nodes)
        return SessionSummary(
            session.id, session.title, session.model, count, session.updated_at, pinned=session.pinned
        )

    async def search(self, words: str) -> Sequence[SessionHit]:
        hits = []
        for session in self.stored.values():
            for node in session.tree.nodes:
                text = node.turn.message.content
                if (place := text.find(words)) >= 0:
                    mark = (place, place + len(words))
                    hits.append(SessionHit(self._summary(session), text, (mark,), node.number))
                    break
        return hits

    async def rename(self, session_id: str, name: str) -> None:
        self.stored[session_id] = replace(self.stored[session_id], name=name)

    async def pin(self, session_id: str, pinned: bool) -> None:
        self.stored[session_id] = replace(self.stored[session_id], pinned=pinned)

    async def delete(self, session_id: str) -> None:
        self.deleted[session_id] = self.stored.pop(session_id)

    async def restore(self, session_id: str) -> None:
        self.stored[session_id] = self.deleted.pop(session_id)

    async def digest(self, model: ModelEntry) -> str:
        return f"sha256:{model.ref}"

    async def interrupted(self) -> Sequence[Session]:
        return self._interrupted

    async def dismiss(self, session_id: str) -> None:
        self.dismissed.append(session_id)

    async def export(self, session: Session, form: ExportFormat, path: Path, base: str = "") -> Path:
        if self.export_error is not None:
            raise self.export_error
        self.exports.append((session, form, path))
        self.bases.append(base)
        return path


HOST = HostSample(
    rss_bytes=412_000_000,
    free_bytes=5_300_000_000,
    total_bytes=8_200_000_000,
    cpu_percent=12.0,
    swap_used_bytes=100_000_000,
    swap_total_bytes=2_000_000_000,
)


def card(index: int = 0, **figures: Any) -> GpuSample:
    """A card that is busy."""
    known = GpuSample(
        GpuInfo(f"GPU-{index}", "nvml", index, "NVIDIA GeForce RTX 4090", pci_id=f"0000:0{index + 1}:00.0"),
        memory_total=24 * GIB, memory_used=12 * GIB, memory_free=11 * GIB, memory_own=9 * GIB, gpu_percent=97.0,
        memory_percent=61.0, temperature_c=64.0, power_w=312.4, power_limit_w=450.0, clock_mhz=2520,
    )  # fmt: skip
    return replace(known, **figures)


class FakeAlarms:
    """Alarms that are raised by hand."""

    def __init__(self) -> None:
        self.active: list[Alarm] = []
        self.situations: list[Situation] = []
        self._new: list[Alarm] = []

    def ring(self, *alarms: Alarm) -> None:
        self.active += alarms
        self._new += alarms

    def look(self, situation: Situation) -> Sequence[Alarm]:
        self.situations.append(situation)
        new, self._new = self._new, []
        return new


class FakeTelemetry:
    """Meters that change only on `show`."""

    def __init__(self, *gpus: GpuSample, host: HostSample | None = HOST) -> None:
        self.samples: list[TelemetrySample] = []
        self.running = False
        self.told: list[TelemetryEvent] = []
        self.show(*gpus, host=host)

    def show(self, *gpus: GpuSample, host: HostSample | None = HOST) -> None:
        """Add a sample. It is from the future, so that it is never stale."""
        self.samples.append(TelemetrySample(2**62 + len(self.samples) * 10**9, host, gpus))

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def use_gpus(self, used: bool) -> None:
        self.gpus_in_use = used

    def latest(self) -> TelemetrySample | None:
        return self.samples[-1] if self.samples else None

    async def fresh(self, patience_s: float = 0.5) -> TelemetrySample | None:
        return self.latest()

    def history(self) -> Sequence[TelemetrySample]:
        return self.samples

    def events(self, after: int = 0) -> Sequence[TelemetryEvent]:
        return [event for event in self.told if event.number > after]

    @contextmanager
    def paused(self) -> Iterator[None]:
        yield


class FakePrompts:
    """Remembers prompts for one test."""

    def __init__(self, earlier: Sequence[str | PromptText] = (), lost: Sequence[str | PromptText] = ()) -> None:
        self.earlier = [PromptText(each) if isinstance(each, str) else each for each in earlier]
        self.lost = [PromptText(each) if isinstance(each, str) else each for each in lost]
        self.prompts: list[PromptText] = []
        self.draft = PromptText("")
        self.error: WorkbenchError | None = None
        """Raised instead of storing anything."""

    @property
    def kept(self) -> list[str]:
        return [prompt.text for prompt in self.prompts]

    async def recall(self) -> Sequence[PromptText]:
        return self.earlier

    async def keep(self, prompt: PromptText) -> None:
        self._check()
        self.prompts.append(prompt)

    async def keep_draft(self, prompt: PromptText) -> None:
        self._check()
        self.draft = prompt

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    async def lost_drafts(self) -> Sequence[PromptText]:
        self.prompts += self.lost
        return self.lost


class FakeLoads:
    """Records of loads, in memory."""

    def __init__(self) -> None:
        self.records: list[LoadRecord] = []

    async def remember(self, record: LoadRecord) -> None:
        self.records.insert(0, record)

    async def recall(self, path: str) -> Sequence[LoadRecord]:
        return [record for record in self.records if record.path == path]

    async def correction(self, architecture: str) -> Correction:
        return correction_of(next((each.compared for each in self.records if each.architecture == architecture), ()))


@lru_cache(maxsize=8)
def kept_headers(path: Path, _modified: int) -> tuple[Header, ...]:
    """The headers of a model; most tests show the same few real files."""
    return check_loadable(path)


class FakeFiles(LocalFiles):
    """Real answers about real files, and a machine that never changes."""

    def __init__(self, room: Room | None = None, quantize_folder: Path | None = None) -> None:
        super().__init__(quantize_folder)
        self._room = room or Room(DeviceRoom("CPU", 5_300_000_000))

    async def fit_model(self, path: Path, adapter: Path | None = None) -> FitModel:
        headers = kept_headers(path, path.stat().st_mtime_ns if path.exists() else 0)
        return FitModel(headers, adapter=None if adapter is None else check_adapter(adapter, headers))

    async def room(self) -> Room:
        return self._room

    async def free_bytes(self, folder: Path) -> int | None:
        return 12_000_000_000


class FakeAdviser:
    """Gives a fixed answer."""

    def __init__(self, fits: bool = True) -> None:
        self.fits = fits

    async def fit_together(self, models: Sequence[tuple[str, LoadSettings]]) -> bool:
        return self.fits or len(models) < 2


class FakeRaces:
    """Races in memory."""

    def __init__(self) -> None:
        self.documents: dict[str, Mapping[str, object]] = {}
        self.error: WorkbenchError | None = None

    def new_id(self) -> str:
        return f"261121-1200{len(self.documents) + 1:02}-abcd"

    async def keep(self, race: str, document: Mapping[str, object]) -> None:
        if self.error is not None:
            raise self.error
        self.documents[race] = document

    async def kept(self) -> Sequence[KeptRace]:
        return [read_json(KeptRace, {**self.documents[race], "id": race}) for race in reversed(self.documents)]


class FakeDocuments:
    """Takes the documents that would be written to files."""

    def __init__(self) -> None:
        self.written: list[tuple[Path, str]] = []

    async def __call__(self, path: Path, text: str) -> Path:
        self.written.append((path, text))
        return path


class FakeLoadClients:
    """Clients of a server that has four slots, and that answer in no time."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.clients: list[FakeLoadClient] = []
        self.error: WorkbenchError | None = None

    async def open(self, ref: str, on_progress: ProgressCallback, cancel: CancelToken) -> LoadClient:
        if self.error is not None:
            raise self.error
        self.opened.append(ref)
        on_progress(1.0)
        self.clients.append(FakeLoadClient())
        return self.clients[-1]


class FakeBench:
    """Measures nothing, in no time."""

    def __init__(self, bencher: FakeBencher | None = None, book: FakeRuns | None = None) -> None:
        self.bencher: Any = bencher or FakeBencher()
        self.bench_runs = book or FakeRuns()
        self.watch = FakeWatch()
        self.load_clients = FakeLoadClients()

    @contextmanager
    def watching(self, machine: BenchMachine) -> Iterator[ConditionWatch]:
        yield self.watch

    def measure_memory(self, machine: BenchMachine) -> MemorySpeed | None:
        return MemorySpeed(10e6, "made up")


class FakeSender:
    """Makes models in no time."""

    usual_server = "http://127.0.0.1:11434"

    def __init__(self) -> None:
        self.sent: list[tuple[Session, SendTarget]] = []
        self.error: WorkbenchError | None = None
        self.waits: asyncio.Event | None = None
        """The event that it waits for; None for none."""

    async def send(self, session: Session, target: SendTarget, on_progress: OnSend, cancel: CancelToken) -> Sent:
        on_progress(SendProgress("sending", "model.gguf", 0.5))
        if self.waits is not None:
            cancel.on_set(self.waits.set)
            await self.waits.wait()
        if cancel.is_set:
            raise CancelledError("Sending was stopped.")
        if self.error is not None and not target.overwrite:
            raise self.error
        self.sent.append((session, target))
        return Sent(target.url, target.name, 5, "Hello.")


class FakeCopies:
    """Records the texts that would be written to files."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.error: WorkbenchError | None = None

    def __call__(self, text: str) -> Path:
        if self.error is not None:
            raise self.error
        self.texts.append(text)
        return Path(f"/exports/copied-{len(self.texts)}.txt")


class FakeConfigFile:
    """Records the changes of the config file."""

    def __init__(self) -> None:
        self.saved: list[Mapping[str, object]] = []
        self.error: WorkbenchError | None = None
        self.replaced: Sequence[str] = ()

    def __call__(self, changes: Mapping[str, object]) -> Sequence[str]:
        if self.error is not None:
            raise self.error
        self.saved.append(changes)
        return self.replaced


class FakeKept:
    """Keeps settings by the name of a model."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, Value]] = {}

    def of(self, model: ModelEntry) -> Mapping[str, Value]:
        return self.models.get(model.name, {})

    def keep(self, model: ModelEntry, values: Mapping[str, Value]) -> str:
        self.models.setdefault(model.name, {}).update(values)
        return model.name

    def forget(self, model: ModelEntry, names: Iterable[str] | None = None) -> tuple[str, ...]:
        return tuple(self.models.pop(model.name, {}))


_SHORT = {
    "store": "sessions", "save": "save_config", "documents": "write_document", "problems": "config_problems",
    "themes": "theme_folders",
}  # fmt: skip


def fake_services(host: ScriptedHost, *, alarms: AlarmWatch | None = None, **given: Any) -> Services:
    """Services in memory; `given` replaces some, by the names of `Services` or of `_SHORT`; None replaces none."""
    services: dict[str, Any] = {
        "engines": host, "catalog": host, "files": FakeFiles(), "loads": FakeLoads(), "adviser": FakeAdviser(),
        "prompts": FakePrompts(), "races": FakeRaces(), "bench": FakeBench(), "evals": FakeEvalTools(),
        "sessions": FakeStore(), "sender": FakeSender, "telemetry": FakeTelemetry(),
        "make_alarms": lambda: alarms or FakeAlarms(), "find_devices": lambda: None, "logs": LogBook(),
        "config": Config(), "config_problems": (), "save_config": FakeConfigFile(), "theme_folders": (THEMES,),
        "export_folder": Path("/exports"), "write_document": FakeDocuments(), "keep_copy": FakeCopies(),
        "session_text": session_text, "kept": FakeKept(), "no_model_hint": "Type: workbench demo",
    }  # fmt: skip
    services |= {_SHORT.get(name, name): value for name, value in given.items() if value is not None}
    return Services(**services)


ANSWER = "The sky is **blue** because of [scattering](http://example.com)."


def models() -> list[ScriptedModel]:
    """Two quantizations of one model, another model, and one that cannot be opened."""
    memory = MemoryUse(105_000_000, 46_000_000, 21_000_000)

    def model(quant: str, bits: float, size: int) -> ScriptedModel:
        name = "SmolLM2-135M-Instruct"
        entry = ModelEntry(
            f"smol:{quant}", name, quant, f"/m/{quant}.gguf", size, 135_000_000, "llama", bits, 8192, "models"
        )
        return ScriptedModel(entry, (Script.of(ANSWER), Script.of("And so on.")), memory=memory)

    qwen = ModelEntry(
        "qwen", "Qwen2.5-0.5B-Instruct", "Q4_K_M", "/m/q", 398_000_000, 494_000_000, "qwen2", 6.35, 32768, "ollama"
    )
    broken = ModelEntry("broken", "Broken-1B", "Q4_0", "/m/b", None, source="models", problem="The file is truncated.")
    return [
        model("Q4_K_M", 6.24, 105_000_000),
        model("Q8_0", 8.51, 144_800_000),
        ScriptedModel(qwen, (Script.of("Quite different."),)),
        ScriptedModel(broken, (), load_error=ModelLoadError("The file /m/b is truncated.", "Download it again.")),
    ]
