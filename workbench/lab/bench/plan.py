"""A run as it was asked for: its kind, its checks, the settings that models are loaded with, and its command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from workbench.core.bench import BenchCase, BenchSettings, BenchTest
from workbench.core.bench_loading import as_bench_settings, as_load_settings
from workbench.core.origins import Origins
from workbench.core.parameters import SAMPLING_NAMES, LoadSettings, Sampling
from workbench.core.recipe import Recipe
from workbench.core.servers import is_loopback, is_server_ref, split_ref
from workbench.core.sweep import MOST_QUESTIONS, MOST_SECONDS, MOST_TOKENS, MOST_USERS, SweepSettings
from workbench.lab.bench.grid import FROM_MODELFILES, SETTING_OPTIONS, Grid, PlanError, parse_number, parse_numbers
from workbench.lab.bench.record import Kind

MOST_REPETITIONS = 10_000

SWEEP_LIMITS = {"-p": MOST_TOKENS, "-n": MOST_TOKENS, "-r": MOST_QUESTIONS, "--seconds": MOST_SECONDS}
"""The largest values of a sweep's options."""

LATENCY_MARGIN = 256
"""Tokens of context beyond the longest prompt and answer: a prompt has only about the length that was asked for."""

LOAD_PARAMETERS = {
    "num_thread": "n_threads", "num_thread_batch": "n_threads_batch", "num_batch": "n_batch", "num_ubatch": "n_ubatch",
    "num_gpu": "n_gpu_layers", "num_cpu_moe": "n_cpu_moe", "override_tensor": "tensor_buft_overrides",
    "split_mode": "split_mode", "tensor_split": "tensor_split", "main_gpu": "main_gpu", "devices": "devices",
    "offload_kqv": "no_kv_offload",
    "load_mode": "load_mode", "type_k": "type_k", "type_v": "type_v", "flash_attn": "flash_attn",
    "engine_host": "engine_host",
}  # fmt: skip
"""The load parameters of an ordinary engine that have an option of the bench, and the fields of `Grid` for them."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What is asked of a server."""

    server: str
    """Its address."""
    settings: SweepSettings
    model: str = ""
    """Empty where it has only one."""

    @classmethod
    def parsed(cls, server: str, texts: Mapping[str, str], model: str = "", *, all_levels: bool = False) -> SweepPlan:
        """The plan for a server, from the values of options by their names; one that is missing has its default.

        `model` counts where the address has no `#MODEL`. Raises WorkbenchError where it is no address, or a value is
        not valid.
        """
        url, named = split_ref(server)
        usual = SweepSettings()

        def one(option: str, default: float) -> int:
            text = texts.get(option)
            return round(default) if text is None else parse_number(text, option, 1, SWEEP_LIMITS[option])

        levels = texts.get("--concurrency")
        settings = SweepSettings(
            levels=usual.levels if levels is None else parse_numbers(levels, "--concurrency", 1, MOST_USERS),
            n_prompt=one("-p", usual.n_prompt),
            n_gen=one("-n", usual.n_gen),
            repetitions=one("-r", usual.repetitions),
            seconds=float(one("--seconds", usual.seconds)),
            all_levels=all_levels,
        )
        return cls(url, settings, model or named)

    @property
    def ref(self) -> str:
        """The reference of the model."""
        return f"{self.server}#{self.model}" if self.model else self.server

    @property
    def warning(self) -> str:
        """What the user has to agree to before a server on another machine is loaded; empty for this machine."""
        settings = self.settings
        return (
            ""
            if is_loopback(self.server)
            else (
                f"{self.server} is not on this machine. It will get up to {settings.most_requests:,} questions, up to "
                f"{max(settings.levels)} at the same time, and about {settings.most_tokens:,} tokens to read and write."
            )
        )

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments of `workbench` that reproduce it."""
        settings, usual = self.settings, SweepSettings()
        words = ["bench", "--server", self.server, *(["--model", self.model] if self.model else [])]
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
    """A whole run. The screen and the command line each make one, and `resolved` gives both the same settings."""

    grid: Grid
    repetitions: int = 5
    pairs: int | None = None
    """Pairs of a comparison of two; None for another kind of run."""
    latency: tuple[int, ...] = ()
    """Prompt lengths of a latency test, in tokens; empty for another kind of run."""
    cache: bool = False
    """Whether each of these prompts is asked a second time."""
    seed: int = 1
    warm: bool = True
    sweep: SweepPlan | None = None
    """What is asked of a server; None for another kind of run."""
    configured: LoadSettings = field(default_factory=LoadSettings)
    """The load parameters of the config file, which a latency test starts from."""
    recipes: Mapping[str, Recipe | None] = field(default_factory=dict, hash=False)
    """The Modelfiles of the models, by reference."""

    @property
    def kind(self) -> Kind:
        """Which kind of run it is."""
        if self.sweep is not None:
            return "sweep"
        if self.pairs is not None:
            return "pairs"
        if self.latency:
            return "felt"
        return "parallel" if self.grid.sequences else "tests"

    @property
    def wants_memory_speed(self) -> bool:
        """Whether a figure can be a share of the memory bandwidth."""
        return self.kind == "tests" and any(self.grid.n_gen)

    def resolved(
        self, recipes: Mapping[str, Recipe | None], configured: LoadSettings, given: Iterable[str]
    ) -> BenchPlan:
        """The same plan with everything else that decides how its models are loaded.

        Tests, pairs and parallel sequences start from llama-bench's defaults, a latency test from the load parameters
        of the config file (`configured`), not from those of a conversation. Above them stands each model's Modelfile
        (`recipes`, by reference), and above that the fields of `Grid` that the user has set (`given`).
        """
        given = frozenset(given)
        grid = self.grid.described(recipes, given & FROM_MODELFILES)
        if self.kind == "felt":
            grid = _carrying(replace(grid, given=given & set(SETTING_OPTIONS)), recipes, configured)
        return replace(self, grid=grid, recipes=recipes, configured=configured)

    def sampling_of(self, model: str) -> tuple[Sampling, Origins]:
        """What a latency test samples the answers of a model with: the defaults, its Modelfile, what is kept for it."""
        recipe = self.recipes.get(model) or Recipe()
        sampling, _ = recipe.settings(Sampling(), self.configured)
        names = [name for name, _ in recipe.parameters if name in SAMPLING_NAMES]
        return sampling, {name: "model" if name in recipe.kept else "Modelfile" for name in names}

    def load_of(self, model: str) -> LoadSettings:
        """The settings that a latency test loads a model with."""
        grid = self.grid
        _, load = (self.recipes.get(model) or Recipe()).settings(Sampling(), self.configured)
        first = BenchSettings(**{of: getattr(grid, of)[0] for of in LOAD_PARAMETERS.values()})
        asked = as_load_settings(first, BenchTest(n_prompt=1))
        own = {name: getattr(asked, name) for name, of in LOAD_PARAMETERS.items() if of in grid.given}
        if "num_ubatch" in own and "num_batch" not in own:
            own["num_batch"] = max(load.num_batch, own["num_ubatch"])
        num_ctx = round(max(self.latency) * 1.1) + max(grid.n_gen) + LATENCY_MARGIN
        return replace(load, **own, num_ctx=num_ctx)

    def check(self) -> None:
        """See that it can be measured. Raises ParameterError where it cannot; a PlanError names the field."""
        grid = self.grid
        if self.kind == "sweep":
            return
        if not grid.models:
            raise PlanError("No model is chosen.", "`workbench models` lists them.")
        if self.kind == "felt":
            if not all(grid.n_gen):
                raise PlanError("-n cannot be 0 in a latency test.", "Ask for an answer of one token or more.", "n_gen")
            for name, option in SETTING_OPTIONS.items():
                if len(getattr(grid, name)) > 1:
                    raise PlanError(f"A latency test takes one value for {option}.", "Run it once for each.", name)
            return
        if any(map(is_server_ref, grid.models)):
            hint = "Measure its latency (--felt), or put it under load (--server URL)."
            raise PlanError("A server's model cannot be timed this way.", hint)
        grid.cases()
        arms = 2 if self.is_null_test else len(grid.arms())
        if self.kind == "pairs" and arms != 2:
            hint = (
                "Add a second model, or give one option two values, such as -ctk f16,q8_0. The same model twice shows "
                "what is noise here."
            )
            if arms > 2:
                hint = "Name two models, or one model and one option with two values."
            raise PlanError(f"--pairs compares two models or settings, not {arms}.", hint)

    @property
    def is_null_test(self) -> bool:
        """Whether a model is compared with itself, which shows what is noise on this machine."""
        return self.kind == "pairs" and len(self.grid.models) == 2 and len(self.grid.arms()) == 1

    @property
    def sides(self) -> tuple[Sequence[BenchCase], Sequence[BenchCase]]:
        """The cases of A and those of B, for pairs."""
        cases = self.grid.cases()
        half = len(cases) // 2
        return (cases, cases) if self.is_null_test else (cases[:half], cases[half:])

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
        if self.latency:
            words += ["--felt", ",".join(map(str, self.latency))]
        if self.cache:
            words.append("--cache")
        if self.seed != 1:
            words += ["--seed", str(self.seed)]
        if not self.warm:
            words.append("--no-warmup")
        return tuple(words)


def _carrying(grid: Grid, recipes: Mapping[str, Recipe | None], configured: LoadSettings) -> Grid:
    """A grid that has the configured load parameters as options, so that its command needs no config file.

    What a Modelfile sets stays out: as an option it would win over the Modelfile.
    """
    usual, own, given = as_bench_settings(LoadSettings()), as_bench_settings(configured), set(grid.given)
    described = {name for recipe in recipes.values() if recipe is not None for name, _ in recipe.parameters}
    for parameter, name in LOAD_PARAMETERS.items():
        value = getattr(own, name)
        if name not in given and parameter not in described and value != getattr(usual, name):
            given.add(name)
            grid = replace(grid, **{name: (value,)})  # type: ignore[arg-type]
    return replace(grid, given=frozenset(given))
