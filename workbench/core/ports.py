"""What the faces of the program ask of its workers.

Everything that makes tokens, stores words or reads meters has one of these shapes. The command line hands the workers
to the screen as `Services`; the screen knows nothing else of them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.config import Overflow
from workbench.core.events import Batch
from workbench.core.models import EngineInfo, LibraryView, LoadRecord, ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.prompt_text import PromptText
from workbench.core.recipe import Recipe
from workbench.core.sending import OnSend, Sent
from workbench.core.session import Session, SessionHit, SessionSummary
from workbench.core.telemetry import Alarm, Situation, TelemetryEvent, TelemetrySample
from workbench.core.telemetry import HostSample as HostSample
from workbench.core.tree import Node, View

if TYPE_CHECKING:
    # What a screen needs only once something is measured.
    from workbench.core.bench import BenchCase, BenchMachine, BenchModel, BenchSettings, BenchTest, Conditions, RunTime
    from workbench.core.sweep import LoadCost, LoadLevel, LoadSample, LoadTarget

ExportFormat = Literal["modelfile", "md", "json", "sh"]
Naming = Literal["ollama", "hf"]
"""Whose name a model goes by: that of Ollama's own store, or that of Hugging Face, which Ollama takes as `hf.co/…`."""
LogLevel = Literal["debug", "info", "warning", "error"]
ProgressCallback = Callable[[float], None]
"""Called with a fraction from 0 to 1, in any thread."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of an engine: a conversation, or one of the raw forms."""

    messages: tuple[Message, ...] = ()
    """The conversation, rendered by the model's chat template."""
    prompt: str | None = None
    """A text given to the model as it is, with no template."""
    tokens: tuple[int, ...] | None = None
    """Token ids given to the model as they are."""
    sampling: Sampling = field(default_factory=Sampling)
    when_context_full: Overflow = "stop"
    continues: bool = False
    """Whether the last message is the beginning of the answer, which goes on where it ends."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do beyond generating."""

    score: bool = False
    """Whether `score` works."""
    reload: bool = True
    """Whether load settings mean anything to it."""


class Engine(Protocol):
    """One open model."""

    @property
    def info(self) -> EngineInfo:
        """What was opened."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    def generate(self, request: Request, cancel: CancelToken) -> AsyncIterator[Batch]:
        """Answer `request`. The last event is a `Finished` or a `Failed`; nothing is raised for a failed answer.

        Cancelling ends it within one decode step, and within 100 ms during prefill on a CPU or one chunk on a GPU.
        """

    async def score(self, tokens: Sequence[int]) -> tuple[float, ...]:
        """The natural-log probability of each token after the first, given those before it."""

    async def close(self) -> None:
        """Give the memory back. What streams is stopped first."""


class EngineHost(Protocol):
    """Opens models."""

    async def open(
        self, ref: str, settings: LoadSettings, on_progress: ProgressCallback, cancel: CancelToken
    ) -> Engine:
        """Open the model that `ref` names.

        Raises:
            WorkbenchError: It cannot be opened; CancelledError when `cancel` was set.
        """

    async def shutdown(self) -> None:
        """Close whatever is open."""


class MemoryAdviser(Protocol):
    """Knows what models take before they are loaded."""

    async def fit_together(self, models: Sequence[tuple[str, LoadSettings]]) -> bool:
        """Whether these models, by reference and settings, fit together in what is free now.

        One whose need cannot be told counts as fitting: loading it will tell.
        """


class BenchRun(Protocol):
    """A model with a context of its own, ready for one test. Its methods are called one after the other."""

    async def warm_up(self, cancel: CancelToken) -> float:
        """Compute the whole prompt and one token more, as llama-bench does; gives the seconds that a run may take.

        Raises:
            CancelledError: `cancel` was set.
        """

    async def repeat(self, seed: int, cancel: CancelToken) -> RunTime:
        """Do the test once, from an empty context, with the random tokens of `seed`.

        Cancelling ends it within one decode step, and within 100 ms in a prompt on a CPU or one batch on a GPU.

        Raises:
            CancelledError: `cancel` was set.
        """

    async def close(self) -> None:
        """Give the context's memory back."""


class BenchTarget(Protocol):
    """A model that is open for timing."""

    @property
    def model(self) -> BenchModel:
        """What was opened."""

    async def prepare(self, settings: BenchSettings, test: BenchTest) -> BenchRun:
        """Make a context for `test`. Of the settings, those of the weights are as they were when it was opened.

        Raises:
            MemoryShortError: It does not fit in memory.
            WorkbenchError: llama.cpp refuses it.
        """

    async def close(self) -> None:
        """Give all memory back, that of its contexts too."""


