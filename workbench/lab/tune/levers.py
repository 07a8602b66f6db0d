"""The levers of a tuning: which values of each are worth a try, and in which words a change is said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from workbench.core.bench import BenchSettings, BenchTest
from workbench.core.engine import Needs
from workbench.lab.bench.grid import WEIGHTS_FIELDS

UBATCHES = (128, 256, 512, 1024, 2048, 4096)
BATCHES = (512, 2048)

WORDS = {
    "n_threads": "threads",
    "n_threads_batch": "prompt threads",
    "n_batch": "batch",
    "n_ubatch": "micro-batch",
    "n_gpu_layers": "GPU layers",
    "n_cpu_moe": "layers with experts on the CPU",
    "flash_attn": "flash attention",
    "type_k": "K cache",
    "type_v": "V cache",
    "devices": "GPUs",
    "tensor_split": "shares of the GPUs",
    "split_mode": "split",
}
"""The fields that levers change, and what they are called."""


@dataclass(frozen=True, slots=True, eq=False)
class TuneFacts:
    """What decides which values are worth a try."""

    work: BenchTest
    cores: int
    """Physical cores."""
    logical: int
    """Processors as the system counts them."""
    caches: tuple[str, ...] = ()
    """The cache types that the user allows beside today's."""
    needs: Needs | None = None
    """Of today's settings; None where they cannot be estimated."""

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPUs that may be used."""
        return () if self.needs is None else self.needs.gpus


@dataclass(frozen=True, slots=True)
class Lever:
    """One thing that can be changed."""

    name: str
    ways: Callable[[BenchSettings, TuneFacts], Iterable[BenchSettings]]
    """Other values, from the settings that have been found so far."""
    finer: Callable[[BenchSettings, Sequence[BenchSettings]], Iterable[BenchSettings]] | None = None
    """Values between the best of them and its neighbours among those that were tried."""

    def values(self, now: BenchSettings, facts: TuneFacts) -> tuple[BenchSettings, ...]:
        """Each way once, without the present one."""
        return tuple(
            dict.fromkeys(way for way in self.ways(now, facts) if resolved(way, facts) != resolved(now, facts))
        )


@lru_cache(maxsize=1024)
def resolved(way: BenchSettings, facts: TuneFacts) -> BenchSettings:
    """Settings with the numbers that automatic values stand for, so that equal ones are equal."""
    threads = way.n_threads or facts.cores
    layers = way.n_gpu_layers
    if facts.needs is not None and (layers < 0 or not facts.gpus):
        layers = facts.needs.most_gpu_layers if facts.gpus else 0
    return replace(
        way,
        n_threads=threads,
        n_threads_batch=way.n_threads_batch or threads,
        n_ubatch=min(way.n_ubatch, way.n_batch),
        n_gpu_layers=layers,
        flash_attn="auto" if way.flash_attn == "on" else way.flash_attn,
    )


def changes(way: BenchSettings, since: BenchSettings, facts: TuneFacts) -> tuple[str, ...]:
    """What differs, in words: `threads 6 instead of 8`."""
    now, before = resolved(way, facts), resolved(since, facts)
    return tuple(
        f"{word} {_shown(name, getattr(now, name))} instead of {_shown(name, getattr(before, name))}"
        for name, word in WORDS.items()
        if getattr(now, name) != getattr(before, name)
    )


def _shown(name: str, value: object) -> str:
    if name == "n_gpu_layers" and value == -1:
        return "as many as fit"
    if name == "n_cpu_moe" and value == -1:
        return "all"
    return str(value) or "by free memory"


def loads_again(first: BenchSettings, second: BenchSettings) -> bool:
    """Whether going from one to the other loads the weights again."""
    return any(getattr(first, name) != getattr(second, name) for name in WEIGHTS_FIELDS)


def _counts(facts: TuneFacts) -> list[int]:
    cores = facts.cores
    return sorted({1, cores // 4, cores // 2, 3 * cores // 4, cores, facts.logical} - {0})


def _threads(now: BenchSettings, facts: TuneFacts) -> Iterable[BenchSettings]:
    if facts.work.n_gen:
        # Prompts keep theirs: they are a lever of their own.
        prompt = resolved(now, facts).n_threads_batch
        for count in _counts(facts):
            yield replace(now, n_threads=count, n_threads_batch=prompt)


def _prompt_threads(now: BenchSettings, facts: TuneFacts) -> Iterable[BenchSettings]:
    if facts.work.n_prompt:
        for count in _counts(facts):
            yield replace(now, n_threads_batch=count)


def _between(name: str) -> Callable[[BenchSettings, Sequence[BenchSettings]], Iterable[BenchSettings]]:
    def finer(best: BenchSettings, tried: Sequence[BenchSettings]) -> Iterable[BenchSettings]:
        chosen = getattr(best, name)
        counts = {getattr(way, name) for way in tried}
        lower = max((count for count in counts if count < chosen), default=chosen)
        upper = min((count for count in counts if count > chosen), default=chosen)
        for count in {(lower + chosen) // 2, (chosen + upper) // 2} - counts - {chosen, 0}:
            yield replace(best, **{name: count})

    return finer


def _ubatches(now: BenchSettings, facts: TuneFacts) -> Iterable[BenchSettings]:
    work = facts.work
    if work.n_prompt:
        # One that is longer than the prompt is as good as one that is as long.
        most = next((size for size in UBATCHES if size >= work.n_prompt * work.sequences), UBATCHES[-1])
        for size in UBATCHES:
            if size <= most:
                yield replace(now, n_ubatch=size, n_batch=max(now.n_batch, size))


def _batches(now: BenchSettings, facts: TuneFacts) -> Iterable[BenchSettings]:
    length = facts.work.n_prompt * facts.work.sequences
    for size in BATCHES:
        if min(size, now.n_batch) < length and size >= now.n_ubatch:
            yield replace(now, n_batch=size)


def _flash(now: BenchSettings, facts: TuneFacts) -> Iterable[BenchSettings]:
    yield replace(now, flash_attn="auto" if now.flash_attn == "off" else "off")


def _caches(now: BenchSettings, facts: TuneFacts) -> Iterable[BenchSettings]:
    for kind in facts.caches:
        yield replace(now, type_k=kind, type_v=kind)


def _layers(now: BenchSettings, facts: TuneFacts) -> Iterable[BenchSettings]:
    needs = facts.needs
    if needs is None or not needs.gpus:
        return
    most = needs.most_gpu_layers
    for count in (most, most * 3 // 4, most // 2, 0):
        yield replace(now, n_gpu_layers=count, n_cpu_moe=0)
    if needs.expert_layers and needs.fewest_cpu_experts is not None:
        least = needs.fewest_cpu_experts
        for count in (least, (least + needs.layers) // 2, -1):
            yield replace(now, n_gpu_layers=needs.layers, n_cpu_moe=count)


def _split(now: BenchSettings, facts: TuneFacts) -> Iterable[BenchSettings]:
    if len(facts.gpus) > 1 and now.n_gpu_layers:
        for gpu in facts.gpus:
            yield replace(now, devices=gpu, tensor_split="")
        yield replace(now, devices="auto", tensor_split="")
        yield replace(now, devices="auto", tensor_split="/".join("1" * len(facts.gpus)))
        yield replace(now, split_mode="row")


LEVERS = (
    Lever("GPU layers", _layers),
    Lever("split", _split),
    Lever("cache types", _caches),
    Lever("flash attention", _flash),
    Lever("threads", _threads, _between("n_threads")),
    Lever("prompt threads", _prompt_threads, _between("n_threads_batch")),
    Lever("micro-batch", _ubatches),
    Lever("batch", _batches),
)
"""In the order in which they are tried: those that place the model before those that compute it."""
