"""The quantizations in a repository: the files of each, and which one a reference means.

Rules as those of llama.cpp's `-hf` (`common/download.cpp`), except that a quantization is matched as a whole word: its
own search finds `BF16` for `F16`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from workbench.core.errors import NotPublishedError, did_you_mean
from workbench.gguf.names import SUFFIX, parse_name, parse_shard

DEFAULTS = ("Q4_K_M", "Q8_0")
"""The quantizations that a reference without one means, in order; then the first."""
_NO_MODELS = re.compile(r"mmproj|imatrix|(?:^|[-_.])(?:mtp|eagle3|dflash|dspark)-", re.IGNORECASE)
_PREFIXES = ("UD-", "I1-")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file in a registry."""

    path: str
    """Relative to the repository."""
    size: int
    digest: str
    """SHA-256 (64 hex digits), or the git SHA-1 (40) of a small file."""

    @property
    def name(self) -> str:
        """Its file name."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True, slots=True)
class Variant:
    """A quantization: all files that belong to it."""

    label: str
    """The quantization; the name of the file where that states none."""
    files: tuple[RemoteFile, ...]
    """The model, all parts of it where it is split; the first is the one to open."""
    projector: RemoteFile | None = None
    """The picture encoder, which is a file of its own."""

    @property
    def size(self) -> int:
        """Bytes of the model, without the picture encoder."""
        return sum(file.size for file in self.files)


def variants_of(files: Iterable[RemoteFile]) -> list[Variant]:
    """The complete quantizations among the files of a repository, smallest first."""
    by_path = {file.path: file for file in files if file.name.casefold().endswith(SUFFIX)}
    projectors = [file for file in by_path.values() if "mmproj" in file.name.casefold()]
    found = []
    for path, file in by_path.items():
        shard = parse_shard(path)
        if _NO_MODELS.search(file.name) or (shard is not None and shard.number != 1):
            continue
        folder = PurePosixPath(path).parent
        names = [path] if shard is None else [str(folder / name) for name in shard.names]
        if all(name in by_path for name in names):
            label = parse_name(file.name).quant or parse_name(folder.name).quant or parse_name(file.name).base
            parts = tuple(by_path[name] for name in names)
            found.append(Variant(label, parts, _projector(file, projectors)))
    return sorted(found, key=lambda variant: variant.size)


def _projector(model: RemoteFile, projectors: Sequence[RemoteFile]) -> RemoteFile | None:
    """The picture encoder of a model: in its folder or above it, the deepest first, then the smallest F16 or else."""
    folder = PurePosixPath(model.path).parent
    near = [file for file in projectors if folder.is_relative_to(PurePosixPath(file.path).parent)]
    order = ("F16", "BF16", "Q8_0", "F32")

    def rank(file: RemoteFile) -> tuple[int, int, int]:
        quant = parse_name(file.name).quant
        return -file.path.count("/"), order.index(quant) if quant in order else len(order), file.size

    return min(near, key=rank, default=None)


def choose(variants: Sequence[Variant], wanted: str, where: str) -> Variant:
    """The quantization that `wanted` names: a label, with or without `UD-`, or a file; empty for the default.

    Raises:
        NotPublishedError: There is none, or several; `where` names the repository.
    """
    if not variants:
        raise NotPublishedError(
            f"{where} has no GGUF file that is a model.",
            "Look for a repository of quantizations: workbench pull --search NAME",
        )
    folded = wanted.casefold()
    by_file = [each for each in variants if folded in _names(each)]
    matches = by_file or [each for each in variants if each.label.casefold() == folded]
    matches = matches or [each for each in variants if without_prefix(each.label) == folded]
    if not wanted:
        for default in DEFAULTS:
            matches = matches or [each for each in variants if each.label == default]
        return (matches or list(variants))[0]
    if len(matches) == 1:
        return matches[0]
    if matches:
        files = ", ".join(each.files[0].path for each in matches[:5])
        raise NotPublishedError(f"{where} has {len(matches)} models called {wanted}.", f"Name the file: {files}")
    labels = sorted({each.label for each in variants})
    hint = did_you_mean(wanted, labels) or f"It has {', '.join(labels[:12])}{', …' if len(labels) > 12 else ''}."
    raise NotPublishedError(f"{where} has no quantization {wanted!r}.", hint)


def _names(variant: Variant) -> set[str]:
    first = variant.files[0]
    return {first.path.casefold(), first.name.casefold(), first.name.casefold().removesuffix(SUFFIX)}


def without_prefix(label: str) -> str:
    """The quantization in lower case, without the mark of the tool that made it."""
    for prefix in _PREFIXES:
        label = label.removeprefix(prefix)
    return label.casefold()