class Bencher(Protocol):
    """Opens models for timing."""

    async def machine(self) -> BenchMachine:
        """What times."""

    async def open(self, case: BenchCase, on_progress: ProgressCallback, cancel: CancelToken) -> BenchTarget:
        """Load the weights of a model.

        Args:
            case: Of those that will be timed with these weights the one with the longest context. Where it is left
                open how many layers go on the GPUs, there will be room for it beside them.
            on_progress: Told the fraction of the weights that is loaded.
            cancel: Stops the load.

        Raises:
            WorkbenchError: It cannot be opened; CancelledError when `cancel` was set.
        """


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


class ConditionWatch(Protocol):
    """Sees what goes on beside a repetition."""

    async def begin(self) -> None:
        """A repetition begins."""

    async def end(self) -> Conditions:
        """It has ended; tells what went on meanwhile."""


class Catalog(Protocol):
    """The models at hand."""

    async def models(self) -> Sequence[ModelEntry]:
        """Every model that can be opened, in the order to show."""

    def watch(self, *, again: bool = False) -> AsyncGenerator[LibraryView, None]:
        """The models: at once those that are known, then more as a search finds them; the last view is complete.

        Args:
            again: Whether to search even where a search was finished a moment ago.
        """

    async def name_elsewhere(self, path: str, naming: Naming) -> str:
        """What a Modelfile may call the model in the file `path`.

        Raises:
            UnknownModelError: The file has no such name that is known.
        """

    async def find_recipe(self, ref: str) -> Recipe | None:
        """What goes with the weights of the model that `ref` means; None where no Modelfile describes it.

        Raises:
            WorkbenchError: The Modelfile cannot be read or is not sound.
        """


class Servers(Protocol):
    """The servers whose models are offered."""

    async def add(self, address: str) -> Sequence[ModelEntry]:
        """Ask a server for its models, and offer them from now on.

        Raises:
            WorkbenchError: It does not answer, or it cannot be kept.
        """

    async def unload(self, ref: str) -> None:
        """Have a server give the memory of a model back.

        Raises:
            WorkbenchError: It cannot.
        """


class RaceBook(Protocol):
    """Keeps what races came to."""

    def new_id(self) -> str:
        """An id that no other race has."""

    async def keep(self, race: str, document: Mapping[str, object]) -> None:
        """Keep a race, in the place of an earlier state of it.

        Raises:
            WorkbenchError: It cannot be written.
        """

    async def write(self, path: Path, text: str) -> Path:
        """Write `text` to `path`, or to a numbered name beside it where that is taken; gives the path written.

        Raises:
            WorkbenchError: It cannot be written.
        """


class PromptBook(Protocol):
    """Keeps what the user typed. A full disk is no error."""

    async def recall(self) -> Sequence[PromptText]:
        """The prompts of earlier sessions, oldest first."""

    async def keep(self, prompt: PromptText) -> None:
        """Keep a prompt that was sent."""

    async def keep_draft(self, prompt: PromptText) -> None:
        """Keep what is in the prompt now; nothing, where it is empty."""

    async def lost_drafts(self) -> Sequence[PromptText]:
        """What was in the prompts of programs that are gone, the newest last. They are told once."""


class LoadBook(Protocol):
    """Remembers what loads came to."""

    async def remember(self, record: LoadRecord) -> None:
        """Keep `record` in the place of an earlier one of the same file and settings. A full disk is no error."""

    async def recall(self, path: str) -> Sequence[LoadRecord]:
        """What is known of the file `path`, newest first."""


class Journal(Protocol):
    """The record of one running session. When a method returns, its words are on disk."""

    @property
    def id(self) -> str:
        """The id of the session."""

    async def settings(self, system: str, sampling: Sampling, load: LoadSettings) -> None:
        """Record the settings that hold from here on."""

    async def model(self, entry: ModelEntry) -> None:
        """Record the model that answers from here on."""

    async def message(self, node: Node) -> None:
        """Record a message that is complete: what the user wrote, or a finished answer. It ends the conversation."""

    async def partial(self, node: Node) -> None:
        """Record how far an answer has come; `message` puts the whole of it in its place."""

    async def view(self, view: View) -> None:
        """Record which messages are the conversation from here on, and which are deleted."""

    async def close(self) -> None:
        """Record that the session ended well."""


