"""Where fetched files go: Hugging Face's cache, by its exact layout, or a folder.

The layout is that of huggingface_hub 2.4.0. A name without a suffix in `blobs/` means that the file is whole:
huggingface_hub and llama.cpp use it without a look. So it appears last, by a rename.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from workbench.core.errors import BeingPulledError
from workbench.library.pull.hub import Repository
from workbench.library.pull.part import PartFile, TryLock, part_path
from workbench.library.pull.references import MAIN
from workbench.library.pull.variants import RemoteFile

_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This file is a cache directory tag created by huggingface_hub.\n"
    "# For information about cache directory tags, see:\n"
    "#\thttps://bford.info/cachedir/\n"
)
_COMMIT_LENGTH = 40


class Target(Protocol):
    """A place for the files of a model."""

    @property
    def folder(self) -> Path:
        """The folder on whose disk they are stored."""

    def prepare(self) -> None:
        """Make the folders; raises an OSError where that is not possible."""

    def path(self, file: RemoteFile) -> Path:
        """Where a file is opened, once it is whole."""

    def part(self, file: RemoteFile) -> Path:
        """Where it is while it is fetched."""

    def has(self, file: RemoteFile) -> bool:
        """Whether it is there and whole."""

    def guard(self, file: RemoteFile) -> AbstractContextManager[None]:
        """Keeps other programs from fetching it inside the `with` block; raises a BeingPulledError if one does."""

    def publish(self, file: RemoteFile, part: PartFile | Path | None) -> None:
        """Let a whole file appear: `part`, or a file beside it; None where it was there already."""

    def finish(self) -> None:
        """All files have appeared."""


@dataclass(frozen=True)
class FolderTarget:
    """A folder, in which a file has its own name."""

    folder: Path

    def prepare(self) -> None:
        """Make the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, file: RemoteFile) -> Path:
        """Its path."""
        return self.folder / file.name

    def part(self, file: RemoteFile) -> Path:
        """The unfinished file beside it."""
        return part_path(self.folder, file.name)

    def has(self, file: RemoteFile) -> bool:
        """Whether there is a file of its name; it may be another one."""
        return self.path(file).exists()

    @contextmanager
    def guard(self, file: RemoteFile) -> Iterator[None]:
        """Nothing: the unfinished file itself is locked."""
        del file
        yield

    def publish(self, file: RemoteFile, part: PartFile | Path | None) -> None:
        """Rename it."""
        _name(part, self.path(file))

    def finish(self) -> None:
        """Nothing."""


class HubCacheTarget:
    """The folder of a repository in Hugging Face's cache `root`."""

    def __init__(self, root: Path, repository: Repository, try_lock: TryLock) -> None:
        self._root = root
        self._repository = repository
        self._try_lock = try_lock
        name = f"models--{repository.name.replace('/', '--')}"
        self.folder = root / name
        self._locks = root / ".locks" / name
        self._blobs = self.folder / "blobs"
        self._snapshot = self.folder / "snapshots" / repository.commit

    def prepare(self) -> None:
        """Make the folders."""
        is_new = not self._root.exists()
        for folder in (self._blobs, self._snapshot, self._locks):
            folder.mkdir(parents=True, exist_ok=True)
        if is_new:
            (self._root / "CACHEDIR.TAG").write_text(_TAG, encoding="utf-8")

    def path(self, file: RemoteFile) -> Path:
        """The link in the snapshot."""
        return self._snapshot / file.path

    def part(self, file: RemoteFile) -> Path:
        """Beside the blob, under a suffix that no other program appends to."""
        return part_path(self._blobs, file.digest)

    def has(self, file: RemoteFile) -> bool:
        """Whether the blob, or a real file where links are not possible, has its size."""
        for path in (self._blobs / file.digest, self.path(file)):
            with suppress(OSError):
                if path.stat().st_size == file.size:
                    return True
        return False

    @contextmanager
    def guard(self, file: RemoteFile) -> Iterator[None]:
        """Hold the lock of huggingface_hub."""
        descriptor = os.open(self._locks / f"{file.digest}.lock", os.O_RDWR | os.O_CREAT, 0o664)
        try:
            if not self._try_lock(descriptor):
                raise BeingPulledError(
                    f"Another program fetches {file.path} at this moment.",
                    "Wait until it is done, or stop it: what it has fetched is kept.",
                )
            yield
        finally:
            os.close(descriptor)

    def publish(self, file: RemoteFile, part: PartFile | Path | None) -> None:
        """Name the blob, then link it."""
        _name(part, self._blobs / file.digest)
        self._link(file)

    def _link(self, file: RemoteFile) -> None:
        link, blob = self.path(file), self._blobs / file.digest
        if not blob.exists():
            return
        link.parent.mkdir(parents=True, exist_ok=True)
        depth = len(PurePosixPath(file.path).parts) + 1
        goal = Path(*[os.pardir] * depth, "blobs", file.digest)
        if link.is_symlink() and link.readlink() == goal:
            return
        temporary = link.with_name(f".workbench-{secrets.token_hex(4)}.tmp")
        try:
            temporary.symlink_to(goal)
            temporary.replace(link)
        except OSError:
            # Without the right to make links, as on Windows, the real file is in the snapshot.
            temporary.unlink(missing_ok=True)
            blob.replace(link)

    def finish(self) -> None:
        """Let the revision name this commit, in which every file that is here stays visible."""
        revision = self._repository.revision
        self._keep(self._repository.files)
        if len(revision) == _COMMIT_LENGTH and revision == self._repository.commit:
            # llama.cpp, offline, sees only what a reference names.
            revision = MAIN
            if (self.folder / "refs" / revision).exists():
                return
        reference = self.folder / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        temporary = reference.with_name(f".workbench-{secrets.token_hex(4)}.tmp")
        # Without a newline, which huggingface_hub would take for a part of the commit.
        temporary.write_text(self._repository.commit, encoding="ascii")
        temporary.replace(reference)

    def _keep(self, files: Sequence[RemoteFile]) -> None:
        """Link what an earlier commit brought, and this one has too."""
        for file in files:
            if (self._blobs / file.digest).exists():
                self._link(file)


def _name(part: PartFile | Path | None, path: Path) -> None:
    """Give a whole file its name."""
    if isinstance(part, PartFile):
        part.finish(path)
    elif part is not None:
        part.replace(path)
