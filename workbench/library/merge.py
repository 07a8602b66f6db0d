"""One row for each file, however often and wherever it was found."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.core.models import ModelEntry
from workbench.library.entries import make_entry
from workbench.library.folders import Found, identity_of
from workbench.library.readings import Reading

SAMPLES, SAMPLE_BYTES = 16, 4096
"""How much of two files is compared before they count as copies of each other."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that was found, and what its file says."""

    found: Found
    reading: Reading | None


def merged(candidates: Sequence[Candidate]) -> list[ModelEntry]:
    """The entries of `candidates`; of one file that was found several times, the first one with all places.

    Two are one file where they have the same inode, or the same digest, or where size, header and samples of the
    weights are the same.
    """
    entries: list[ModelEntry] = []
    by_key: dict[Hashable, int] = {}
    for candidate in candidates:
        entry = make_entry(candidate.found, candidate.reading)
        keys = list(_keys(candidate, entry))
        known = (key for key in keys if key in by_key)
        index = next((by_key[key] for key in known if _are_one(key, entries[by_key[key]], entry)), None)
        if index is None:
            index = len(entries)
            entries.append(entry)
        else:
            entries[index] = _together(entries[index], entry)
        for key in keys:
            by_key.setdefault(key, index)
    return _joined(entries)


def _keys(candidate: Candidate, entry: ModelEntry) -> Iterator[Hashable]:
    """What another finding of the same file would have too."""
    file = candidate.found.file
    if not file.paths:
        yield entry.ref
        return
    with suppress(OSError, ValueError):
        yield ("inode", identity_of(file.path.stat()))
    if entry.problem:
        return
    if entry.digest:
        yield ("digest", entry.digest)
    if candidate.reading is not None and candidate.reading.header_hash:
        yield ("header", file.size_bytes, len(file.paths), candidate.reading.header_hash)


def _are_one(key: Hashable, one: ModelEntry, other: ModelEntry) -> bool:
    """Whether a key that two entries share means that they are one file."""
    if not isinstance(key, tuple) or key[0] != "header":
        return True
    if one.digest and other.digest and one.digest != other.digest:
        return False
    return bool(one.path and other.path) and _samples_agree(Path(one.path or ""), Path(other.path or ""))


def _samples_agree(one: Path, other: Path) -> bool:
    """Whether two files of one size have the same bytes, at as many places as are looked at."""
    try:
        with one.open("rb") as first, other.open("rb") as second:
            size = os.fstat(first.fileno()).st_size
            if size != os.fstat(second.fileno()).st_size:
                return False
            for number in range(SAMPLES):
                place = (size - SAMPLE_BYTES) * (number + 1) // SAMPLES
                first.seek(max(0, place))
                second.seek(max(0, place))
                if first.read(SAMPLE_BYTES) != second.read(SAMPLE_BYTES):
                    return False
    except OSError:
        return False
    return True


def _together(one: ModelEntry, other: ModelEntry) -> ModelEntry:
    """`one` with the places of `other`, and with what only that knows."""
    new = [place for place in other.places if all((place.path, place.ref) != (p.path, p.ref) for p in one.places)]
    return replace(one, places=(*one.places, *new), digest=one.digest or other.digest, quant=one.quant or other.quant)


def _joined(entries: list[ModelEntry]) -> list[ModelEntry]:
    """The entries, with those whose files are not whole in the group of the only model of their name."""
    by_name: dict[str, set[str]] = {}
    for entry in entries:
        if not entry.problem:
            by_name.setdefault(entry.group.partition("/")[0], set()).add(entry.group)
    joined = []
    for entry in entries:
        groups = by_name.get(entry.group.partition("/")[0], set())
        joined.append(replace(entry, group=next(iter(groups))) if entry.problem and len(groups) == 1 else entry)
    return joined
