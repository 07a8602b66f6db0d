"""One row for each file, however often and wherever it was found."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from workbench.core.models import ModelEntry, Place
from workbench.library.entries import make_entry
from workbench.library.folders import Found, ModelFile, identity_of
from workbench.library.readings import Reading


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that was found, and what its file says."""

    found: Found
    reading: Reading | None


@dataclass(slots=True)
class _Row:
    """An entry in the making."""

    entry: ModelEntry
    file: ModelFile
    digests: set[str] = field(default_factory=set)


def merged(candidates: Sequence[Candidate], sample: Callable[[ModelFile], str]) -> list[ModelEntry]:
    """The entries of `candidates`; of one file that was found several times, the first one with all places.

    Two are one file where they have the same inode, or the same digest, or where size, header and samples of the
    weights are the same.

    Args:
        candidates: What was found, the places that are to stand first before the others.
        sample: Gives a hash of some of the bytes of a file; asked for files that cannot be told apart otherwise.
    """
    rows: list[_Row] = []
    by_key: dict[Hashable, _Row] = {}
    alike: dict[Hashable, list[_Row]] = {}
    for candidate in candidates:
        file, entry = candidate.found.file, make_entry(candidate.found, candidate.reading)
        keys = list(_keys(file, entry))
        row = next((by_key[key] for key in keys if key in by_key), None)
        likeness = _likeness(candidate, entry)
        if row is None and likeness is not None:
            same = (other for other in alike.get(likeness, ()) if _are_one(other, entry, file, sample))
            row = next(same, None)
        if row is None:
            row = _Row(entry, file)
            rows.append(row)
            if likeness is not None:
                alike.setdefault(likeness, []).append(row)
        else:
            row.entry = _together(row.entry, entry)
        if entry.digest:
            row.digests.add(entry.digest)
        for key in keys:
            by_key.setdefault(key, row)
    return _joined([row.entry for row in rows])


def _keys(file: ModelFile, entry: ModelEntry) -> Iterator[Hashable]:
    """What every finding of the same file has."""
    if not file.paths:
        yield entry.ref
        return
    with suppress(OSError, ValueError):
        yield ("inode", *identity_of(file.path.stat()))
    if entry.digest and not entry.problem:
        yield ("digest", entry.digest)


def _likeness(candidate: Candidate, entry: ModelEntry) -> Hashable | None:
    """What a copy of the file would have too, and another file may have by chance; None for what cannot be read."""
    reading, file = candidate.reading, candidate.found.file
    if entry.problem or reading is None or not reading.header_hash:
        return None
    return file.size_bytes, len(file.paths), reading.header_hash


def _are_one(row: _Row, entry: ModelEntry, file: ModelFile, sample: Callable[[ModelFile], str]) -> bool:
    """Whether two files that are alike are copies of each other."""
    if entry.digest and row.digests and entry.digest not in row.digests:
        return False
    first = sample(row.file)
    return bool(first) and first == sample(file)


def _together(one: ModelEntry, other: ModelEntry) -> ModelEntry:
    """`one` with the places of `other`, and with what only that knows."""
    places = list(one.places)
    for place in other.places:
        same = next((index for index, known in enumerate(places) if _is_same_place(known, place)), None)
        if same is None:
            places.append(place)
        elif not places[same].name:
            places[same] = replace(places[same], name=place.name)
    return replace(one, places=tuple(places), digest=one.digest or other.digest, quant=one.quant or other.quant)


def _is_same_place(known: Place, place: Place) -> bool:
    """Whether `place` is known already; a path says nothing new where a name of the file at that path is known."""
    return known.path == place.path and place.ref in {known.ref, place.path}


def _joined(entries: list[ModelEntry]) -> list[ModelEntry]:
    """The entries, with those whose files are not whole in the group of the only model of their name."""
    by_words: dict[str, set[str]] = {}
    for entry in entries:
        if not entry.problem:
            by_words.setdefault(_words(entry), set()).add(entry.group)
    joined = []
    for entry in entries:
        groups = by_words.get(_words(entry), set())
        joined.append(replace(entry, group=min(groups)) if entry.problem and len(groups) == 1 else entry)
    return joined


def _words(entry: ModelEntry) -> str:
    return entry.group.partition("/")[0]
