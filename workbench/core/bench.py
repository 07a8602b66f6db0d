"""Values of the bench: cases, samples and results, with llama-bench's names and meanings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Protocol

from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.core.engine_hosts import PROCESS
from workbench.core.metrics import per_second
from workbench.core.statistics import deviation


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """How a model is loaded and computed."""

    n_threads: int = 0
    """0 is one for each physical core."""
    n_threads_batch: int = 0
    """Threads that compute prompts; 0 is as many as `n_threads`."""
    n_batch: int = 2048
    """The logical batch, in prompt tokens."""
    n_ubatch: int = 512
    """The physical batch, in prompt tokens."""
    n_gpu_layers: int = -1
    """-1 is as many as fit, 0 is none."""
    n_cpu_moe: int = 0
    """Layers, from the first, whose experts stay on the CPU; -1 is all."""
    tensor_buft_overrides: str = ""
    """Patterns of tensor names with their devices, such as `blk\\.0\\.=CPU;output=CUDA0`."""
    split_mode: str = "layer"
    tensor_split: str = ""
    """The shares of the GPUs, such as `3/1`; empty is by their free memory."""
    main_gpu: int = 0
    devices: str = "auto"
    """The GPUs by name, such as `CUDA0/CUDA1`; `auto` is all, `none` is none."""
    no_kv_offload: int = 0
    """1 keeps the KV cache in the memory of the host."""
    load_mode: str = "mmap"
    type_k: str = "f16"
    type_v: str = "f16"
    flash_attn: str = "auto"
    engine_host: str = PROCESS
    """`process`, `child`, or the name of a build of llama.cpp."""


@dataclass(frozen=True, slots=True)
class BenchTest:
    """The work that is timed: random tokens, without sampling or text."""

    n_prompt: int = 0
    """Prompt tokens (pp), in each sequence."""
    n_gen: int = 0
    """Generated tokens (tg), in each sequence."""
    n_depth: int = 0
    """Tokens in the context before the clock starts, in each sequence."""
    sequences: int = 1

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
        """The context of all sequences."""
        return self.sequences * (self.n_depth + self.n_prompt + self.n_gen)


@dataclass(frozen=True, slots=True)
class BenchCase:
    """One test of one model with one set of settings."""

    ref: str
    settings: BenchSettings
    test: BenchTest


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A model that was opened for timing."""

    ref: str
    name: str
    quant: str | None
    path: str
    file_bytes: int
    modified_ns: int
    """When the first of its files was written, in nanoseconds since 1970."""
    digest: str | None
    """SHA-256 of the file, where a store names it."""
    description: str
    """As llama.cpp describes it, such as `llama 8B Q4_K - Medium`."""
    weights_bytes: int
    parameters: int
    backend: str
    """What computes: `CPU`, or the GPUs."""
    gpu_layers: int
    n_threads: int
    read_bytes: int | None = None
    """Bytes of weights that one token reads; None where that is not known."""
    warnings: tuple[str, ...] = ()
    build: BenchMachine | None = None
    """The machine as another build of llama.cpp sees it; None where it was timed in process."""

    @property
    def label(self) -> str:
        """Name and quantization."""
        return f"{self.name} {self.quant}" if self.quant else self.name


@dataclass(frozen=True, slots=True)
class BenchMachine:
    """The machine and the build."""

    build_commit: str
    """The commit of ggml, as the library names it."""
    cpu_info: str
    gpu_info: str
    backends: str
    cores: int
    memory_bytes: int
    system: str = ""
    versions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RunTime:
    """The time of one repetition, in nanoseconds of its own steps."""

    prompt_ns: int
    gen_ns: int
    wall_ns: int
    """From beginning to end; more than the sum where other work ran in between."""

    @property
    def ns(self) -> int:
        """Both parts."""
        return self.prompt_ns + self.gen_ns


