"""What is timed, and what came of it: frozen values with llama-bench's names and meanings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.core.parameters import LoadSettings
from workbench.core.statistics import deviation, mean

CELLS = 256
"""llama.cpp rounds the context of each sequence up to a multiple of this."""


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """How a model is loaded and computed with."""

    n_threads: int = 0
    """0 is one for each physical core."""
    n_batch: int = 2048
    """Prompt tokens that are handed over at once."""
    n_ubatch: int = 512
    """Prompt tokens that are computed at once."""
    n_gpu_layers: int = -1
    """-1 is as many as fit, 0 is none."""
    type_k: str = "f16"
    type_v: str = "f16"
    flash_attn: str = "auto"


@dataclass(frozen=True, slots=True)
class BenchTest:
    """The work that is timed: random tokens, nothing sampled, nothing turned into text."""

    n_prompt: int = 0
    """Prompt tokens (pp), in each sequence."""
    n_gen: int = 0
    """Tokens one after the other (tg), in each sequence."""
    n_depth: int = 0
    """Tokens that are in the context before the clock starts, in each sequence."""
    sequences: int = 1
    """Sequences that are computed together."""

    @property
    def label(self) -> str:
        """As llama-bench writes it: `pp512`, `tg128 @ d4096`."""
        parts = [f"pp{self.n_prompt}"] * (self.n_prompt > 0) + [f"tg{self.n_gen}"] * (self.n_gen > 0)
        depth = f" @ d{self.n_depth}" if self.n_depth else ""
        return "+".join(parts) + depth + (f" x{self.sequences}" if self.sequences > 1 else "")

    @property
    def tokens(self) -> int:
        """Tokens that are timed, in all sequences."""
        return self.sequences * (self.n_prompt + self.n_gen)

    @property
    def context(self) -> int:
        """The context that it needs, over all sequences."""
        return self.sequences * (self.n_depth + self.n_prompt + self.n_gen)


@dataclass(frozen=True, slots=True)
class BenchCase:
    """One test of one model in one way."""

    ref: str
    """The model's name, as it is opened."""
    settings: BenchSettings
    test: BenchTest


