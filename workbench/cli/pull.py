"""`workbench pull`: fetch a model from Hugging Face or from Ollama's registry."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from workbench.cli.composition import Workers, compose
from workbench.cli.options import add_json
from workbench.cli.output import Printed, note, print_json, print_table, say
from workbench.cli.progress import ProgressLine, stoppable
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, ParameterError, WorkbenchError
from workbench.core.units import UNKNOWN, size_pair, size_text
from workbench.core.user_path import user_path
from workbench.engine.remote.registries import RegistryTransport
from workbench.gguf.fit import DeviceRoom, Fit, FitModel, Room
from workbench.library.huggingface import cache_folder
from workbench.library.ollama import OllamaName
from workbench.library.places import find_places
from workbench.library.pull.hub import Hit, HubClient, Location, Repository, hub_settings
from workbench.library.pull.pull import Puller, PullProgress, PullResult
from workbench.library.pull.references import HubRef, parse_pull_ref
from workbench.library.pull.registry import OllamaRegistry
from workbench.library.pull.variants import RemoteFile, Variant, choose
from workbench.library.pull.web import Web
from workbench.store.locks import try_lock

LARGER_THAN_FILE = 1.1
"""Memory of a loaded model by the size of its file, where its header is not known."""
_Result = TypeVar("_Result")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Fetch a model. hf.co/USER/REPO[:QUANT], or an address of Hugging Face, goes into its cache, where other "
        "programs find it; ollama:NAME[:TAG] into the program's models folder, with its template, system prompt and "
        "parameters as a Modelfile beside it. Stopped with Ctrl+C or killed, a pull continues where it ended. Set "
        "HF_TOKEN for gated and private repositories; HF_ENDPOINT and HF_HUB_OFFLINE are honoured. With --json, "
        "progress is printed as JSON lines before the result."
    )
    parser.add_argument("ref", metavar="REF", nargs="?", help="the model; without QUANT Q4_K_M, else Q8_0")
    parser.add_argument("--search", metavar="WORDS", help="search Hugging Face for repositories with GGUF files")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="the most repositories that are listed")
    parser.add_argument(
        "--list", action="store_true", help="list the quantizations, and which fit in memory; nothing is fetched"
    )
    parser.add_argument("--into", metavar="FOLDER", help="store the files there instead")
    parser.add_argument("--no-mmproj", action="store_true", help="leave out the picture encoder")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Search, list or fetch."""
    if (options.ref is None) == (options.search is None):
        raise ParameterError("Name a model, or search with --search WORDS.")
    workers = compose()
    work = _search if options.search is not None else _pull
    return asyncio.run(stoppable(partial(_until, partial(work, options, workers))))


