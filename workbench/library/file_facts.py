"""Facts from the headers of model files, cached for as long as a file is unchanged."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from threading import Lock
from typing import Any

from workbench.core.errors import ModelFileError
from workbench.core.json_reader import read_json
from workbench.gguf.cursor import KnownStrings, open_regular
from workbench.gguf.header import Header
from workbench.gguf.kinds import why_no_text, why_not_loadable
from workbench.gguf.model import ModelFacts, describe, get_text
from workbench.gguf.reader import read_header
from workbench.gguf.types import TENSOR_TYPES_BY_NAME
from workbench.library.folders import ModelFile, reason
from workbench.library.groups import Identity
from workbench.library.labels import Mix, mix_of

log = logging.getLogger(__name__)

VERSION = 4
"""Version of the cache file; one of another version counts as empty."""
KEPT = 20_000
"""Files that the cache holds at most."""
SAMPLES, SAMPLE_BYTES = 16, 4096
"""Number and size of the samples that distinguish files of the same size with the same header."""

Stamp = list[list[str | int]]
"""For each part: path, time of the last change in nanoseconds, and size in bytes."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """The facts that the library needs of a model file. Those that it does not state are None or empty."""

    problem: str = ""
    """Why it cannot be opened."""
    identity: Identity = field(default_factory=Identity)
    label: str | None = None
    """The quantization by its own label."""
    main_type: str | None = None
    """The tensor type that holds most bytes."""
    parameters: int | None = None
    bits_per_weight: float | None = None
    context_length: int | None = None
    mix: Mix = ()
    """Its matrices by type."""
    header_hash: str = ""
    """Equal for files with the same metadata and tensors; long arrays are not included."""


_FIELDS = frozenset(each.name for each in fields(FileFacts))
_IDENTITY_FIELDS = frozenset(each.name for each in fields(Identity))


def read_facts(file: ModelFile, known: KnownStrings) -> FileFacts:
    """Read the headers of `file`. A file that cannot be read has a `problem`."""
    try:
        first, *others = (read_header(path, known=known) for path in file.paths)
        return _facts(first, others)
    except ModelFileError as error:
        return FileFacts(problem=str(error).removeprefix(f"{file.path}: "))
    except Exception as error:
        log.exception("%s cannot be read", file.path)
        return FileFacts(problem=reason(error))


def _facts(first: Header, others: Sequence[Header]) -> FileFacts:
    facts = describe(first, others)
    return FileFacts(
        problem=_why_no_model((first, *others), facts),
        identity=_identity(first, facts),
        label=facts.label,
        main_type=facts.main_type,
        parameters=facts.parameters or None,
        bits_per_weight=facts.bits_per_weight,
        context_length=facts.context_length,
        mix=mix_of(tensor for header in (first, *others) for tensor in header.tensors),
        header_hash=_hash(first, others),
    )


def _why_no_model(headers: Sequence[Header], facts: ModelFacts) -> str:
    """Why a sound file cannot be opened; empty for a model that writes text."""
    metadata = headers[0].metadata
    obstacle = why_not_loadable(metadata, (tensor for header in headers for tensor in header.tensors))
    if obstacle := obstacle or why_no_text(metadata):
        return str(obstacle)
    return "" if facts.parameters else "it has no weights, only a vocabulary."


def _identity(header: Header, facts: ModelFacts) -> Identity:
    keys = ("basename", "size_label", "finetune", "version", "organization")
    texts = {key: get_text(header.metadata, f"general.{key}") or "" for key in keys}
    numbers = (facts.block_count, facts.embedding_length, facts.feed_forward_length, facts.expert_count)
    shape = tuple(number or 0 for number in numbers) if any(numbers) else ()
    return Identity(architecture=facts.architecture or "", name=facts.name or "", shape=shape, **texts)


def _hash(first: Header, others: Sequence[Header]) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for key, value in first.metadata.items():
        if isinstance(value, bool | int | float | str):
            digest.update(f"{key}={value}\n".encode("utf-8", "replace"))
    for header in (first, *others):
        for tensor in header.tensors:
            line = f"{tensor.name} {tensor.type.name} {tensor.shape} {tensor.offset}\n"
            digest.update(line.encode("utf-8", "replace"))
    return digest.hexdigest()


def sample_hash(file: ModelFile) -> str:
    """A hash of samples from all over `file`, which almost always distinguishes two files; empty if it is unreadable.

    Models that were fine-tuned from one base have the same size and may have the same header.
    """
    digest = hashlib.blake2b(digest_size=12)
    try:
        for path in file.paths:
            with open_regular(path) as (descriptor, size):
                digest.update(size.to_bytes(8, "little"))
                for number in range(SAMPLES):
                    place = max(0, size - SAMPLE_BYTES) * number // (SAMPLES - 1)
                    os.lseek(descriptor, place, os.SEEK_SET)
                    digest.update(os.read(descriptor, SAMPLE_BYTES))
    except (ModelFileError, OSError):
        return ""
    return digest.hexdigest()


class FileFactsCache:
    """Reads model files and caches their facts, in memory and in the file `cache`, which need not exist.

    Thread-safe, and several programs may share one cache file: what one of them drops is read again. A damaged cache
    file counts as empty, and a failure to write it is only logged.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._lock = Lock()
        self._known = KnownStrings()
        self._rows: dict[str, Any] | None = None
        """The rows of the cache file; a row is parsed when it is first requested."""
        self._facts: dict[str, tuple[Stamp, FileFacts]] = {}
        self._samples: dict[str, tuple[Stamp, str]] = {}
        self._changed: set[str] = set()

    def get(self, file: ModelFile) -> FileFacts | None:
        """The cached facts of `file`; None where there are none, or where it has changed since."""
        path, stamp = str(file.path), _stamp(file)
        with self._lock:
            found = self._facts.get(path) or self._from_row(path)
        return found[1] if found is not None and found[0] == stamp else None

    def read(self, file: ModelFile, reader: Callable[[ModelFile], FileFacts | None] | None = None) -> FileFacts:
        """The facts of `file`, from the cache, from `reader`, or where that has none, from its headers."""
        if (found := self.get(file)) is not None:
            return found
        # Stamped before facts: a file that grows meanwhile is read again the next time.
        path, stamp = str(file.path), _stamp(file)
        facts = (reader(file) if reader is not None else None) or read_facts(file, self._known)
        # A problem such as missing permissions may end without a change of the file.
        if not facts.problem:
            with self._lock:
                self._facts[path] = stamp, facts
                self._changed.add(path)
        return facts

    def sample(self, file: ModelFile) -> str:
        """As `sample_hash`, cached."""
        path, stamp = str(file.path), _stamp(file)
        with self._lock:
            self._from_row(path)
            found = self._samples.get(path)
        if found is not None and found[0] == stamp:
            return found[1]
        text = sample_hash(file)
        with self._lock:
            self._samples[path] = stamp, text
            self._changed.add(path)
        return text

    def _from_row(self, path: str) -> tuple[Stamp, FileFacts] | None:
        if self._rows is None:
            self._rows = _load(self._cache) if self._cache is not None else {}
        row = self._rows.pop(path, None)
        if row is None:
            return None
        try:
            stamp, facts, text = row["stamp"], _facts_of_row(row["reading"]), row["sample"]
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            return None
        if isinstance(text, str) and text:
            self._samples.setdefault(path, (stamp, text))
        return self._facts.setdefault(path, (stamp, facts))

    def save(self) -> None:
        """Write new facts to the cache file, and release memory that only a search needs."""
        with self._lock:
            self._known = KnownStrings()
            if self._cache is None or not self._changed:
                return
            new = {path: self._row(path) for path in self._changed if path in self._facts}
            self._changed.clear()
        # Another program may have written since: its rows are kept, and the newest are last.
        rows = {path: row for path, row in _load(self._cache).items() if path not in new} | new
        content = {"version": VERSION, "files": dict(list(rows.items())[-KEPT:])}
        temporary = self._cache.with_name(f".{self._cache.name}.{secrets.token_hex(4)}")
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
            temporary.replace(self._cache)
        except OSError as error:
            log.warning("%s: the cache of model files cannot be written: %s", self._cache, error)
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _row(self, path: str) -> dict[str, Any]:
        stamp, facts = self._facts[path]
        sampled_at, text = self._samples.get(path, (stamp, ""))
        return {"stamp": stamp, "reading": asdict(facts), "sample": text if sampled_at == stamp else ""}


def _load(path: Path) -> dict[str, Any]:
    """The rows of a cache file; none where it is damaged."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s: the cache of model files cannot be read: %s", path, error)
        return {}
    if not isinstance(content, dict) or content.get("version") != VERSION:
        return {}
    files = content.get("files")
    return files if isinstance(files, dict) else {}


def _facts_of_row(row: dict[str, Any]) -> FileFacts:
    """Facts as they were written; raises a ValueError where a field is missing or has an impossible value."""
    facts = read_json(FileFacts, row)
    whole = row.keys() >= _FIELDS and row["identity"].keys() >= _IDENTITY_FIELDS
    if not whole or not all(name in TENSOR_TYPES_BY_NAME and min(numbers) > 0 for name, *numbers in facts.mix):
        raise ValueError(row)
    return facts


def _stamp(file: ModelFile) -> Stamp:
    stamps: Stamp = []
    for path in file.paths:
        changed_ns = size = 0
        with suppress(OSError, ValueError):
            status = os.stat(path)  # noqa: PTH116 - faster than Path.stat for a thousand files
            changed_ns, size = status.st_mtime_ns, status.st_size
        stamps.append([str(path), changed_ns, size])
    return stamps
