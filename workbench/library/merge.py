"""Merging of findings: one entry for each file, with all places where it was found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from workbench.core.models import ModelEntry, Place
from workbench.library.entries import make_entry
from workbench.library.file_facts import FileFacts
from workbench.library.folders import Found, ModelFile, file_id


@dataclass(frozen=True, slots=True)
class Described:
    """A finding with its entry, and what other findings of the same file share with it."""

    file: ModelFile
    entry: ModelEntry
    keys: tuple[Hashable, ...]
    """Equal for all findings of one file."""
    likeness: Hashable | None
    """Equal for copies of the file, and for other files by chance; None for an unreadable file."""


def described(found: Found, facts: FileFacts | None) -> Described:
    """The finding with its entry; `facts` are those of its file, None where it has none."""
    entry = make_entry(found, facts)
    return Described(found.file, entry, tuple(_keys(found.file, entry)), _likeness(found.file, facts, entry))


@dataclass(slots=True)
class _MergedEntry:
    """An entry, while findings are merged into it."""

    entry: ModelEntry
    file: ModelFile
    digests: set[str] = field(default_factory=set)


def merged(findings: Iterable[Described], sample: Callable[[ModelFile], str]) -> list[ModelEntry]:
    """The entries of `findings`, one for each file, in the order of the first finding.

    Two findings are of one file where inode or digest are equal, or where size, header and samples of the weights are;
    `sample` hashes some of the bytes of a file.
    """
    rows: list[_MergedEntry] = []
    by_key: dict[Hashable, _MergedEntry] = {}
    alike: defaultdict[Hashable, list[_MergedEntry]] = defaultdict(list)
    for finding in findings:
        file, entry, likeness = finding.file, finding.entry, finding.likeness
        row = next((by_key[key] for key in finding.keys if key in by_key), None)
        if row is None and likeness is not None:
            row = next((other for other in alike[likeness] if _are_one(other, entry, file, sample)), None)
        if row is None:
            row = _MergedEntry(entry, file)
            rows.append(row)
            if likeness is not None:
                alike[likeness].append(row)
        else:
            row.entry = _together(row.entry, entry)
        if entry.digest:
            row.digests.add(entry.digest)
        for key in finding.keys:
            by_key.setdefault(key, row)
    return _joined([row.entry for row in rows])


def _keys(file: ModelFile, entry: ModelEntry) -> Iterator[Hashable]:
    if not file.paths:
        yield entry.ref
        return
    with suppress(OSError, ValueError):
        yield ("inode", *file_id(file.path.stat()))
    if entry.digest and not entry.problem:
        yield ("digest", entry.digest)


def _likeness(file: ModelFile, facts: FileFacts | None, entry: ModelEntry) -> Hashable | None:
    if entry.problem or facts is None or not facts.header_hash:
        return None
    return file.size_bytes, len(file.paths), facts.header_hash


def _are_one(row: _MergedEntry, entry: ModelEntry, file: ModelFile, sample: Callable[[ModelFile], str]) -> bool:
    """Whether two files with equal likeness are copies."""
    if entry.digest and row.digests and entry.digest not in row.digests:
        return False
    first = sample(row.file)
    return bool(first) and first == sample(file)


def _together(one: ModelEntry, other: ModelEntry) -> ModelEntry:
    """`one` with the places of `other`, and with its digest and quantization where `one` has none."""
    places = list(one.places)
    for place in other.places:
        same = next((index for index, known in enumerate(places) if _is_same_place(known, place)), None)
        if same is None:
            places.append(place)
        elif not places[same].name:
            places[same] = replace(places[same], name=place.name)
    return replace(one, places=tuple(places), digest=one.digest or other.digest, quant=one.quant or other.quant)


def _is_same_place(known: Place, place: Place) -> bool:
    """Whether `place` is known; a path adds nothing where a name for the file at that path is known."""
    return known.path == place.path and place.ref in {known.ref, place.path}


def _joined(entries: list[ModelEntry]) -> list[ModelEntry]:
    """The entries, with incomplete files put into the group of the only model of their name."""
    by_words: defaultdict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if not entry.problem:
            by_words[entry.group.partition("/")[0]].add(entry.group)
    joined = []
    for entry in entries:
        groups = by_words[entry.group.partition("/")[0]] if entry.problem else ()
        joined.append(replace(entry, group=min(groups)) if len(groups) == 1 else entry)
    return joined