@dataclass(frozen=True, slots=True)
class Conditions:
    """The state of the machine during one repetition; None stands for unknown."""

    load_average: float | None = None
    cpu_mhz: float | None = None
    others_percent: float | None = None
    """Processor time of other programs, in per cent of the whole machine."""
    others_s: float | None = None
    gpu_mhz: float | None = None
    gpu_throttle: tuple[str, ...] = ()
    gpu_others_bytes: int | None = None
    gpu_joules: float | None = None
    """Energy of all GPUs, by their own counters."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One repetition."""

    time: RunTime
    seed: int
    conditions: Conditions = field(default_factory=Conditions)
    disturbed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BenchResult:
    """A test and its repetitions."""

    case: BenchCase
    model: BenchModel
    test_time: str
    """When it began: UTC, ISO 8601."""
    samples: tuple[Sample, ...]
    warm_up_runs: int = 0
    stable: bool | None = None
    """Whether two successive ones were nearly equal; None where that was not tried."""
    memory_bytes_per_s: float | None = None

    @property
    def samples_ns(self) -> tuple[int, ...]:
        """The time of each repetition."""
        return tuple(sample.time.ns for sample in self.samples)

    @property
    def samples_ts(self) -> tuple[float, ...]:
        """The speed of each repetition in tokens/s, over all sequences."""
        return tuple(self.case.test.tokens * 1e9 / ns for ns in self.samples_ns)

    @property
    def avg_ts(self) -> float:
        """The mean of the speeds, in tokens/s."""
        return fmean(self.samples_ts)

    @property
    def stddev_ts(self) -> float:
        """Their standard deviation, n - 1."""
        return deviation(self.samples_ts)

    @property
    def disturbed(self) -> int:
        """The number of disturbed repetitions."""
        return sum(bool(sample.disturbed) for sample in self.samples)

    @property
    def joules_per_token(self) -> float | None:
        """GPU energy per token, over the repetitions whose energy is known; None where none is."""
        known = [sample.conditions.gpu_joules for sample in self.samples if sample.conditions.gpu_joules is not None]
        return sum(known) / (len(known) * self.case.test.tokens) if known else None

    @property
    def roof_pct(self) -> float | None:
        """Decode as a share of the memory bandwidth, in per cent; None where unknown or without meaning."""
        test, read = self.case.test, self.model.read_bytes
        if test.n_prompt or test.sequences > 1 or not read or not self.memory_bytes_per_s or not self.samples:
            return None
        return 100 * self.avg_ts * read / self.memory_bytes_per_s


def part_speeds(samples: Sequence[Sample], test: BenchTest) -> tuple[float | None, float | None]:
    """Prefill and decode speed over all sequences, in tokens/s; None where a test has no such part."""
    prompt = sum(sample.time.prompt_ns for sample in samples)
    gen = sum(sample.time.gen_ns for sample in samples)
    count = len(samples) * test.sequences
    return per_second(count * test.n_prompt, prompt), per_second(count * test.n_gen, gen)


@dataclass(frozen=True, slots=True)
class MemorySpeed:
    """The memory bandwidth of the machine."""

    bytes_per_s: float
    method: str


class BenchRun(Protocol):
    """A model with its own context, ready for one test. Its methods are called one after the other."""

    async def warm_up(self, cancel: CancelToken) -> float:
        """Compute the whole prompt and one more token, as llama-bench does; returns the expected seconds of a run.

        Raises:
            CancelledError: `cancel` was set.
        """

    async def repeat(self, seed: int, cancel: CancelToken) -> RunTime:
        """Do the test once, from an empty context, with the random tokens of `seed`.

        Cancelling ends it within one decode step, and within 100 ms in a prompt on a CPU or one batch on a GPU.

        Raises:
            CancelledError: `cancel` was set.
        """

    async def use_threads(self, decode: int, prompt: int) -> None:
        """Compute with so many threads from now on, which loads nothing again; 0 as in `BenchSettings`."""

    async def close(self) -> None:
        """Release the memory of the context."""


class BenchTarget(Protocol):
    """A model open for timing."""

    model: BenchModel

    async def prepare(self, settings: BenchSettings, test: BenchTest) -> BenchRun:
        """Make a context for `test`. Settings of the weights stay as they were when the model was opened.

        Raises:
            MemoryShortError: It does not fit in memory.
            WorkbenchError: llama.cpp refuses it.
        """

    async def close(self) -> None:
        """Release all memory, with that of its contexts."""


class Bencher(Protocol):
    """Opens models for timing."""

    async def machine(self) -> BenchMachine:
        """The machine and the build."""

    async def open(self, case: BenchCase, on_progress: ProgressCallback, cancel: CancelToken) -> BenchTarget:
        """Load the weights of a model.

        Of all cases with these weights, `case` has the longest context: where the number of GPU layers is open, there
        will be room for it beside them.

        Raises:
            WorkbenchError: It cannot be opened; CancelledError when `cancel` was set.
        """


class ConditionWatch(Protocol):
    """Records the conditions during a repetition: other programs, clocks, throttling."""

    async def begin(self) -> None:
        """Start of a repetition."""

    async def end(self) -> Conditions:
        """End of the repetition, and the conditions during it."""
