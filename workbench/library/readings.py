"""What the library wants to know of a model file, read once for as long as the file stays as it is."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from threading import Lock
from typing import Any

from workbench.core.errors import ModelFileError
from workbench.gguf.cursor import open_regular
from workbench.gguf.header import Header
from workbench.gguf.known import KnownStrings
from workbench.gguf.model import ModelFacts, describe, get_text
from workbench.gguf.reader import read_header
from workbench.gguf.types import TENSOR_TYPES_BY_NAME
from workbench.library.folders import ModelFile
from workbench.library.groups import Identity, shape_of
from workbench.library.labels import Mix, mix_of

log = logging.getLogger(__name__)

VERSION = 2
"""Of the cache file. What another version wrote is read anew."""
KEPT = 20_000
"""So many files are remembered."""
SAMPLES, SAMPLE_BYTES = 16, 4096
"""How much of a file is looked at to tell it from another of the same size with the same header."""

Stamp = list[list[str | int]]
"""Of each part: path, time of the last change in nanoseconds, and size in bytes."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model file says of itself. What it does not say is None or empty."""

    problem: str = ""
    """Why it cannot be opened."""
    identity: Identity = field(default_factory=Identity)
    label: str | None = None
    """The quantization that it calls itself."""
    main_type: str | None = None
    """The tensor type that holds most bytes."""
    parameters: int | None = None
    bits_per_weight: float | None = None
    context_length: int | None = None
    mix: Mix = ()
    """Its matrices by type."""
    header_hash: str = ""
    """The same for files with the same metadata and tensors; the long arrays are not in it."""


def read(file: ModelFile, known: KnownStrings) -> Reading:
    """Read the headers of `file`; what is wrong with it is part of what is told."""
    try:
        first, *others = (read_header(path, known=known) for path in file.paths)
        facts = describe(first, others)
    except ModelFileError as error:
        return Reading(problem=str(error).removeprefix(f"{file.path}: "))
    return Reading(
        problem=_why_no_model(first, facts),
        identity=_identity(first, facts),
        label=facts.label,
        main_type=facts.main_type,
        parameters=facts.parameters or None,
        bits_per_weight=facts.bits_per_weight,
        context_length=facts.context_length,
        mix=mix_of(tensor for header in (first, *others) for tensor in header.tensors),
        header_hash=_hash(first, others),
    )


_OTHER_KINDS = {
    "adapter": "this is a LoRA adapter, not a model.",
    "imatrix": "this is an importance matrix, not a model.",
    "mmproj": "this is the part of a model that sees or hears, not the model.",
    "clip-vision": "this is the part of a model that sees or hears, not the model.",
}
"""What `general.type` says of files that are none to talk to."""


def _why_no_model(header: Header, facts: ModelFacts) -> str:
    """What a sound file is that is no model; empty for a model."""
    kind = "mmproj" if facts.architecture == "clip" else get_text(header.metadata, "general.type") or "model"
    if kind in _OTHER_KINDS:
        return _OTHER_KINDS[kind]
    return "" if facts.parameters else "there are no weights in it, only a vocabulary."


def _identity(header: Header, facts: ModelFacts) -> Identity:
    def text(key: str) -> str:
        return get_text(header.metadata, f"general.{key}") or ""

    return Identity(
        architecture=facts.architecture or "",
        name=facts.name or "",
        basename=text("basename"),
        size_label=text("size_label"),
        finetune=text("finetune"),
        version=text("version"),
        organization=text("organization"),
        shape=shape_of((facts.block_count, facts.embedding_length, facts.feed_forward_length, facts.expert_count)),
    )


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


