"""What is asked for, as a whole: the kind of run, and the command that makes it again."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.lab.bench_grid import Grid
from workbench.lab.bench_record import Kind


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

    @property
    def kind(self) -> Kind:
        """Which kind of run it is."""
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
