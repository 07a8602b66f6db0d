"""Values of a quantization: the job, its plan, its progress and its result; and where its file goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.gguf.targets import NOT_QUANTIZED, QuantType, TargetSize


@dataclass(frozen=True, slots=True)
class QuantizeJob:
    """A quantization to make."""

    source: Path
    """The file of the source, or the first of its parts."""
    target: Path
    kind: QuantType
    imatrix: Path | None = None
    allow_requantize: bool = False
    """Whether to accept a source that is already quantized."""
    threads: int = 0
    """Threads that compute; 0: one per physical core."""


@dataclass(frozen=True, slots=True)
class QuantizePlan:
    """The outcome of a quantization, predicted by llama.cpp's dry run."""

    kind: QuantType
    size: TargetSize | None
    """None where it cannot be made."""
    problem: str = ""
    """Why it cannot be made from this source; empty where it can."""
    fallbacks: int = 0
    """Tensors that get a larger type, because their rows do not fit this one."""
    needs_imatrix: bool = False
    """Whether it needs an importance matrix, and none was given."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the user, before it is made."""
        found = []
        if self.size is not None and self.size.requantized:
            found.append(
                f"{_tensors(self.size.requantized, 'is', 'are')} already quantized in the source; the lost precision "
                "does not come back, and the result is worse than one made from F16, BF16 or F32."
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
    """The progress of a quantization."""

    done: int
    """Finished tensors."""
    total: int
    tensor: str
    """The current tensor."""
    fraction: float
    """Share of the source that is done, by bytes, from 0 to 1."""
    seconds: float
    total_bytes: int = 0
    """Bytes of the source; 0 where unknown."""

    @property
    def bytes_per_second(self) -> float | None:
        """Bytes of the source per second; None before the first tensor is finished."""
        done = self.fraction * self.total_bytes
        return done / self.seconds if done and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """The remaining time at that speed, in seconds."""
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
    """Total time until the file has its final name, including the dry run and the disk."""
    native_seconds: float
    """The time of llama.cpp alone."""
    warnings: tuple[str, ...]


WEIGHTS_PER_SECOND = 40_000_000
"""Weights that a core quantizes in a second, rather low: Q8_0 80 and Q4_K_M 50 million, in docs/performance.md."""


def rough_seconds(weights: int | None, cores: int) -> float | None:
    """The time of a quantization, roughly, before it has begun; None where the number of weights is unknown."""
    return None if weights is None else 1.0 + weights / (WEIGHTS_PER_SECOND * max(1, cores))


PlanListener = Callable[[QuantizePlan], None]
"""Receives each plan as it is made, in the event loop."""

ProgressListener = Callable[[QuantizeProgress], None]
"""Receives the progress about twenty times a second, in the event loop."""


_UNQUANTIZED_FIRST = ("F32", "BF16", "F16")
"""Source types with no or hardly any loss, the best first."""
_FOREIGN_FOLDERS = frozenset({"blobs", "snapshots", "site-packages", "dist-packages"})
"""Folders of the stores of other programs, and of Python packages."""


def is_quantized(quant: str | None) -> bool:
    """Whether a model with this label is quantized; one with an unknown label counts as not quantized."""
    return quant is not None and quant not in NOT_QUANTIZED


def source_rank(quant: str | None) -> int:
    """The suitability of a file with this label as a source: lower is better."""
    if quant in _UNQUANTIZED_FIRST:
        return _UNQUANTIZED_FIRST.index(quant)
    return len(_UNQUANTIZED_FIRST) + is_quantized(quant)


def target_folder(source: Path, configured: Path | None, folders: Sequence[Path], fallback: Path) -> Path:
    """The default folder for a quantization of `source`: the `configured` one, else that of the source.

    For a source in a Python package or in the store of another program, it is the first of the user's model `folders`
    that exists, else `fallback`.
    """
    if configured is not None:
        return configured
    if is_own_folder(source):
        return source.absolute().parent
    return next((folder for folder in folders if folder.is_dir()), fallback)


def is_own_folder(source: Path) -> bool:
    """Whether new files may be written to the folder of `source`: not in a Python package, nor in a store of blobs."""
    # A model in a package may be linked from elsewhere, and a store links names to blobs.
    for path in (source.absolute(), Path(os.path.realpath(source))):
        if _FOREIGN_FOLDERS & {part.casefold() for part in path.parts} or (path.parent / "__init__.py").exists():
            return False
    return True
