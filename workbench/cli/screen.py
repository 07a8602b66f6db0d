"""`workbench [MODEL]`: the full-screen program."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from typing_extensions import override

from workbench.cli.composition import Workers, compose
from workbench.cli.logfile import logged
from workbench.cli.options import MODEL_HELP, add_settings, given_values, origins, settings, system_prompt
from workbench.core.errors import ParameterError, WorkbenchError
from workbench.core.logbook import LogBook, LogLevel
from workbench.core.models import DEMO
from workbench.core.recipe import Recipe
from workbench.core.telemetry import AlarmWatch, ComputeDevice, Telemetry
from workbench.engine.llama.aborts import abort_hooks
from workbench.engine.llama.device_readings import DeviceReadings
from workbench.engine.llama.runtime import shared_runtime
from workbench.library.demo import HOW_TO_GET_A_MODEL, find_demo
from workbench.store.config.write import ConfigFile
from workbench.store.documents import write_document
from workbench.store.files import make_folder, write_copy
from workbench.store.prompts import PromptFolder
from workbench.telemetry.sampler import system_sampler
from workbench.ui.kit.sanitize import clean
from workbench.ui.services import Services

if TYPE_CHECKING:
    from workbench.core.pulls import PullBook, Pulls
    from workbench.core.serving import Serving
    from workbench.core.session import ExportFormat, Session

WEB_PORT = 8222
ESCAPE_DELAY_MS = "30"
"""How long Textual waits after an Escape byte for the rest of a key's sequence; a slow line may need more."""

RESTORE_TERMINAL = (
    "\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[<u\x1b[0m\x1b[23;2t\r\n"
)
"""Leaves the alternate screen, ends reports of the mouse and of the focus, bracketed paste and the extended keyboard
protocol, and takes the title of the window from the terminal's stack."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", nargs="?", help=MODEL_HELP)
    parser.add_argument("--resume", metavar="SESSION", help="continue a conversation: its id, or `last`")
    parser.add_argument("--web", action="store_true", help="show the screen in a browser of this machine")
    parser.add_argument("--port", type=int, metavar="N", help=f"the port of --web (default: {WEB_PORT}); 0 is any")
    add_settings(parser)


def run(options: argparse.Namespace) -> int:
    """Show the screen until the user leaves."""
    if options.port is not None and not options.web:
        raise ParameterError("--port is the port of --web.", "Write both: workbench --web --port 8080")
    workers = compose()
    sampling, load = settings(options, workers.config)
    system = system_prompt(options, workers.config)
    with suppress(OSError):
        # Variants of models in stores and packages are written there, and the catalog has to list them at once.
        make_folder(workers.paths.models_dir)
    workers.files.fallback = workers.paths.models_dir
    given = origins(options, workers.config)
    workers.config = replace(workers.config, sampling=sampling, load=load, system=system, origins=given)
    resume, stored = None, ""
    if options.resume is not None:
        resume = asyncio.run(workers.sessions.find(options.resume))
        stored = asyncio.run(workers.sessions.open_session(resume)).model
    model = options.model or stored or _configured_model(workers)
    recipe = _first_recipe(model, options, workers)
    if options.web:
        workers.sessions.close()
        return _serve(options)
    if not _has_terminal():
        raise WorkbenchError("The full-screen program needs a terminal.", "`workbench run MODEL PROMPT` does not.")
    os.environ.setdefault("ESCDELAY", ESCAPE_DELAY_MS)
    if not os.environ.get("NO_COLOR"):
        # Textual would take an empty one for a wish, against https://no-color.org
        os.environ.pop("NO_COLOR", None)
    # Importing Textual takes long: bad usage is answered before.
    from workbench.ui.app import WorkbenchApp

    shared_runtime.step_back()
    book = LogBook()
    with _logged(workers, book):
        app = WorkbenchApp(services_of(workers, book), model, resume, recipe=recipe)
        _restore_terminal_on_abort()
        try:
            app.run()
        finally:
            workers.sessions.close()
        return app.return_code or 0


def _serve(options: argparse.Namespace) -> int:
    try:
        from workbench.cli.web import serve_screen
    except ImportError:
        raise WorkbenchError(
            "The screen in a browser needs one more package.", "Install it: pip install 'workbench[web]'"
        ) from None
    options.port = WEB_PORT if options.port is None else options.port
    return serve_screen(options)


def _has_terminal() -> bool:
    """Whether there is a terminal, or the page of a browser in its place."""
    # Textual draws on standard error.
    return "TEXTUAL_DRIVER" in os.environ or (sys.stdin.isatty() and sys.stderr.isatty())


def _configured_model(workers: Workers) -> str | None:
    """The model of the config; None where there is none, or where the demo model is not installed."""
    wanted = workers.config.model
    return None if wanted == DEMO and find_demo() is None else wanted or None


def _first_recipe(model: str | None, options: argparse.Namespace, workers: Workers) -> Recipe | None:
    """The model's Modelfile under the settings of the command line; None without a Modelfile."""
    recipe = None if model is None else workers.catalog.recipe(model)
    if recipe is None:
        return None
    recipe = workers.catalog.recipe_with_kept(str(model)) or recipe
    merged = Recipe(parameters=tuple(given_values(options).items())).onto(recipe)
    return merged if options.system is None else replace(merged, system=options.system)