async def _until(work: Callable[[], Awaitable[_Result]], cancel: CancelToken) -> _Result:
    """Do `work`, which `cancel` ends."""
    task = asyncio.ensure_future(work())
    cancel.on_set(task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        if cancel.is_set:
            message = "Stopped. What was fetched is kept: the same command continues there."
            raise CancelledError(message) from None
        raise


@dataclass
class _Registries:
    """What one command asks; an `async with` block."""

    web: Web
    hub: HubClient

    @classmethod
    def open(cls) -> _Registries:
        web = Web(RegistryTransport())
        return cls(web, HubClient(web, hub_settings(os.environ, Path.home())))

    async def __aenter__(self) -> _Registries:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.web.transport.close()


async def _search(options: argparse.Namespace, _workers: Workers) -> int:
    async with _Registries.open() as registries:
        hits = await registries.hub.search(options.search, max(1, options.limit))
    if options.json:
        print_json([asdict(hit) for hit in hits])
    elif hits:
        rows = [_hit_row(hit) for hit in hits]
        print_table(("repository", "downloads", "likes", "updated", ""), rows)
        note("`workbench pull --list hf.co/REPOSITORY` lists the quantizations.")
    else:
        note("No repository with GGUF files has that in its name.")
    return 0


def _hit_row(hit: Hit) -> tuple[str, ...]:
    gated = "gated" if hit.gated else ""
    return hit.repository, f"{hit.downloads:,}", f"{hit.likes:,}", hit.updated or UNKNOWN, gated


async def _pull(options: argparse.Namespace, workers: Workers) -> int:
    settings = hub_settings(os.environ, Path.home())
    ref = parse_pull_ref(options.ref, settings.host)
    async with _Registries.open() as registries:
        if isinstance(ref, HubRef):
            return await _pull_from_hub(options, workers, registries, ref)
        return await _pull_from_ollama(options, workers, registries, ref)


async def _pull_from_hub(options: argparse.Namespace, workers: Workers, registries: _Registries, ref: HubRef) -> int:
    puller = Puller(registries.web, try_lock)
    repository = await registries.hub.repository(ref)
    if options.list:
        await _list(options, workers, registries.hub, puller, repository)
        return 0
    variant = choose(repository.variants, ref.path or ref.quant, f"hf.co/{repository.name}")
    projector = None if options.no_mmproj else variant.projector
    files = [*variant.files, *([projector] if projector else [])]
    _announce(options, f"{repository.name} {variant.label}", files)
    report = _Progress(as_json=options.json)
    cache, into = cache_folder(find_places()), _into(options)
    result = await puller.pull_from_hub(registries.hub, repository, files, cache, into, report)
    if into is not None:
        workers.pulled.remember(result.sha256)
    _show(options, report, result)
    return 0


async def _pull_from_ollama(
    options: argparse.Namespace, workers: Workers, registries: _Registries, name: OllamaName
) -> int:
    registry = OllamaRegistry(registries.web)
    model = await registry.model(name)
    if options.list:
        raise ParameterError("Ollama's registry has no list of the tags of a model.", "See https://ollama.com/search.")
    _announce(options, str(name), model.files)
    report = _Progress(as_json=options.json)
    into = _into(options) or workers.paths.models_dir / model.folder
    result = await Puller(registries.web, try_lock).pull_from_ollama(registry, model, into, report)
    workers.pulled.remember(result.sha256)
    _show(options, report, result)
    return 0


def _into(options: argparse.Namespace) -> Path | None:
    return user_path(options.into).absolute() if options.into else None


def _announce(options: argparse.Namespace, name: str, files: Sequence[RemoteFile]) -> None:
    if not options.json:
        more = "" if len(files) == 1 else f" in {len(files)} files: {', '.join(file.name for file in files)}"
        note(f"{name}: {size_text(sum(file.size for file in files))}{more}")


class _Progress:
    """Prints progress: a line that is overwritten, or JSON lines."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._line = ProgressLine()

    def __call__(self, progress: PullProgress) -> None:
        """Print it."""
        if self._as_json:
            print_json({"progress": asdict(progress)})
            # An error that follows is a document of its own.
            Printed.json = False
            return
        share = progress.done_bytes / progress.total_bytes if progress.total_bytes else 1.0
        rate = "" if progress.rate is None else f"  {size_text(round(progress.rate))}/s"
        left = "" if progress.seconds_left is None else f"  {_time_text(progress.seconds_left)} left"
        filled = round(20 * share)
        bar = f"[{'#' * filled}{'.' * (20 - filled)}]"
        self._line.say(f"{bar} {share:4.0%}  {size_pair(progress.done_bytes, progress.total_bytes)}{rate}{left}")

    def clear(self) -> None:
        """Clear the line."""
        self._line.clear()


def _time_text(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _show(options: argparse.Namespace, report: _Progress, result: PullResult) -> None:
    if options.json:
        fields = ("size_bytes", "resumed_bytes", "seconds", "already")
        figures = {"sha256": result.sha256.get(result.path), **{name: getattr(result, name) for name in fields}}
        modelfile = str(result.modelfile) if result.modelfile else None
        print_json({"path": str(result.path), "files": list(map(str, result.files)), "modelfile": modelfile, **figures})
        return
    report.clear()
    resumed = f", {size_text(result.resumed_bytes)} of it earlier" if result.resumed_bytes else ""
    what = "it was there already" if result.already else f"fetched in {result.seconds:.1f} s{resumed}, digest right"
    note(f"{size_text(result.size_bytes)}, {what}")
    say(str(result.modelfile or result.path))


@dataclass(frozen=True, slots=True)
class _Memory:
    """Whether a quantization fits in the memory that is free now."""

    fits: bool
    needed_bytes: int
    largest_ctx: int | None
    """None where the header was not read."""
    estimated: bool
    """Whether it is scaled by size from the header of another file, or from the size alone."""


async def _list(
    options: argparse.Namespace, workers: Workers, hub: HubClient, puller: Puller, repository: Repository
) -> None:
    variants = repository.variants
    known = choose(variants, "", f"hf.co/{repository.name}")
    memory = await _memory_of(workers, hub, puller, repository, variants, known)
    if options.json:
        print_json(
            [
                {
                    "quant": variant.label,
                    "size_bytes": variant.size,
                    "files": [file.path for file in variant.files],
                    "mmproj": variant.projector.path if variant.projector else None,
                    **asdict(found),
                }
                for variant, found in zip(variants, memory, strict=True)
            ]
        )
        return
    rows = [
        (
            variant.label,
            size_text(variant.size),
            f"{'~' if found.estimated else ''}{size_text(found.needed_bytes)}",
            "fits" if found.fits else "does not fit",
            UNKNOWN if found.largest_ctx is None else f"{found.largest_ctx:,}" if found.largest_ctx else "none",
            variant.files[0].path + (f" and {len(variant.files) - 1} more" if len(variant.files) > 1 else ""),
        )
        for variant, found in zip(variants, memory, strict=True)
    ]
    print_table(("quant", "size", "memory", "now", "largest context", "file"), rows)
    if any(found.estimated for found in memory):
        note(f"~: estimated by size{'' if memory[0].largest_ctx is None else f', from the header of {known.label}'}.")
    if projectors := {variant.projector for variant in variants if variant.projector}:
        names = ", ".join(f"{file.path} ({size_text(file.size)})" for file in projectors)
        note(f"Fetched with each, unless --no-mmproj is given: {names}")


async def _memory_of(
    workers: Workers,
    hub: HubClient,
    puller: Puller,
    repository: Repository,
    variants: Sequence[Variant],
    known: Variant,
) -> list[_Memory]:
    """The memory of each quantization; exactly for `known`, whose header is fetched, and scaled from it for others."""
    from workbench.engine.llama.devices import look_at_machine
    from workbench.engine.llama.plan import room_on

    machine = await asyncio.to_thread(look_at_machine)
    room = room_on(machine)

    async def locate(file: RemoteFile) -> Location:
        return await hub.locate(repository, file)

    try:
        header = await puller.header(locate, known.files[0])
        model = FitModel([header], machine.repacked)
        question = model.question(workers.config.load)
        fit = model.price(question, room)
    except (WorkbenchError, ArithmeticError, LookupError, ValueError):
        free = room.host.free_bytes + sum(gpu.free_bytes for gpu in room.gpus)
        needs = [round(variant.size * LARGER_THAN_FILE) for variant in variants]
        return [_Memory(need <= free, need, None, estimated=True) for need in needs]
    found = []
    for variant in variants:
        more = variant.size - known.files[0].size
        less = _without(room, fit, more)
        scaled = model.price(question, less)
        largest = model.largest_context(question, less)
        found.append(_Memory(scaled.fits, fit.total_bytes + more, largest, estimated=variant is not known or more > 0))
    return found


def _without(room: Room, fit: Fit, more: int) -> Room:
    """The memory that is left where `more` bytes of weights are spread as those of `fit` are."""
    weights = {share.device.name: share.weights_bytes for share in fit.shares}

    def left(device: DeviceRoom) -> DeviceRoom:
        taken = more * weights.get(device.name, 0) // (fit.weights_bytes or 1)
        return replace(device, free_bytes=device.free_bytes - taken)

    return Room(left(room.host), tuple(map(left, room.gpus)))
