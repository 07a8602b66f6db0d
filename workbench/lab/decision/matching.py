"""Which file a kept result belongs to, and whether it still counts: changed files, other machines and builds do not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.core.bench import BenchMachine, BenchResult, BenchSettings
from workbench.core.models import ModelEntry
from workbench.lab.evals.record import EvalLane, EvalRecord
from workbench.lab.quality.record import QualityModel

_ADAPTED = "with an adapter it is another model"
_NOT_TIMED = ("n_batch", "n_ubatch", "n_threads_batch")
"""Settings that do not change the speed of decoding."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file of the base model, as it is now."""

    entry: ModelEntry
    path: str
    digest: str
    """As in `store.sessions.digests`."""
    modified_ns: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.entry.size_bytes or 0


@dataclass(frozen=True, slots=True)
class Way:
    """A file and the settings that set it apart from other uses of the file."""

    file: KnownFile
    settings: BenchSettings

    def is_same_model(self, other: Way) -> bool:
        """Whether both give the same answers, however fast: the same file and cache types."""
        mine, theirs = self.settings, other.settings
        return self.file == other.file and (mine.type_k, mine.type_v) == (theirs.type_k, theirs.type_v)


def with_caches(file: KnownFile, type_k: str, type_v: str) -> Way:
    """A file with these types of its cache."""
    return Way(file, BenchSettings(type_k=type_k, type_v=type_v))


def llama_build(text: str) -> str:
    """llama.cpp's part of the text of a build, which alone changes what a model answers."""
    found = re.search(r"llama\.cpp .*", text)
    return found[0] if found else text


def value_in(settings: object, name: str, default: object = None) -> object:
    """The value of a parameter in kept settings: see `sourced_values`."""
    each = settings.get(name) if isinstance(settings, Mapping) else None
    return each.get("value", default) if isinstance(each, Mapping) else default


class Matcher:
    """Finds the file of a result. What is left out is noted, so that nothing is mixed or missing silently."""

    def __init__(self, files: Sequence[KnownFile], machine: BenchMachine, build: str) -> None:
        self.files = files
        self.notes: Counter[str] = Counter()
        """What was left out and why, and how often."""
        self.usual_threads: int | None = None
        """The threads that are used where none are asked for; None where that is unknown."""
        self.machine = machine
        self._build = llama_build(build)

    def leave_out(self, what: str, why: str) -> None:
        """Note that a result does not count."""
        self.notes[f"A result of {what} is left out: {why}."] += 1

    def timed(self, result: BenchResult, machine: BenchMachine) -> Way | None:
        """What was timed; None where it does not count."""
        model = result.model

        def is_same(file: KnownFile) -> bool:
            return (file.size, file.modified_ns) == (model.file_bytes, model.modified_ns)

        file = self._find("bench", model.path, f"sha256:{model.digest}" if model.digest else "", is_same)
        if file is None:
            return None
        if any(getattr(machine, name) != getattr(self.machine, name) for name in ("cpu_info", "gpu_info", "cores")):
            self.leave_out("bench", "it is of another machine")
        elif self._is_other_build("bench", machine):
            pass
        elif not result.samples or min(result.samples_ns) <= 0:
            self.leave_out("bench", "its times are no times")
        else:
            return Way(file, self._apart(result.case.settings))
        return None

    def _apart(self, settings: BenchSettings) -> BenchSettings:
        """Settings without those that change nothing."""
        if settings.n_threads == self.usual_threads:
            settings = replace(settings, n_threads=0)
        return replace(settings, **{name: getattr(BenchSettings(), name) for name in _NOT_TIMED})

    def scored(self, model: QualityModel, machine: BenchMachine) -> Way | None:
        """What was scored on a text; None where it does not count."""

        def is_same(file: KnownFile) -> bool:
            return file.digest == model.digest if model.digest else file.size == model.file_bytes

        file = self._find("quality", model.path, model.digest, is_same)
        if file is None or self._is_other_build("quality", machine):
            return None
        if model.adapter:
            self.leave_out("quality", _ADAPTED)
            return None
        return with_caches(file, model.settings.type_k, model.settings.type_v)

    def asked(self, lane: EvalLane, record: EvalRecord) -> Way | None:
        """What was asked; None where it does not count. A lane has no path: its digest or its reference names it."""
        file = next((file for file in self.files if lane.digest and file.digest == lane.digest), None)
        if file is None:
            if not lane.error and any(lane.ref in (file.entry.ref, file.path) for file in self.files):
                self.leave_out("eval", f"{lane.ref} has changed since")
            return None
        if lane.adapter:
            self.leave_out("eval", _ADAPTED)
            return None
        if llama_build(record.build) != self._build:
            self.leave_out("eval", "it is of another build of llama.cpp")
            return None
        return with_caches(file, *(str(value_in(lane.settings, name, "f16")) for name in ("type_k", "type_v")))

    def _find(self, what: str, path: str, digest: str, is_same: Callable[[KnownFile], bool]) -> KnownFile | None:
        here = next((file for file in self.files if file.path == path), None)
        if here is None:
            return next((file for file in self.files if digest and file.digest == digest), None)
        if is_same(here):
            return here
        self.leave_out(what, f"{Path(path).name} has changed since")
        return None

    def _is_other_build(self, what: str, machine: BenchMachine) -> bool:
        mine = self.machine
        other = (machine.build_commit, machine.backends) != (mine.build_commit, mine.backends)
        if other:
            self.leave_out(what, "it is of another build of llama.cpp")
        return other