class SessionStore(Protocol):
    """The stored sessions."""

    async def create(self) -> Journal:
        """Begin a new session. Nothing is stored before its first message."""

    async def resume(self, session_id: str) -> tuple[Session, Journal]:
        """Go on with a stored session.

        Raises:
            SessionError: It is not there, cannot be read, or a program has it open.
        """

    async def open_session(self, session_id: str) -> Session:
        """Read a stored session, also while a program has it open.

        Raises:
            SessionError: There is none, or it cannot be read.
        """

    async def interrupted(self) -> Sequence[Session]:
        """Sessions whose program died, newest first.

        Raises:
            SessionError: They cannot be read.
        """

    async def dismiss(self, session_id: str) -> None:
        """Do not offer an interrupted session again. It stays stored.

        Raises:
            SessionError: It is not there, cannot be written, or a program has it open.
        """

    async def summaries(self, *, figures: bool = True) -> Sequence[SessionSummary]:
        """All stored sessions: the pinned ones, then the others, the one changed last first.

        Args:
            figures: Whether the figures of the last answer are wanted.

        Raises:
            SessionError: They cannot be read.
        """

    async def search(self, words: str) -> Sequence[SessionHit]:
        """The sessions with all of `words` in one message or in their name, the newest message first.

        Raises:
            SessionError: They cannot be read.
        """

    async def rename(self, session_id: str, name: str) -> None:
        """Call a session by another name; an empty one is the first words of it again.

        Raises:
            SessionError: It is not there, or cannot be written.
        """

    async def pin(self, session_id: str, pinned: bool) -> None:
        """Let a session stand above the others in a list, or no more.

        Raises:
            SessionError: It is not there, or cannot be written.
        """

    async def delete(self, session_id: str) -> None:
        """Take a session out of every list. For a while `restore` has it back.

        Raises:
            SessionError: It is not there, cannot be written, or a program has it open.
        """

    async def restore(self, session_id: str) -> None:
        """Take back that a session was deleted.

        Raises:
            SessionError: It is not there any more, or cannot be written.
        """

    async def digest(self, model: ModelEntry) -> str:
        """What tells the file of a model from others; empty where that is not known."""

    async def export(self, session: Session, form: ExportFormat, path: Path, base: str = "") -> Path:
        """Write a session to `path`, or to a numbered name beside it where that is taken; gives the path written.

        Args:
            session: What to write.
            form: How to write it.
            path: Where to.
            base: What FROM names in a Modelfile; empty for the file of the model.

        Raises:
            WorkbenchError: The path cannot be written, or a value cannot be held by the format; nothing is written.
        """


class ModelSender(Protocol):
    """Has Ollama make the model that a session's Modelfile describes."""

    @property
    def usual_server(self) -> str:
        """Where Ollama is unless somebody says otherwise."""

    async def send(
        self,
        session: Session,
        name: str,
        url: str,
        on_progress: OnSend,
        cancel: CancelToken,
        *,
        overwrite: bool = False,
    ) -> Sent:
        """Make the model `name` at `url`, and ask it something.

        Args:
            session: What the Modelfile is written of.
            name: What the model is to be called.
            url: Where Ollama is.
            on_progress: Told how far it is, in any thread.
            cancel: Ends it.
            overwrite: Whether a model of this name may be replaced.

        Raises:
            TargetError: There is a model of this name.
            WorkbenchError: It cannot be made, or does not answer; CancelledError when `cancel` was set.
        """


class HostMonitor(Protocol):
    """Reads the machine's meters."""

    def sample(self) -> HostSample:
        """Read them now; costs well under a millisecond."""


class Telemetry(Protocol):
    """Reads all meters, in a thread of its own. No method waits for a device."""

    def start(self) -> None:
        """Begin to read, about once a second."""

    def stop(self) -> None:
        """Read no more."""

    def latest(self) -> TelemetrySample | None:
        """The newest sample; None before the first. It stays when a device blocks: `at_ns` says how old it is."""

    async def fresh(self, patience_s: float = 0.5) -> TelemetrySample | None:
        """A sample that is taken now; None where the meters do not answer in time, or nothing is read."""

    def history(self) -> Sequence[TelemetrySample]:
        """The samples that are still held, oldest first."""

    def events(self, after: int = 0) -> Sequence[TelemetryEvent]:
        """What came and went since event number `after`, as far as it is still held."""

    def paused(self) -> AbstractContextManager[None]:
        """Read nothing inside the `with` block, while something is timed. A read that has begun is not waited for."""


class AlarmWatch(Protocol):
    """Tells of each trouble once, and again only after it was over."""

    def look(self, situation: Situation) -> Sequence[Alarm]:
        """The alarms to tell of now. Reads no meters: it looks at the samples that are there."""

    @property
    def active(self) -> Sequence[Alarm]:
        """The alarms that hold, told of or not."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a worker logged."""

    number: int
    """Counted from 1, without gaps."""
    level: LogLevel
    source: str
    text: str


class LogBook(Protocol):
    """What the workers logged, the newest lines of it."""

    def add(self, level: LogLevel, source: str, text: str) -> None:
        """Log one line."""

    def since(self, number: int) -> Sequence[LogLine]:
        """The lines after line `number` that are still held."""
