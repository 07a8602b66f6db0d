"""Everything about pulling models in one place: the command, the screen and its child process use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from workbench.core.errors import NotPublishedError, PullError, WorkbenchError
from workbench.core.models import Place
from workbench.core.pulls import Offer, Offers, PulledBook, PullRequest, RepositoryHit
from workbench.core.secret import Secret
from workbench.gguf.header import Header
from workbench.gguf.names import parse_name
from workbench.library.huggingface import cache_folder
from workbench.library.links import Way, link_file
from workbench.library.ollama import PREFIX, OllamaName, ollama_stores
from workbench.library.places import Places
from workbench.library.pull.hub import HubClient, HubSettings, Location, Repository, hub_settings
from workbench.library.pull.memory import MemoryNow, VariantMemory, memory_of
from workbench.library.pull.part import TryLock
from workbench.library.pull.pull import Locate, Puller, PullResult, Report, write_errors
from workbench.library.pull.references import MAIN, HubRef, parse_pull_ref
from workbench.library.pull.registry import OllamaModelFiles, OllamaRegistry
from workbench.library.pull.repair import Repair, Repairer, file_in, origin_of, the_file
from workbench.library.pull.targets import FolderTarget, HubCacheTarget, Target
from workbench.library.pull.variants import RemoteFile, Variant, choose
from workbench.library.pull.verify import Verification, stated_digest, verify
from workbench.library.pull.web import Patience, Transport, Web

SEARCH_LIMIT = 20
OnStart = Callable[[str, Sequence[RemoteFile]], object]
"""Called with the name of a model and its files, before the first is fetched."""


@dataclass(frozen=True, slots=True)
class Asking:
    """The registries, while they are asked."""

    web: Web
    hub: HubClient
    ollama: OllamaRegistry

    def at_hub(self, repository: Repository) -> Locate:
        """Where the files of a repository are."""

        async def locate(file: RemoteFile) -> Location:
            return await self.hub.locate(repository, file)

        return locate

    def at_ollama(self, name: OllamaName) -> Locate:
        """Where the files of a model of Ollama's registry are."""

        async def locate(file: RemoteFile) -> Location:
            return await self.ollama.locate(name, file)

        return locate