def sample(file: ModelFile) -> str:
    """A hash of some bytes all over `file`: hardly ever the same for two files that differ. Empty if it is unreadable.

    Models that were trained further from one base have the same size and may have the same header.
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


class Readings:
    """Reads model files, and remembers what was read, also from one program to the next.

    It may be used from several threads, and several programs may use one cache file at once: what one of them forgets
    is read again. A cache file that is damaged counts as empty, and one that cannot be written is only logged.

    Args:
        cache: The cache file; it need not be there. None remembers nothing beyond this object.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._lock = Lock()
        self._known = KnownStrings()
        self._rows: dict[str, Any] | None = None
        """What the cache file holds; a row is looked at when it is asked for."""
        self._readings: dict[str, tuple[Stamp, Reading]] = {}
        self._samples: dict[str, tuple[Stamp, str]] = {}
        self._changed: set[str] = set()

    def get(self, file: ModelFile) -> Reading | None:
        """What is remembered of `file`; None where nothing is, or where it has changed since."""
        path, stamp = str(file.path), _stamp(file)
        with self._lock:
            found = self._readings.get(path) or self._from_row(path)
        return found[1] if found is not None and found[0] == stamp else None

    def read(self, file: ModelFile) -> Reading:
        """What `file` says of itself."""
        if (found := self.get(file)) is not None:
            return found
        # The stamp of before: a file that grows while it is read is read again the next time.
        path, stamp = str(file.path), _stamp(file)
        reading = read(file, self._known)
        # What keeps a file from being read, such as its permissions, may end without a change of the file.
        if not reading.problem:
            with self._lock:
                self._readings[path] = stamp, reading
                self._changed.add(path)
        return reading

    def sample(self, file: ModelFile) -> str:
        """As the function `sample`, and remembered."""
        path, stamp = str(file.path), _stamp(file)
        with self._lock:
            self._from_row(path)
            found = self._samples.get(path)
        if found is not None and found[0] == stamp:
            return found[1]
        text = sample(file)
        with self._lock:
            self._samples[path] = stamp, text
            self._changed.add(path)
        return text

    def _from_row(self, path: str) -> tuple[Stamp, Reading] | None:
        if self._rows is None:
            self._rows = _load(self._cache) if self._cache is not None else {}
        row = self._rows.pop(path, None)
        if row is None:
            return None
        try:
            stamp, reading, text = row["stamp"], _reading(row["reading"]), row["sample"]
        except (KeyError, TypeError, ValueError):
            return None
        if isinstance(text, str) and text:
            self._samples.setdefault(path, (stamp, text))
        return self._readings.setdefault(path, (stamp, reading))

    def save(self) -> None:
        """Write what is remembered to the cache file, where anything is new, and give back what only a search needs."""
        with self._lock:
            self._known = KnownStrings()
            if self._cache is None or not self._changed:
                return
            new = {path: self._row(path) for path in self._changed if path in self._readings}
            self._changed.clear()
        # Another program may have written since: its rows are kept, and the newest stand last.
        rows = {path: row for path, row in _load(self._cache).items() if path not in new} | new
        content = {"version": VERSION, "files": dict(list(rows.items())[-KEPT:])}
        temporary = self._cache.with_name(f".{self._cache.name}.{secrets.token_hex(4)}")
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
            temporary.replace(self._cache)
        except OSError as error:
            log.warning("%s: what is known of the model files is not kept: %s", self._cache, error)
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _row(self, path: str) -> dict[str, Any]:
        stamp, reading = self._readings[path]
        sampled_at, text = self._samples.get(path, (stamp, ""))
        return {"stamp": stamp, "reading": asdict(reading), "sample": text if sampled_at == stamp else ""}


def _load(path: Path) -> dict[str, Any]:
    """The rows of a cache file, which may be damaged in any way."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s: the cache of the model files cannot be read: %s", path, error)
        return {}
    if not isinstance(content, dict) or content.get("version") != VERSION:
        return {}
    files = content.get("files")
    return files if isinstance(files, dict) else {}


_KINDS: dict[str, type | tuple[type, ...]] = {
    "problem": str, "label": (str, type(None)), "main_type": (str, type(None)), "parameters": (int, type(None)),
    "bits_per_weight": (int, float, type(None)), "context_length": (int, type(None)), "header_hash": str,
}  # fmt: skip
"""What a row holds beside the identity and the mix."""
_IDENTITY = {item.name for item in fields(Identity)} - {"shape"}


def _reading(row: dict[str, Any]) -> Reading:
    """A reading as it was written.

    Raises:
        KeyError: Something is missing.
        TypeError: Something is of another type.
        ValueError: Something cannot be.
    """
    values = {name: row[name] for name in _KINDS}
    texts = {name: row["identity"][name] for name in _IDENTITY}
    shape = tuple(row["identity"]["shape"])
    mix = tuple((name, block, elements) for name, block, elements in row["mix"])
    sound = (
        all(isinstance(values[name], kind) for name, kind in _KINDS.items())
        and all(isinstance(text, str) for text in texts.values())
        and all(isinstance(number, int) for number in shape)
        and all(name in TENSOR_TYPES_BY_NAME and _is_count(block) and _is_count(size) for name, block, size in mix)
    )
    if not sound:
        raise ValueError(row)
    return replace(Reading(**values), identity=Identity(**texts, shape=shape), mix=mix)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _stamp(file: ModelFile) -> Stamp:
    stamps: Stamp = []
    for path in file.paths:
        try:
            status = os.stat(path)  # noqa: PTH116 - a thousand of them are asked for at once
        except (OSError, ValueError):
            stamps.append([str(path), 0, 0])
        else:
            stamps.append([str(path), status.st_mtime_ns, status.st_size])
    return stamps
