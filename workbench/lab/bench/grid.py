"""The grid of a bench: comma lists of options, and the cases they make, ordered so that each model is loaded once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from workbench.core.bench import BenchCase, BenchSettings, BenchTest
from workbench.core.engine_hosts import PROCESS
from workbench.core.errors import ParameterError, did_you_mean
from workbench.core.load_settings import KV_TYPES, LOAD_MODES, SPLIT_MODES
from workbench.core.parameters import parse_value
from workbench.core.recipe import Recipe

FLASH_ATTN = {"on": "on", "1": "on", "off": "off", "0": "off", "auto": "auto", "-1": "auto"}
"""What `-fa` takes, and what it means."""

LARGEST = 10_000_000
"""No number of a list may be larger."""

MOST_VALUES = 1000
"""No list may have more values."""

_RANGE = re.compile(r"(-?\d+)(?:-(\d+)(?:([+*])(\d+))?)?", re.ASCII)


def parse_numbers(text: str, option: str, low: int = 0, high: int = LARGEST) -> tuple[int, ...]:
    """The whole numbers of a comma list; `first-last`, `first-last+step` and `first-last*factor` are ranges.

    Raises:
        ParameterError: It is no such list, or a number is out of range; names `option`.
    """
    found: list[int] = []
    for item in text.split(","):
        match = _RANGE.fullmatch(item.strip())
        if match is None:
            raise ParameterError(
                f"{option} cannot be {text!r}.", "It takes whole numbers with commas between, such as 128,512."
            )
        found += _range(match, text, option)
        if len(found) > MOST_VALUES:
            raise ParameterError(f"{option} {text!r} has more than {MOST_VALUES} values.", "Take larger steps.")
    for number in found:
        if not low <= number <= high:
            raise ParameterError(f"{option} cannot be {number}.", f"It takes numbers from {low} to {high}.")
    return tuple(dict.fromkeys(found))


def _range(match: re.Match[str], text: str, option: str) -> Sequence[int]:
    # A number of a thousand digits would take long to turn into one.
    if any(len(part or "") > 9 for part in match.groups()):
        raise ParameterError(f"{option} {text!r} has a number that is too large.", f"The largest is {LARGEST}.")
    first = int(match[1])
    if match[2] is None:
        return (first,)
    last, step = int(match[2]), int(match[4] or 1)
    factor = match[3] == "*"
    if last < first or step < (2 if factor else 1) or (factor and first < 1):
        raise ParameterError(f"{option} {text!r} has a range that never ends.", "Write first-last+step, such as 1-8+1.")
    numbers = [first]
    while (after := numbers[-1] * step if factor else numbers[-1] + step) <= last and len(numbers) <= MOST_VALUES:
        numbers.append(after)
    return numbers


def parse_number(text: str, option: str, low: int, high: int) -> int:
    """The one whole number of an option that takes no list. Raises ParameterError."""
    numbers = parse_numbers(text, option, low, high)
    if len(numbers) != 1:
        raise ParameterError(f"{option} cannot be {text!r}.", f"It takes a whole number from {low} to {high}.")
    return numbers[0]


def parse_words(text: str, option: str, known: Sequence[str]) -> tuple[str, ...]:
    """The words of a comma list. Raises ParameterError where one of them is none of `known`."""
    words = tuple(dict.fromkeys(word.strip().casefold() for word in text.split(",")))
    for word in words:
        if word not in known:
            hint = did_you_mean(word, known) if word else ""
            raise ParameterError(f"{option} cannot be {word!r}.", hint or f"It takes one of {', '.join(known)}.")
    return words


def parse_pairs(text: str, option: str) -> tuple[int, int]:
    """The two numbers of a test of a prompt and generated tokens together. Raises ParameterError."""
    numbers = text.split(",")
    if len(numbers) != 2:
        raise ParameterError(f"{option} cannot be {text!r}.", "It takes two numbers, such as 512,128.")
    prompt, gen = (parse_numbers(number, option, 1)[0] for number in numbers)
    return prompt, gen


WEIGHTS_FIELDS = (
    "engine_host", "load_mode", "devices", "split_mode", "main_gpu", "n_gpu_layers", "n_cpu_moe", "tensor_split",
    "tensor_buft_overrides",
)  # fmt: skip
"""The fields of `BenchSettings` that the weights are loaded with."""
_LOADED_FIRST = (
    *WEIGHTS_FIELDS, "no_kv_offload", "n_batch", "n_ubatch", "type_k", "type_v", "flash_attn", "n_threads",
    "n_threads_batch",
)  # fmt: skip
"""All of them in the order in which they vary: those that need a load change least often."""


class PlanError(ParameterError):
    """A measurement that makes no sense; `field` is the field of the form to blame, empty where it is none alone."""

    def __init__(self, message: str, hint: str = "", field: str = "") -> None:
        super().__init__(message, hint)
        self.field = field


@dataclass(frozen=True, slots=True)
class Grid:
    """Everything that is timed: the cross product of the lists."""

    models: tuple[str, ...]
    n_prompt: tuple[int, ...] = (512,)
    n_gen: tuple[int, ...] = (128,)
    n_pg: tuple[tuple[int, int], ...] = ()
    n_depth: tuple[int, ...] = (0,)
    n_threads: tuple[int, ...] = (0,)
    n_threads_batch: tuple[int, ...] = (0,)
    n_batch: tuple[int, ...] = (2048,)
    n_ubatch: tuple[int, ...] = (512,)
    n_gpu_layers: tuple[int, ...] = (-1,)
    n_cpu_moe: tuple[int, ...] = (0,)
    tensor_buft_overrides: tuple[str, ...] = ("",)
    split_mode: tuple[str, ...] = ("layer",)
    tensor_split: tuple[str, ...] = ("",)
    main_gpu: tuple[int, ...] = (0,)
    devices: tuple[str, ...] = ("auto",)
    no_kv_offload: tuple[int, ...] = (0,)
    load_mode: tuple[str, ...] = ("mmap",)
    type_k: tuple[str, ...] = ("f16",)
    type_v: tuple[str, ...] = ("f16",)
    flash_attn: tuple[str, ...] = ("auto",)
    engine_host: tuple[str, ...] = (PROCESS,)
    sequences: tuple[int, ...] = ()
    """Numbers of sequences that are computed together; empty for the ordinary tests of one."""
    own: Mapping[str, Mapping[str, int | str]] = field(default_factory=dict, hash=False)
    """By model: the fields that its Modelfile sets, or that are kept for it."""
    given: frozenset[str] = frozenset()
    """The fields that the user has set for all models, against their Modelfiles."""

    def described(self, recipes: Mapping[str, Recipe | None], given: Iterable[str]) -> Grid:
        """The same with what the Modelfiles of the models set, except for the fields that were `given`."""
        own = {model: values for model in self.models if (values := _said_by(recipes.get(model) or Recipe()))}
        return replace(self, own=own, given=frozenset(given) if own else frozenset())

    def own_words(self, model: str) -> tuple[str, ...]:
        """What the Modelfile of a model sets and no option overrides, as options."""
        return tuple(f"{SETTING_OPTIONS[name]} {value}" for name, value in self._own(model).items())

    def _own(self, model: str) -> Mapping[str, int | str]:
        given = self.given | ({"n_ubatch"} if "n_batch" in self.given else set())
        return {name: value for name, value in self.own.get(model, {}).items() if name not in given}

    @property
    def tests(self) -> tuple[BenchTest, ...]:
        """The tests, without how they are computed. A length of 0 leaves a test out."""
        found = []
        for depth in self.n_depth:
            if self.sequences:
                ways = product(self.n_prompt, self.n_gen, self.sequences)
                found += [BenchTest(prompt, gen, depth, count) for prompt, gen, count in ways]
            else:
                lengths = [*((prompt, 0) for prompt in self.n_prompt), *((0, gen) for gen in self.n_gen), *self.n_pg]
                found += [BenchTest(prompt, gen, depth) for prompt, gen in lengths]
        return tuple(dict.fromkeys(test for test in found if test.n_prompt or test.n_gen))

    def arms(self) -> tuple[tuple[str, BenchSettings], ...]:
        """Every model in every way, those that share weights beside each other."""
        return tuple((model, settings) for model in dict.fromkeys(self.models) for settings in self._ways(model))

    def _ways(self, model: str) -> tuple[BenchSettings, ...]:
        own = self._own(model)
        values = ((own[name],) if name in own else getattr(self, name) for name in _LOADED_FIRST)
        ways = (BenchSettings(**dict(zip(_LOADED_FIRST, way, strict=True))) for way in product(*values))
        return tuple(replace(way, n_ubatch=min(way.n_ubatch, way.n_batch)) for way in ways)

    def cases(self) -> tuple[BenchCase, ...]:
        """Everything, in order. Raises PlanError: nothing to time, or a batch without room for all sequences."""
        tests = self.tests
        if not tests:
            raise PlanError("There is nothing to time.", "Give -p or -n a length above 0.", "n_prompt")
        arms = self.arms()
        smallest = min((settings.n_batch for _, settings in arms), default=min(self.n_batch))
        if max(self.sequences, default=1) > smallest:
            raise PlanError(
                f"A batch of {smallest} tokens cannot hold one of each of {max(self.sequences)} sequences.",
                "Make -b larger, or --parallel smaller.",
                "sequences",
            )
        return tuple(BenchCase(model, settings, test) for model, settings in arms for test in tests)

    def arguments(self) -> tuple[str, ...]:
        """The same as arguments of `workbench bench`: the models, and what differs from the defaults."""
        default = Grid(())
        words = list(self.models)
        for option, name in OPTIONS.items():
            values = getattr(self, name)
            if values != getattr(default, name) or name in self.given:
                words += (option, ",".join(map(str, values)))
        for prompt, gen in self.n_pg:
            words += ("-pg", f"{prompt},{gen}")
        return tuple(words)


UBATCH = 512
"""Tokens that are computed at once, at most, where a Modelfile sets `num_batch`."""
_PARAMETERS = {
    "num_gpu": "n_gpu_layers", "num_thread": "n_threads", "num_batch": "n_batch",
    "num_thread_batch": "n_threads_batch", "num_ubatch": "n_ubatch", "num_cpu_moe": "n_cpu_moe",
    "type_k": "type_k", "type_v": "type_v", "flash_attn": "flash_attn",
}  # fmt: skip
"""The parameters of a model that llama-bench has an option for; the context is as long as each test needs."""
FROM_MODELFILES = frozenset(_PARAMETERS.values())
"""The fields of `Grid` that a Modelfile can set."""


def _said_by(recipe: Recipe) -> dict[str, int | str]:
    """The fields of `Grid` that a Modelfile sets, or that are kept for a model."""
    said = dict(recipe.parameters)
    found = {name: value for own, name in _PARAMETERS.items() if isinstance(value := said.get(own), int | str)}
    if isinstance(batch := found.get("n_batch"), int):
        found.setdefault("n_ubatch", min(batch, UBATCH))
    return found


OPTIONS = {
    "-p": "n_prompt",
    "-n": "n_gen",
    "-d": "n_depth",
    "-t": "n_threads",
    "-tb": "n_threads_batch",
    "-b": "n_batch",
    "-ub": "n_ubatch",
    "-ngl": "n_gpu_layers",
    "-ncmoe": "n_cpu_moe",
    "-ot": "tensor_buft_overrides",
    "-sm": "split_mode",
    "-ts": "tensor_split",
    "-mg": "main_gpu",
    "-dev": "devices",
    "-nkvo": "no_kv_offload",
    "-lm": "load_mode",
    "-ctk": "type_k",
    "-ctv": "type_v",
    "-fa": "flash_attn",
    "--build": "engine_host",
    "--parallel": "sequences",
}
"""The options that take a comma list, and the fields of `Grid` that they fill."""

SETTING_OPTIONS = {name: option for option, name in OPTIONS.items() if name in _LOADED_FIRST}
"""The fields of `BenchSettings`, and their options."""


def differing_options(ways: Sequence[BenchSettings]) -> list[list[str]]:
    """For each of these settings, as options: those in which they are not all the same."""
    names = [name for name in SETTING_OPTIONS if len({getattr(way, name) for way in ways}) > 1]
    return [[f"{SETTING_OPTIONS[name]} {getattr(way, name)}" for name in names] for way in ways]


_BOUNDS = {
    "-t": (0, 512), "-tb": (0, 512), "-b": (1, LARGEST), "-ub": (1, LARGEST), "-ngl": (-1, LARGEST),
    "-ncmoe": (-1, 512), "-mg": (0, 255), "-nkvo": (0, 1), "--parallel": (1, 256),
}  # fmt: skip
"""The range of an option where it is not 0 to `LARGEST`; 512 threads and 256 sequences are llama.cpp's limits."""