@dataclass(frozen=True, slots=True)
class PullService:
    """Searches, lists and pulls."""

    places: Places
    """Where the caches and stores of this user are."""
    models_dir: Path
    """The folder for models of Ollama's registry."""
    try_lock: TryLock
    open_transport: Callable[[], Transport]
    memory: Callable[[], Awaitable[MemoryNow]]
    book: PulledBook
    token: Secret | None = None
    """The token of the config; those of the environment come first."""
    patience: Patience | None = None

    def settings(self) -> HubSettings:
        """What the environment says about the Hub; raises a ParameterError where it is wrong."""
        return hub_settings(self.places.environ, self.places.home, self.token)

    def parse(self, ref: str) -> HubRef | OllamaName:
        """Parse a reference; raises a ParameterError where it is none."""
        return parse_pull_ref(ref, self.settings().host)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Asking]:
        """Ask registries inside the `async with` block."""
        web = Web(self.open_transport(), self.patience)
        try:
            yield Asking(web, HubClient(web, self.settings()), OllamaRegistry(web))
        finally:
            await web.transport.close()

    async def search(self, words: str, limit: int = SEARCH_LIMIT) -> Sequence[RepositoryHit]:
        """As `Pulls.search`."""
        async with self.asking() as asking:
            return await asking.hub.search(words, limit)

    async def offers(self, ref: str) -> Offers:
        """As `Pulls.offers`."""
        parsed = self.parse(ref)
        async with self.asking() as asking:
            if isinstance(parsed, OllamaName):
                return await self._offer_of_ollama(asking, parsed)
            repository = await asking.hub.repository(parsed)
            variants = repository.variants
            name = f"hf.co/{repository.name}"
            meant = choose(variants, parsed.path or parsed.quant, name)
            known = choose(variants, "", name)
            header = await _header(self._puller(asking), asking.at_hub(repository), known.files[0])
        target = self._cache(repository)
        found = memory_of(variants, known, header, await self.memory())
        offers = [
            _offer(_ref_of(repository, variant, variants), variant, memory, all(map(target.has, variant.files)))
            for variant, memory in zip(variants, found, strict=True)
        ]
        return Offers(repository.name, tuple(offers), variants.index(meant), known.label if header else "")

    async def _offer_of_ollama(self, asking: Asking, name: OllamaName) -> Offers:
        model = await asking.ollama.model(name)
        weights = model.files[0]
        projector = next((file for file in model.files if file.name.startswith("mmproj")), None)
        variant = Variant(parse_name(weights.name).quant or name.tag, (weights,), projector)
        header = await _header(self._puller(asking), asking.at_ollama(name), weights)
        (memory,) = memory_of([variant], variant, header, await self.memory())
        is_here = all(map(FolderTarget(self.models_dir / model.folder).has, model.files))
        offer = _offer(f"{PREFIX}{name}", variant, memory, is_here)
        return Offers(str(name), (offer,), 0, variant.label if header else "")

    async def pull(
        self, request: PullRequest, report: Report, on_start: OnStart = lambda _name, _files: None
    ) -> PullResult:
        """Fetch a model to its place.

        Raises:
            WorkbenchError: It cannot be fetched; what is there stays.
        """
        parsed = self.parse(request.ref)
        into = Path(request.into) if request.into else None
        async with self.asking() as asking:
            if isinstance(parsed, OllamaName):
                return await self._pull_from_ollama(asking, parsed, into, report, on_start)
            repository = await asking.hub.repository(parsed)
            variant = choose(repository.variants, parsed.path or parsed.quant, f"hf.co/{repository.name}")
            projector = variant.projector if request.mmproj else None
            files = [*variant.files, *([projector] if projector else [])]
            on_start(f"{repository.name} {variant.label}", files)
            target: Target = FolderTarget(into) if into else self._cache(repository)
            result = await self._puller(asking).pull(files, target, asking.at_hub(repository), report)
        self._remember(result, f"hf.co/{repository.name}")
        return result

    def _remember(self, result: PullResult, source: str) -> None:
        # A link into a store names the digest itself. That a full disk keeps no digest leaves the model whole.
        with suppress(OSError):
            self.book.remember({path: each for path, each in result.sha256.items() if not path.is_symlink()}, source)
        self.book.keep_pieces(result.pieces)

    def _cache(self, repository: Repository) -> HubCacheTarget:
        return HubCacheTarget(cache_folder(self.places), repository, self.try_lock)

    async def _pull_from_ollama(
        self, asking: Asking, name: OllamaName, into: Path | None, report: Report, on_start: OnStart
    ) -> PullResult:
        model = await asking.ollama.model(name)
        on_start(str(name), model.files)
        folder = into or self.models_dir / model.folder
        result = await self._puller(asking).pull(model.files, FolderTarget(folder), asking.at_ollama(name), report)
        self._remember(result, f"{PREFIX}{name}")
        return replace(result, modelfile=_write_modelfile(model, folder))

    async def adopt(self, path: Path, sha256: str, repository: str) -> tuple[Path, Way]:
        """Link a file of this machine into Hugging Face's cache; gives the link there, and how it shares its space.

        Raises:
            WorkbenchError: The repository has no such file, or it cannot be linked.
        """
        ref = HubRef(repository)
        async with self.asking() as asking:
            found = await asking.hub.repository(ref)
        file, target = file_in(found, ref, path.name, sha256), self._cache(found)
        with write_errors(target.folder):
            target.prepare()
            beside = target.part(file).with_suffix(".workbench-link")
            beside.unlink(missing_ok=True)
            way = link_file(path, beside)
            target.publish(file, beside)
            target.finish()
        return target.path(file), way

    def verify(self, path: Path, on_bytes: Callable[[int], object]) -> Verification:
        """As the function of this name, with what its store states, or what it was when it was fetched.

        It reads the whole file: for a thread.
        """
        known = self.book.of(path)
        expected = stated_digest(path) or (known.sha256 if known else None)
        found = verify(path, expected, self.book.pieces(expected) if expected else b"", on_bytes)
        if found.ok and expected is not None:
            self.book.keep_pieces({expected: found.pieces})
        return found

    async def repair(self, damaged: Verification, places: Sequence[Place], source: str, report: Report) -> Repair:
        """Repair a file from where it came, or from the reference `source`.

        Raises:
            WorkbenchError: It cannot be repaired. It is not worse than before.
        """
        path, digest = damaged.path, damaged.expected
        if damaged.sha256 == digest:
            raise PullError(
                f"{path} is as its registry has it: the values that are wrong were published so.",
                "Take another quantization, or another repository.",
            )
        known = self.book.of(path)
        source = source or (known.source if known else "")
        origin = self.parse(source) if source else origin_of(path, places)
        if origin is None:
            raise NotPublishedError(f"Nothing says where {path} came from.", "Name the repository: --from REF")
        async with self.asking() as asking:
            if isinstance(origin, OllamaName):
                files = (await asking.ollama.model(origin)).files
                same = [file for file in files if file.digest == digest] or files[:1]
                file, locate = the_file(same, str(origin), path.name, digest), asking.at_ollama(origin)
            else:
                repository = await asking.hub.repository(origin)
                file, locate = file_in(repository, origin, path.name, digest), asking.at_hub(repository)
            repairer = Repairer(asking.web, self.try_lock, path, file, locate, report)
            done, pieces = await repairer.run(self.book.pieces(file.digest))
        self.book.keep_pieces({file.digest: pieces})
        return done

    def _puller(self, asking: Asking) -> Puller:
        return Puller(asking.web, self.try_lock, copies_of=self.copies_of)

    def copies_of(self, digest: str) -> Iterator[Path]:
        """Whole files of other programs that have a SHA-256, by the names in their stores."""
        for store in ollama_stores(self.places):
            if (blob := store / "blobs" / f"sha256-{digest}").is_file():
                yield blob
        cache = cache_folder(self.places)
        if len(digest) == 64 and cache.is_dir():
            yield from (path.resolve() for path in cache.glob(f"models--*/blobs/{digest}") if path.is_file())