def as_load_settings(settings: BenchSettings, test: BenchTest) -> LoadSettings:
    """The same as ordinary load settings, for asking what fits in memory."""
    own = -(-(test.context // test.sequences) // CELLS) * CELLS
    return LoadSettings(
        num_ctx=test.sequences * own,
        num_batch=settings.n_ubatch,
        num_gpu=settings.n_gpu_layers,
        num_thread=settings.n_threads,
        type_k=settings.type_k,
        type_v=settings.type_v,
        flash_attn=settings.flash_attn,
    )


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A model that was opened for timing."""

    ref: str
    name: str
    quant: str | None
    path: str
    file_bytes: int
    """Size of its files."""
    modified_ns: int
    """When the first of its files was written, in nanoseconds since 1970."""
    digest: str | None
    """SHA-256 of the file, where a store names it."""
    description: str
    """llama.cpp's own words for it, such as `llama 8B Q4_K - Medium`."""
    weights_bytes: int
    parameters: int
    backend: str
    """What computes: `CPU`, or the GPUs."""
    gpu_layers: int
    """Layers that are on GPUs."""
    n_threads: int
    """Threads that compute on the CPU."""
    read_bytes: int | None = None
    """Bytes of weights that one more token has to read; None where that is not known."""
    warnings: tuple[str, ...] = ()
    """What the user ought to know: more layers were asked for on a GPU than there is one for, …"""

    @property
    def label(self) -> str:
        """Name and quantization."""
        return f"{self.name} {self.quant}" if self.quant else self.name


@dataclass(frozen=True, slots=True)
class BenchMachine:
    """What timed it."""

    build_commit: str
    """The commit of ggml, as the library names it."""
    cpu_info: str
    gpu_info: str
    backends: str
    cores: int
    """Physical cores that may be used."""
    memory_bytes: int
    system: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    """Packages and their versions."""


@dataclass(frozen=True, slots=True)
class RunTime:
    """How long one repetition took, in nanoseconds of its own steps."""

    prompt_ns: int
    gen_ns: int
    wall_ns: int
    """From its beginning to its end; more than the sum where other work had its turn in between."""

    @property
    def ns(self) -> int:
        """Both parts."""
        return self.prompt_ns + self.gen_ns


@dataclass(frozen=True, slots=True)
class Conditions:
    """What went on beside one repetition. What is not known is None."""

    load_average: float | None = None
    """The system's load average over a minute, in processes."""
    cpu_mhz: float | None = None
    others_percent: float | None = None
    """Processor time that was not this program's, in per cent of the whole machine."""
    others_s: float | None = None
    """The same in seconds."""
    gpu_mhz: float | None = None
    gpu_throttle: tuple[str, ...] = ()
    """Why the GPU did not run at its highest clock, as far as that means trouble."""
    gpu_others_bytes: int | None = None
    """GPU memory that other programs hold."""
    gpu_joules: float | None = None
    """What all GPUs took from its beginning to its end, by their own counters."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One repetition."""

    time: RunTime
    seed: int
    """What its random tokens were drawn with."""
    conditions: Conditions = field(default_factory=Conditions)
    disturbed: tuple[str, ...] = ()
    """What disturbed it, in words."""


@dataclass(frozen=True, slots=True)
class BenchResult:
    """A test and its repetitions."""

    case: BenchCase
    model: BenchModel
    test_time: str
    """When it began: UTC, ISO 8601."""
    samples: tuple[Sample, ...]
    warm_up_runs: int = 0
    """Repetitions that were thrown away until two in succession were nearly equal."""
    stable: bool | None = None
    """Whether two of them were; None where that was not tried."""
    memory_bytes_per_s: float | None = None
    """The memory bandwidth of what computes, where it is known."""

    @property
    def samples_ns(self) -> tuple[int, ...]:
        """The time of each repetition."""
        return tuple(sample.time.ns for sample in self.samples)

    @property
    def samples_ts(self) -> tuple[float, ...]:
        """Tokens a second of each repetition, over all sequences."""
        return tuple(self.case.test.tokens * 1e9 / ns for ns in self.samples_ns)

    @property
    def avg_ts(self) -> float:
        """The mean of the speeds, in tokens/s."""
        return mean(self.samples_ts)

    @property
    def stddev_ts(self) -> float:
        """Their standard deviation, n - 1."""
        return deviation(self.samples_ts)

    @property
    def disturbed(self) -> int:
        """Repetitions that something disturbed."""
        return sum(bool(sample.disturbed) for sample in self.samples)

    @property
    def joules_per_token(self) -> float | None:
        """What the GPUs took for each token, over all repetitions whose energy is known; None where none is."""
        known = [sample.conditions.gpu_joules for sample in self.samples if sample.conditions.gpu_joules is not None]
        return sum(known) / (len(known) * self.case.test.tokens) if known else None

    @property
    def roof_pct(self) -> float | None:
        """Decode as a share of the memory bandwidth, in per cent; None where that has no meaning or is not known."""
        test, read = self.case.test, self.model.read_bytes
        if test.n_prompt or test.sequences > 1 or not read or not self.memory_bytes_per_s or not self.samples:
            return None
        return 100 * self.avg_ts * read / self.memory_bytes_per_s


def part_speeds(samples: Sequence[Sample], test: BenchTest) -> tuple[float | None, float | None]:
    """Tokens/s over all sequences in the prompt's part and in the generated part; None where there is no such part."""
    prompt = sum(sample.time.prompt_ns for sample in samples)
    gen = sum(sample.time.gen_ns for sample in samples)
    count = len(samples) * test.sequences * 1e9
    return (
        count * test.n_prompt / prompt if prompt and test.n_prompt else None,
        count * test.n_gen / gen if gen and test.n_gen else None,
    )


@dataclass(frozen=True, slots=True)
class MemorySpeed:
    """The memory bandwidth of the machine."""

    bytes_per_s: float
    method: str
    """How it was measured."""


class BenchRun(Protocol):
    """A model with a context of its own, ready for one test. Its methods are called one after the other."""

    async def warm_up(self, cancel: CancelToken) -> float:
        """Compute the whole prompt and one token more, as llama-bench does; gives the seconds that a run may take.

        Raises:
            CancelledError: `cancel` was set.
        """

    async def repeat(self, seed: int, cancel: CancelToken) -> RunTime:
        """Do the test once, from an empty context, with the random tokens of `seed`.

        Cancelling ends it within one decode step, and within 100 ms in a prompt on a CPU or one batch on a GPU.

        Raises:
            CancelledError: `cancel` was set.
        """

    async def close(self) -> None:
        """Give the context's memory back."""


class BenchTarget(Protocol):
    """A model that is open for timing."""

    @property
    def model(self) -> BenchModel:
        """What was opened."""

    async def prepare(self, settings: BenchSettings, test: BenchTest) -> BenchRun:
        """Make a context for `test`. Of the settings, those of the weights are as they were when it was opened.

        Raises:
            MemoryShortError: It does not fit in memory.
            WorkbenchError: llama.cpp refuses it.
        """

    async def close(self) -> None:
        """Give all memory back, that of its contexts too."""


class Bencher(Protocol):
    """Opens models for timing."""

    async def machine(self) -> BenchMachine:
        """What times."""

    async def open(self, case: BenchCase, on_progress: ProgressCallback, cancel: CancelToken) -> BenchTarget:
        """Load the weights of a model.

        Args:
            case: Of those that will be timed with these weights the one with the longest context. Where it is left
                open how many layers go on the GPUs, there will be room for it beside them.
            on_progress: Told the fraction of the weights that is loaded.
            cancel: Stops the load.

        Raises:
            WorkbenchError: It cannot be opened; CancelledError when `cancel` was set.
        """


class ConditionWatch(Protocol):
    """Records the conditions during a repetition: other programs, clocks, throttling."""

    async def begin(self) -> None:
        """Start of a repetition."""

    async def end(self) -> Conditions:
        """End of the repetition, and the conditions during it."""
