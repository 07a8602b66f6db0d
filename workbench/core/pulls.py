"""Fetching models from registries: what they offer, a pull and its progress, and the ports of the screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from workbench.core.cancel import CancelToken


@dataclass(frozen=True, slots=True)
class RepositoryHit:
    """A repository that a search found."""

    repository: str
    downloads: int
    likes: int
    updated: str
    """The date of its last change, such as `2026-10-01`; empty where it is unknown."""
    gated: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """A quantization that a registry has, and whether it fits in the memory that is free now."""

    ref: str
    """The reference that pulls it."""
    quant: str
    size_bytes: int
    """Of the model, without the picture encoder."""
    files: tuple[str, ...]
    """All parts of the model."""
    fits: bool
    needed_bytes: int
    bits_per_weight: float | None = None
    mmproj: str | None = None
    """The picture encoder that is fetched with it."""
    mmproj_bytes: int = 0
    largest_ctx: int | None = None
    """The longest context that fits, in tokens; None where it is unknown."""
    estimated: bool = True
    """Whether the memory is scaled by size, from the header of another file or from the size alone."""
    is_here: bool = False
    """Whether it was fetched already."""


@dataclass(frozen=True, slots=True)
class Offers:
    """What a reference offers."""

    name: str
    """The repository, or the model of Ollama's registry."""
    offers: tuple[Offer, ...]
    """Smallest first."""
    chosen: int
    """The index of the one that the reference means."""
    header_of: str = ""
    """The quantization whose header was read; empty where none could be."""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A model that is to be fetched."""

    ref: str
    label: str
    """Its name for people."""
    size_bytes: int = 0
    """Of all its files; 0 where it is unknown."""
    into: str = ""
    """A folder; empty for the usual place."""
    mmproj: bool = True
    """Whether the picture encoder is fetched too."""


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull is."""

    file: str
    done_bytes: int
    total_bytes: int
    checked_bytes: int
    """How far the digest of this file is."""
    rate: float | None
    """Bytes per second in the last seconds; None where it is not known yet."""
    seconds_left: float | None

    @property
    def fraction(self) -> float:
        """The share that is done, from 0 to 1."""
        return self.done_bytes / self.total_bytes if self.total_bytes else 1.0


@dataclass(frozen=True, slots=True)
class FileCheck:
    """Whether the files of a model are what they should be."""

    ok: bool
    lines: tuple[str, ...]
    """What was found and repaired, in sentences."""


class Pulls(Protocol):
    """Asks registries, and fetches models."""

    async def search(self, words: str) -> Sequence[RepositoryHit]:
        """The repositories of Hugging Face with GGUF files whose names contain `words`, the most downloaded first.

        Raises:
            WorkbenchError: Hugging Face cannot be asked.
        """

    async def offers(self, ref: str) -> Offers:
        """The quantizations of a repository, or the model of Ollama's registry.

        Raises:
            ParameterError: It is no reference to a registry.
            WorkbenchError: The registry cannot be asked, or does not have it.
        """

    async def fetch(
        self, request: PullRequest, on_progress: Callable[[PullProgress], object], cancel: CancelToken
    ) -> str:
        """Fetch a model; gives the path to open. What was fetched is kept, and continued the next time.

        Raises:
            WorkbenchError: It cannot be fetched; CancelledError when `cancel` was set.
        """

    async def verify(
        self, ref: str, on_progress: Callable[[PullProgress], object], cancel: CancelToken, *, repair: bool
    ) -> FileCheck:
        """Check the files of a model of the library; with `repair`, fetch what is wrong.

        Raises:
            WorkbenchError: They cannot be read, or not repaired; CancelledError when `cancel` was set.
        """


@dataclass(frozen=True, slots=True)
class PulledFile:
    """A file that was fetched to a folder, whose name does not state its digest."""

    sha256: str
    source: str = ""
    """The reference that it came from."""


class PulledBook(Protocol):
    """Keeps what is known about fetched files."""

    def of(self, file: Path) -> PulledFile | None:
        """What a file was when it was fetched; None where that is not known."""

    def remember(self, digests: Mapping[Path, str], source: str) -> None:
        """Keep the SHA-256 of files that came from `source`; raises an OSError where that is not possible."""

    def pieces(self, sha256: str) -> bytes:
        """The digests of the beginnings of a file, 32 bytes each (`Download.pieces`); empty where none were kept."""

    def keep_pieces(self, pieces: Mapping[str, bytes]) -> None:
        """Keep those of files, by the SHA-256 of each. That it fails is no error: they only help."""


class PullBook(Protocol):
    """Keeps the queue of this program on disk, and has those of programs that have ended."""

    def keep(self, requests: Sequence[PullRequest]) -> None:
        """Keep the pulls of this program that are not done. A full disk is not an error."""

    def take_over(self) -> Sequence[PullRequest]:
        """Give the pulls that programs left when they ended, which are from now on those of this program."""
