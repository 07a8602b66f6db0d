"""A bencher whose models take as long as a test says, and that writes down what is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from workbench.core.bench import (
    BenchCase,
    BenchMachine,
    BenchModel,
    BenchSettings,
    BenchTest,
    Conditions,
    RunTime,
)
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, WorkbenchError

MACHINE = BenchMachine("0c1e570", "a processor", "", "CPU", 4, 2**34, "Linux", (("workbench", "0.1.0"),))


def model_of(ref: str, gpu_layers: int = 0) -> BenchModel:
    return BenchModel(
        ref=ref,
        name=ref,
        quant="Q4_0",
        path=f"/models/{ref}.gguf",
        file_bytes=1000,
        modified_ns=5,
        digest=None,
        description="llama 1B Q4_0",
        weights_bytes=1_000_000,
        parameters=2_000_000,
        backend="CPU",
        gpu_layers=gpu_layers,
        n_threads=4,
        read_bytes=1_000_000,
    )


@dataclass
class FakeBencher:
    """Each repetition takes `seconds(ref, test, number)` on a clock of its own; nobody waits."""

    seconds: Callable[[str, BenchTest, int], float] = lambda ref, test, number: 1.0
    errors: dict[str, WorkbenchError] = field(default_factory=dict)
    """By reference: why it cannot be opened."""
    context_errors: dict[str, WorkbenchError] = field(default_factory=dict)
    """By the label of a test: why there is no context for it."""
    stop_after: int | None = None
    """The cancel token goes up within this repetition, counted from 0."""
    log: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    opened: list[BenchCase] = field(default_factory=list)
    now_s: float = 0.0
    loaded: int = 0
    most_loaded: int = 0
    contexts: int = 0
    count: int = 0

    def clock(self) -> float:
        return self.now_s

    async def machine(self) -> BenchMachine:
        return MACHINE

    async def open(self, case, on_progress, cancel):
        ref, settings = case.ref, case.settings
        self.opened.append(case)
        if cancel.is_set:
            raise CancelledError("Loading was stopped.")
        self.log.append(f"load {ref}")
        if ref in self.errors:
            raise self.errors[ref]
        on_progress(0.5)
        on_progress(1.0)
        self.loaded += 1
        self.most_loaded = max(self.most_loaded, self.loaded)
        return FakeTarget(self, model_of(ref, max(0, settings.n_gpu_layers)))


@dataclass
class FakeTarget:
    bencher: FakeBencher
    model: BenchModel

    async def prepare(self, settings: BenchSettings, test: BenchTest) -> FakeRun:
        if test.label in self.bencher.context_errors:
            raise self.bencher.context_errors[test.label]
        self.bencher.contexts += 1
        return FakeRun(self.bencher, BenchCase(self.model.ref, settings, test))

    async def close(self) -> None:
        self.bencher.loaded -= 1
        self.bencher.log.append(f"close {self.model.ref}")


@dataclass
class FakeRun:
    bencher: FakeBencher
    case: BenchCase
    open: bool = True

    async def warm_up(self, cancel: CancelToken) -> float:
        self.bencher.log.append(f"warm {self.case.ref} {self.case.test.label}")
        return self.bencher.seconds(self.case.ref, self.case.test, self.bencher.count)

    async def repeat(self, seed: int, cancel: CancelToken) -> RunTime:
        bencher, test = self.bencher, self.case.test
        assert self.open
        if bencher.count == bencher.stop_after:
            cancel.set()
        if cancel.is_set:
            raise CancelledError("The measurement was stopped.")
        seconds = bencher.seconds(self.case.ref, test, bencher.count)
        bencher.count += 1
        bencher.now_s += seconds
        bencher.seeds.append(seed)
        bencher.log.append(f"run {self.case.ref} {test.label}")
        ns = round(seconds * 1e9)
        prompt = ns * test.n_prompt // (test.n_prompt + test.n_gen)
        return RunTime(prompt, ns - prompt, ns)

    async def close(self) -> None:
        if self.open:
            self.open = False
            self.bencher.contexts -= 1


@dataclass
class FakeWatch:
    """Tells, for each repetition in turn, what went on; nothing after the last."""

    conditions: list[Conditions] = field(default_factory=list)
    running: bool = False

    async def begin(self) -> None:
        assert not self.running
        self.running = True

    async def end(self) -> Conditions:
        assert self.running
        self.running = False
        return self.conditions.pop(0) if self.conditions else Conditions()


def case(ref: str = "a", test: BenchTest | None = None, **settings) -> BenchCase:
    return BenchCase(ref, replace(BenchSettings(), **settings), test or BenchTest(n_gen=10))
