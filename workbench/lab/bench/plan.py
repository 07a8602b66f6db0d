"""What is asked for, as a whole: the kind of run, and the command that makes it again."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.core.servers import is_loopback
from workbench.core.sweep import SweepSettings
from workbench.lab.bench.grid import Grid
from workbench.lab.bench.record import Kind


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What is asked of a server."""

    server: str
    """Its address."""
    settings: SweepSettings
    model: str = ""
    """Empty where it has only one."""

    @property
    def ref(self) -> str:
        """The reference of the model."""
        return f"{self.server}#{self.model}" if self.model else self.server

    @property
    def warning(self) -> str:
        """What has to be agreed to before a server is loaded that is not on this machine; empty where it is."""
        if is_loopback(self.server):
            return ""
        settings = self.settings
        return (
            f"{self.server} is not on this machine. It will get up to {settings.most_requests:,} questions, up to "
            f"{max(settings.levels)} at the same time, and about {settings.most_tokens:,} tokens to read and write."
        )

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments of `workbench` that reproduce it."""
        settings, usual = self.settings, SweepSettings()
        words = ["bench", "--server", self.server]
        if self.model:
            words += ["--model", self.model]
        words += ["--concurrency", ",".join(map(str, settings.levels))]
        for option, value, default in (
            ("-p", settings.n_prompt, usual.n_prompt),
            ("-n", settings.n_gen, usual.n_gen),
            ("-r", settings.repetitions, usual.repetitions),
            ("--seconds", round(settings.seconds), usual.seconds),
        ):
            if value != default:
                words += [option, str(value)]
        return (*words, "--all-levels") if settings.all_levels else tuple(words)


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """A whole run: what is measured, and in which way."""

    grid: Grid
    repetitions: int = 5
    pairs: int | None = None
    """Pairs of a comparison of two; None for what is none."""
    felt: tuple[int, ...] = ()
    """Lengths of prompts for what the user feels; empty for another kind of run."""
    cache: bool = False
    """Whether each of these prompts is asked a second time."""
    seed: int = 1
    warm: bool = True
    sweep: SweepPlan | None = None
    """What is asked of a server; None for another kind of run."""

    @property
    def kind(self) -> Kind:
        """Which kind of run it is."""
        if self.sweep is not None:
            return "sweep"
        if self.pairs is not None:
            return "pairs"
        if self.felt:
            return "felt"
        return "parallel" if self.grid.sequences else "tests"

    @property
    def wants_memory_speed(self) -> bool:
        """Whether a figure can be a share of the memory bandwidth."""
        return self.kind == "tests" and any(self.grid.n_gen)

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments of `workbench` that reproduce it."""
        if self.sweep is not None:
            return self.sweep.command
        words = ["bench", *self.grid.arguments()]
        if self.repetitions != 5:
            words += ["-r", str(self.repetitions)]
        if self.pairs is not None:
            words += ["--pairs", str(self.pairs)]
        if self.felt:
            words += ["--felt", ",".join(map(str, self.felt))]
        if self.cache:
            words.append("--cache")
        if self.seed != 1:
            words += ["--seed", str(self.seed)]
        if not self.warm:
            words.append("--no-warmup")
        return tuple(words)
