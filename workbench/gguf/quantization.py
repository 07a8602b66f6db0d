"""Making a quantization in words and figures: what of what, what it will come to, how far it is, what came out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.gguf.targets import NOT_QUANTIZED, QuantType, TargetSize


@dataclass(frozen=True, slots=True)
class QuantizeJob:
    """What to make of what."""

    source: Path
    """The file of the source, or the first of its parts."""
    target: Path
    kind: QuantType
    imatrix: Path | None = None
    allow_requantize: bool = False
    """Whether a source that is quantized already will do."""
    threads: int = 0
    """Threads that compute; 0 is one for each physical core."""


@dataclass(frozen=True, slots=True)
class QuantizePlan:
    """What a quantization will come to, by llama.cpp's own dry run."""

    kind: QuantType
    size: TargetSize | None
    """None where it cannot be made."""
    problem: str = ""
    """Why it cannot be made of this source; empty where it can."""
    fallbacks: int = 0
    """Tensors whose rows do not fit the type, and which get a larger one."""
    needs_imatrix: bool = False
    """Whether it takes an importance matrix that was not given."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user ought to know before."""
        found = []
        if self.size is not None and self.size.requantized:
            found.append(
                f"{_tensors(self.size.requantized, 'is', 'are')} quantized already in the source; what that lost does "
                "not come back, and the result is worse than one made from F16, BF16 or F32."
            )
        if self.fallbacks:
            found.append(
                f"{_tensors(self.fallbacks, 'gets', 'get')} a larger type: {self.kind.name} does not fit their rows."
            )
        if self.needs_imatrix:
            found.append(f"{self.kind.name} needs an importance matrix (--imatrix).")
        return tuple(found)


def _tensors(count: int, one: str, many: str) -> str:
    return f"1 tensor {one}" if count == 1 else f"{count} tensors {many}"


@dataclass(frozen=True, slots=True)
class QuantizeProgress:
    """How far it has come."""

    done: int
    """Tensors that are finished."""
    total: int
    tensor: str
    """The one in work."""
    fraction: float
    """By the bytes of the source, from 0 to 1."""
    seconds: float
    total_bytes: int = 0
    """What there is to read of the source; 0 where that is not known."""

    @property
    def bytes_per_second(self) -> float | None:
        """How fast the source is worked through; None before the first tensor is finished."""
        done = self.fraction * self.total_bytes
        return done / self.seconds if done and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """How long it will go on at that speed."""
        speed = self.bytes_per_second
        return None if speed is None else (1 - self.fraction) * self.total_bytes / speed


@dataclass(frozen=True, slots=True)
class QuantizeResult:
    """A finished quantization."""

    path: Path
    kind: QuantType
    size_bytes: int
    bits_per_weight: float
    seconds: float
    """From the order to the file under its name, the dry run and the disk included."""
    native_seconds: float
    """What llama.cpp itself took."""
    warnings: tuple[str, ...]


ProgressListener = Callable[[QuantizeProgress], None]
"""Told how far it has come, some twenty times a second, in the event loop."""


_UNQUANTIZED_FIRST = ("F32", "BF16", "F16")
"""Sources that lose nothing, or next to nothing, the best first."""
_FOREIGN_FOLDERS = frozenset({"blobs", "snapshots", "site-packages", "dist-packages"})
"""Folders of the stores of other programs, and of Python packages."""


def is_quantized(quant: str | None) -> bool:
    """Whether a model of this label has lost precision already; one of an unknown label has not."""
    return quant is not None and quant not in NOT_QUANTIZED


def source_rank(quant: str | None) -> int:
    """How well a file of this label does as a source: the lower, the better."""
    if quant in _UNQUANTIZED_FIRST:
        return _UNQUANTIZED_FIRST.index(quant)
    return len(_UNQUANTIZED_FIRST) + is_quantized(quant)


def target_folder(source: Path, configured: Path | None, folders: Sequence[Path], fallback: Path) -> Path:
    """Where a quantization of `source` is written if nobody says where.

    Args:
        source: The file of the source.
        configured: The folder that the user wants all of them in.
        folders: The user's folders with models, of which the first that is there is taken for a source which lies in
            a Python package or in the store of another program.
        fallback: What is taken where none of them is there.
    """
    if configured is not None:
        return configured
    if is_own_folder(source):
        return source.absolute().parent
    return next((folder for folder in folders if folder.is_dir()), fallback)


def is_own_folder(source: Path) -> bool:
    """Whether files may be put beside `source`: not into a Python package, and not into a store of blobs."""
    # A model that a package brings may be linked to from elsewhere, and a store links its names to its blobs.
    for path in (source.absolute(), Path(os.path.realpath(source))):
        if _FOREIGN_FOLDERS & {part.casefold() for part in path.parts} or (path.parent / "__init__.py").exists():
            return False
    return True