_WORDS = {"-ctk": KV_TYPES, "-ctv": KV_TYPES, "-sm": SPLIT_MODES, "-lm": LOAD_MODES}
_LISTS = {"-ot": ("override_tensor", ";"), "-ts": ("tensor_split", "/"), "-dev": ("devices", "/")}
"""Options with a list in each value: the load parameter of the list, and its separator."""


def _parse_list(text: str, option: str) -> str:
    name, separator = _LISTS[option]
    text = text.strip()
    # llama-bench takes both.
    found = parse_value(name, text.replace(";", separator) if option == "-ts" else text)
    return separator.join(found) if isinstance(found, tuple) else text


def parse_option(option: str, text: str) -> tuple[int, ...] | tuple[str, ...]:
    """The values of one of `OPTIONS`. Raises ParameterError."""
    if option in _WORDS:
        return parse_words(text, option, _WORDS[option])
    if option in _LISTS:
        return tuple(dict.fromkeys(_parse_list(item, option) for item in text.split(",")))
    if option == "-fa":
        return tuple(dict.fromkeys(FLASH_ATTN[word] for word in parse_words(text, option, tuple(FLASH_ATTN))))
    if option == "--build":
        return tuple(dict.fromkeys(str(parse_value("engine_host", name)) for name in text.split(",")))
    return parse_numbers(text, option, *_BOUNDS.get(option, (0, LARGEST)))
