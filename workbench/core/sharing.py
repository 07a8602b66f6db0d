"""Using one model file from several programs, joining copies, and deleting: the values and the port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from workbench.core.models import ModelEntry


@dataclass(frozen=True, slots=True)
class Destination:
    """A program, or a folder, that a model can be used from too."""

    program: str
    """As in `ModelEntry.source`, `own` for the models folder of this program, or the path of a folder."""
    title: str
    path: str = ""
    """Where its file will be; empty where it cannot be there."""
    problem: str = ""
    """Why it cannot be used from there; empty where it can."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What deleting a model does."""

    paths: tuple[str, ...]
    """The files that are deleted; empty where it cannot be deleted from here."""
    freed_bytes: int
    lines: tuple[str, ...]
    """Who loses it, where it stays, or why it cannot be deleted; a sentence each."""


@dataclass(frozen=True, slots=True)
class Joining:
    """Copies of one file that can be made to share their space."""

    keep: str
    paths: tuple[str, ...]
    """The copies that become links to it; empty where there are none."""
    freed_bytes: int
    lines: tuple[str, ...] = ()
    """Copies that cannot be joined, and why; a sentence each."""


class ModelSharing(Protocol):
    """Shares, joins and deletes the files of models. Every method reads or writes disks: for a thread."""

    def destinations(self, model: ModelEntry) -> Sequence[Destination]:
        """Where a model can be used from too."""

    def share(self, model: ModelEntry, program: str, name: str = "") -> Sequence[str]:
        """Let a model be used from there too, by a link: nothing is copied. Gives what was done, a sentence each.

        `name` is its name in Ollama, or its repository for the cache of Hugging Face, where it has none yet.

        Raises:
            WorkbenchError: It cannot be used from there.
        """

    def copies(self, model: ModelEntry) -> Joining:
        """The copies of a model on this machine, by what the library knows."""

    def join(self, joining: Joining) -> Sequence[str]:
        """Let the copies share their space, once they are proven equal. Gives what was done, a sentence each.

        Raises:
            WorkbenchError: They differ, or cannot be linked.
        """

    def removal(self, model: ModelEntry) -> Removal:
        """What deleting a model would do."""

    def remove(self, removal: Removal) -> None:
        """Delete the files; raises a TargetError where one cannot be deleted."""