async def _header(puller: Puller, locate: Locate, file: RemoteFile) -> Header | None:
    """The header of a file that is not here; None where it cannot be read."""
    try:
        return await puller.header(locate, file)
    except WorkbenchError:
        return None


def _offer(ref: str, variant: Variant, memory: VariantMemory, is_here: bool) -> Offer:
    return Offer(
        ref=ref,
        quant=variant.label,
        size_bytes=variant.size,
        files=tuple(file.path for file in variant.files),
        fits=memory.fits,
        needed_bytes=memory.needed_bytes,
        bits_per_weight=memory.bits_per_weight,
        mmproj=variant.projector.path if variant.projector else None,
        mmproj_bytes=variant.projector.size if variant.projector else 0,
        largest_ctx=memory.largest_ctx,
        estimated=memory.estimated,
        is_here=is_here,
    )


def _ref_of(repository: Repository, variant: Variant, variants: Sequence[Variant]) -> str:
    """The reference that means one quantization of a repository, and no other."""
    first = variant.files[0].path
    if repository.revision != MAIN:
        return f"https://huggingface.co/{repository.name}/blob/{quote(repository.revision)}/{quote(first)}"
    is_unique = sum(each.label.casefold() == variant.label.casefold() for each in variants) == 1
    return f"hf.co/{repository.name}:{variant.label if is_unique else first}"


def _write_modelfile(model: OllamaModelFiles, folder: Path) -> Path | None:
    """Write what a model of Ollama has beside its weights; None where that is nothing."""
    text = model.modelfile()
    if not text:
        return None
    path = folder / "Modelfile"
    with write_errors(path):
        path.write_text(text, encoding="utf-8")
    return path
