"""Whether a file is what it should be: its digest, the extent of its tensors, and the scales of its blocks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from workbench.core.errors import ModelFileError
from workbench.core.units import size_text
from workbench.gguf.reader import read_header
from workbench.gguf.scales import not_finite
from workbench.library.pull import download
from workbench.library.pull.download import new_digest
from workbench.library.pull.variants import RemoteFile

_STEP = 8 * 2**20
_DIGEST_BYTES = 32
_NAMES = re.compile(r"(?:sha256[-:])?([0-9a-f]{64})")
"""The names of blobs, by which the stores of Hugging Face and Ollama state the digest."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found out about one file."""

    path: Path
    sha256: str
    expected: str | None
    """None where nothing states it."""
    problems: tuple[str, ...]
    """Each a clause."""
    pieces: bytes = field(repr=False)
    """As `Download.pieces`."""
    repaired_bytes: int = 0
    """Bytes that were fetched to repair it."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with it, as far as is known."""
        return not self.problems


def stated_digest(path: Path) -> str | None:
    """The SHA-256 that the store of a file states by a name; None where it states none.

    In Hugging Face's cache it is the name that the first link has: where programs share blobs, that is a link too.
    """
    name = path.readlink().name if path.is_symlink() else path.name
    found = _NAMES.fullmatch(name)
    return found[1] if found else None


def verify(path: Path, expected: str | None, known_pieces: bytes, on_bytes: Callable[[int], object]) -> Verification:
    """Read a file, and check it; `on_bytes` is called with the bytes of each step, and may raise to stop.

    `known_pieces` are those of the file as it should be, or empty.

    Raises:
        ModelFileError: It cannot be read.
    """
    problems: list[str] = []
    digest, pieces, length = hashlib.sha256(), bytearray(), 0
    try:
        with path.open("rb") as file:
            while data := file.read(min(_STEP, download.PIECE - length % download.PIECE)):
                digest.update(data)
                length += len(data)
                if length % download.PIECE == 0:
                    pieces += digest.copy().digest()
                on_bytes(len(data))
        found = digest.hexdigest()
        if expected is not None and found != expected:
            where = _first_difference(known_pieces, bytes(pieces)) if known_pieces else ""
            problems.append(f"its SHA-256 should be {expected[:12]}…, and is {found[:12]}…{where}")
        try:
            problems += not_finite(read_header(path), lambda _: on_bytes(0))
        except ModelFileError as error:
            problems.append(error.message.removeprefix(f"{path}: ").rstrip("."))
    except OSError as error:
        raise ModelFileError(f"{path}: it cannot be read: {error.strerror or error}.") from error
    return Verification(path, found, expected, tuple(problems), bytes(pieces))


def _first_difference(known: bytes, found: bytes) -> str:
    """In which part of a file the damage begins."""
    starts = range(0, min(len(known), len(found)), _DIGEST_BYTES)
    wrong = (start for start in starts if known[start : start + _DIGEST_BYTES] != found[start : start + _DIGEST_BYTES])
    begin = next(wrong, len(starts) * _DIGEST_BYTES) // _DIGEST_BYTES * download.PIECE
    return f" (the first difference is in the {size_text(download.PIECE)} after byte {begin:,})"


def digest_of(path: Path, file: RemoteFile) -> str:
    """The digest of the file `path`, in the form of that of `file`; raises an OSError where it cannot be read."""
    digest = new_digest(file)
    with path.open("rb") as opened:
        while data := opened.read(_STEP):
            digest.update(data)
    return digest.hexdigest()
