"""The services that the command line hands to the screens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.core.config import Config, ConfigProblem
from workbench.core.engine import EngineHost, MemoryAdviser
from workbench.core.kept import KeptSettings
from workbench.core.logbook import LogBook
from workbench.core.models import Catalog, LoadBook
from workbench.core.prompt_text import PromptBook
from workbench.core.servers import Servers
from workbench.core.session import ExportFormat, Session, SessionStore
from workbench.core.telemetry import AlarmWatch, ComputeDevice, Telemetry
from workbench.gguf.model_files import ModelFiles

if TYPE_CHECKING:
    # Imported when they are first used, and not before the first paint.
    from workbench.core.pulls import PullBook, Pulls
    from workbench.core.sending import ModelSender
    from workbench.core.serving import Serving
    from workbench.core.sharing import ModelSharing
    from workbench.lab.bench.job import BenchTools
    from workbench.lab.decision.tools import DecisionTools
    from workbench.lab.evals.tools import EvalTools
    from workbench.lab.quality.keeping import QualityTools
    from workbench.lab.quality.logits import LogitHost
    from workbench.lab.race.book import RaceBook
    from workbench.lab.tune.judgement import JudgementTools
    from workbench.lab.tune.tune import TuneTools


@dataclass(frozen=True, slots=True)
class Services:
    """All services of the program."""

    engines: EngineHost
    catalog: Catalog
    files: ModelFiles
    loads: LoadBook
    adviser: MemoryAdviser
    prompts: PromptBook
    races: RaceBook
    bench: BenchTools
    evals: EvalTools
    sessions: SessionStore
    sender: Callable[[], ModelSender]
    """Makes what sends conversations to Ollama."""
    telemetry: Telemetry
    """The meters of the machine; the program starts and stops them."""
    make_alarms: Callable[[], AlarmWatch]
    find_devices: Callable[[], Sequence[ComputeDevice] | None]
    """Lists the devices that llama.cpp computes on; None where they are unknown. Takes seconds: for a thread."""
    logs: LogBook
    config: Config
    config_problems: Sequence[ConfigProblem]
    save_config: Callable[[Mapping[str, object]], Sequence[str]]
    """Writes these top-level config keys, and leaves the rest of the file unchanged. Raises ConfigError.

    Returns a sentence for each value that another program had stored since this one read it.
    """
    theme_folders: Sequence[Path]
    """Folders with theme files; of two themes with one name, the one in the later folder counts."""
    export_folder: Path
    """The default folder of exports."""
    write_document: Callable[[Path, str], Awaitable[Path]]
    """Writes a text to a path, or to a numbered name beside it; returns the path written. Raises WorkbenchError."""
    keep_copy: Callable[[str], Path]
    """Writes a copied text to a new file in the export folder. Raises WorkbenchError. For a thread."""
    session_text: Callable[[Session, ExportFormat], str]
    """Writes a session in a format. Raises WorkbenchError where the format cannot hold one of its values."""
    kept: KeptSettings
    config_path: Path = Path("config.toml")
    """The config file."""
    add_folder: Callable[[Path], Sequence[str]] = lambda _folder: ()
    """Adds a folder to those that are searched for models, here and in the config; returns as `save_config`.

    Raises ConfigError.
    """
    no_model_hint: str = ""
    """How to get a model, where none is named and none is found."""
    check_format: Callable[[str, bool], object] = lambda _value, _exact: None
    """Checks a value of `format`, and whether it can be held exactly. Raises FormatError. For a thread."""
    logits: Callable[[], LogitHost] | None = None
    """Makes what opens models for their logits; None where nothing can."""
    quality: QualityTools | None = None
    """What measurements of quality need; None where nothing can compute logits."""
    pulls: Callable[[], Pulls] | None = None
    """Makes what asks registries of models; None where none can be asked."""
    pull_book: Callable[[], PullBook] | None = None
    """Gives what keeps the downloads that are not done, always the same; None where `pulls` is."""
    sharing: Callable[[], ModelSharing] | None = None
    """Makes what shares, joins and deletes model files; None where nothing can. For a thread."""
    decision: DecisionTools | None = None
    """The kept results, and what measures more; None where there are none."""
    serving: Callable[[], Serving] | None = None
    """Makes what serves the open model to other programs; None where nothing can."""
    judgement: JudgementTools | None = None
    """What judgements of speculation need; None where nothing can be loaded for them."""
    tune: TuneTools | None = None
    """What tunings need; None where nothing can be timed."""
    servers: Servers | None = None
    """The servers whose models are in the catalog; None where there are none."""
