"""What the library wants to know of a model file, read once for as long as the file stays as it is."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from workbench.core.errors import ModelFileError
from workbench.gguf.header import Header
from workbench.gguf.known import KnownStrings
from workbench.gguf.model import describe, get_text
from workbench.gguf.reader import read_header
from workbench.library.folders import ModelFile
from workbench.library.labels import Mix, mix_of

log = logging.getLogger(__name__)

VERSION = 1
"""Of the cache file. What another version wrote is read anew."""
KEPT = 20_000
"""So many files are remembered."""

Stamp = tuple[tuple[str, int, int], ...]
"""Of each part: path, time of the last change in nanoseconds, and size in bytes."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model file says of itself. What it does not say is None or empty."""

    problem: str = ""
    """Why it cannot be opened."""
    name: str | None = None
    quant: str | None = None
    """The quantization that it calls itself."""
    architecture: str | None = None
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
        name=facts.name,
        quant=facts.quant,
        architecture=facts.architecture,
        parameters=facts.parameters or None,
        bits_per_weight=facts.bits_per_weight,
        context_length=facts.context_length,
        mix=mix_of(tensor for header in (first, *others) for tensor in header.tensors),
        header_hash=_hash(first, others),
    )


def _hash(first: Header, others: list[Header]) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for key, value in first.metadata.items():
        if isinstance(value, bool | int | float | str):
            digest.update(f"{key}={value}\n".encode("utf-8", "replace"))
    digest.update((get_text(first.metadata, "tokenizer.chat_template") or "").encode("utf-8", "replace"))
    for header in (first, *others):
        for tensor in header.tensors:
            digest.update(f"{tensor.name} {tensor.type.name} {tensor.shape} {tensor.offset}\n".encode())
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
        self._readings: dict[str, tuple[Stamp, Reading]] | None = None
        self._changed = False

    def get(self, file: ModelFile) -> Reading | None:
        """What is remembered of `file`; None where nothing is, or where it has changed since."""
        stamp = _stamp(file)
        with self._lock:
            found = self._loaded().get(str(file.path))
        return found[1] if found is not None and found[0] == stamp else None

    def read(self, file: ModelFile) -> Reading:
        """What `file` says of itself."""
        if (found := self.get(file)) is not None:
            return found
        # The stamp of before: a file that grows while it is read is read again the next time.
        stamp = _stamp(file)
        reading = read(file, self._known)
        with self._lock:
            self._loaded()[str(file.path)] = stamp, reading
            self._changed = True
        return reading

    def save(self) -> None:
        """Write what is remembered to the cache file, where anything is new."""
        with self._lock:
            if self._cache is None or not self._changed:
                return
            self._changed = False
            newest = list(self._loaded().items())[-KEPT:]
        files = {path: {"stamp": stamp, **asdict(reading)} for path, (stamp, reading) in newest}
        temporary = self._cache.with_name(f".{self._cache.name}.{secrets.token_hex(4)}")
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps({"version": VERSION, "files": files}), encoding="utf-8")
            temporary.replace(self._cache)
        except (OSError, UnicodeEncodeError) as error:
            log.warning("%s: what is known of the model files is not kept: %s", self._cache, error)
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _loaded(self) -> dict[str, tuple[Stamp, Reading]]:
        if self._readings is None:
            self._readings = _load(self._cache) if self._cache is not None else {}
        return self._readings


def _load(path: Path) -> dict[str, tuple[Stamp, Reading]]:
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
    found = {}
    for name, item in files.items() if isinstance(files, dict) else ():
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            found[name] = _taken(item)
    return found


def _taken(item: Mapping[str, Any]) -> tuple[Stamp, Reading]:
    """A stamp and a reading as they were written."""
    values = dict(item)
    stamp = tuple((str(path), int(changed), int(size)) for path, changed, size in values.pop("stamp"))
    values["mix"] = tuple((str(name), int(block), int(elements)) for name, block, elements in values["mix"])
    reading = Reading(**values)
    texts = (reading.problem, reading.header_hash, reading.name or "", reading.quant or "", reading.architecture or "")
    numbers = (reading.parameters or 0, reading.bits_per_weight or 0, reading.context_length or 0)
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(n, int | float) for n in numbers):
        raise ValueError(item)
    return stamp, reading


def _stamp(file: ModelFile) -> Stamp:
    stamps = []
    for path in file.paths:
        try:
            status = os.stat(path)  # noqa: PTH116 - a thousand of them are asked for at once
        except (OSError, ValueError):
            stamps.append((str(path), 0, 0))
        else:
            stamps.append((str(path), status.st_mtime_ns, status.st_size))
    return tuple(stamps)