def services_of(workers: Workers, book: LogBook) -> Services:
    """Everything that the screen works with."""
    shipped = Path(__file__).parent.parent
    # In a checkout the themes are beside the package, in an installed wheel inside it.
    themes = next((folder for folder in (shipped / "themes", shipped.parent / "themes") if folder.is_dir()), None)
    sampler = system_sampler(DeviceReadings().latest, gpus=workers.config.gpu_meters)
    config_file = ConfigFile(workers.paths.config_file)
    return Services(
        engines=workers.engines,
        catalog=workers.served,
        servers=workers.served,
        serving=_serving,
        sharing=lambda: workers.sharing,
        pulls=partial(_pulls, workers),
        pull_book=cache(partial(_pull_book, workers.paths.pulls_dir)),
        files=workers.files,
        loads=workers.loads,
        adviser=workers.adviser,
        prompts=PromptFolder(workers.paths.prompts_dir),
        races=workers.races,
        bench=workers,
        evals=workers,
        logits=lambda: workers.logits,
        quality=workers,
        decision=workers,
        tune=workers,
        judgement=workers,
        sessions=workers.sessions,
        sender=lambda: workers.sender,
        telemetry=sampler,
        make_alarms=partial(_alarms_of, sampler),
        find_devices=_find_devices,
        logs=book,
        config=workers.config,
        config_problems=workers.problems,
        save_config=config_file.save,
        config_path=workers.paths.config_file,
        add_folder=partial(_add_folder, workers, config_file, list(workers.config.model_folders)),
        theme_folders=[folder for folder in (themes, workers.paths.themes_dir) if folder is not None],
        export_folder=workers.paths.exports_dir,
        write_document=write_document,
        keep_copy=partial(write_copy, workers.paths.exports_dir),
        session_text=_session_text,
        kept=workers.kept,
        no_model_hint=HOW_TO_GET_A_MODEL,
        check_format=_check_format,
    )


# What the first paint does not need is imported when it is asked for.


def _pulls(workers: Workers) -> Pulls:
    from workbench.cli.pull_worker import ScreenPulls

    return ScreenPulls(lambda: workers.pulls)


def _serving() -> Serving:
    from workbench.serve.serving import HttpServing

    return HttpServing()


def _session_text(session: Session, form: ExportFormat) -> str:
    from workbench.store.export.session import session_text

    return session_text(session, form)


def _pull_book(folder: Path) -> PullBook:
    from workbench.store.pull_queue import PullQueueFiles

    return PullQueueFiles(folder)


def _add_folder(workers: Workers, config_file: ConfigFile, folders: list[str], folder: Path) -> Sequence[str]:
    """See `Services.add_folder`; `folders` are those of the config."""
    replaced = config_file.save({"model_folders": [*folders, str(folder)]})
    folders.append(str(folder))
    workers.catalog.add_folder(folder)
    return replaced


def _check_format(value: str, exact: bool) -> None:
    from workbench.engine.formats.answer_format import check_format

    check_format(value, exact=exact)


def _alarms_of(telemetry: Telemetry) -> AlarmWatch:
    from workbench.telemetry.alarms import TelemetryAlarmWatch

    return TelemetryAlarmWatch(telemetry)


def _find_devices() -> Sequence[ComputeDevice] | None:
    """The devices of llama.cpp, asked for in a child process: some backends end the process that asks."""
    from workbench.engine.llama.probe import probe_llama

    probe = probe_llama()
    return None if probe.build is None else probe.devices


class _BookHandler(logging.Handler):
    """Adds log records to the book that the log pane shows."""

    def __init__(self, book: LogBook) -> None:
        super().__init__()
        self._book = book

    @override
    def emit(self, record: logging.LogRecord) -> None:
        level = cast(LogLevel, "error" if record.levelno >= logging.ERROR else record.levelname.lower())
        for line in self.format(record).splitlines():
            self._book.add(level, record.name.removeprefix("workbench."), line)


@contextmanager
def _logged(workers: Workers, book: LogBook) -> Iterator[None]:
    """Send log lines to the book and to the log file, and none to the terminal, inside the `with` block."""
    path = workers.paths.log_file
    with logged(path, _BookHandler(book)):
        try:
            make_folder(path.parent)
        except OSError as error:
            book.add("warning", "log", f"There is no log file: {error}")
        yield


def _restore_terminal_on_abort() -> None:
    """Restore the terminal's present state, and print the reason, before a failed native assertion ends the process."""
    restore: list[Callable[[], None]] = []
    if sys.platform != "win32" and sys.stdin.isatty():
        import termios

        terminal = sys.stdin.fileno()
        restore.append(partial(termios.tcsetattr, terminal, termios.TCSANOW, termios.tcgetattr(terminal)))

    def on_abort(message: str) -> None:
        for put_back in restore:
            print(end=RESTORE_TERMINAL, file=sys.__stderr__)
            put_back()
        for line in (
            f"workbench: llama.cpp ended the program: {clean(message)}",
            "  What was written is stored; `workbench --resume last` continues it.",
        ):
            print(end=f"{line}\n", file=sys.__stderr__)

    abort_hooks.append(on_abort)
