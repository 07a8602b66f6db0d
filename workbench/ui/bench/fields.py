"""The form of the bench, without any widget: its fields, the values typed there, and the plan that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.core.errors import ParameterError, WorkbenchError
from workbench.core.parameters import LoadSettings
from workbench.core.recipe import Recipe
from workbench.core.servers import is_server_ref, split_ref
from workbench.core.sweep import MOST_USERS
from workbench.lab.bench.grid import OPTIONS, Grid, PlanError, parse_number, parse_numbers, parse_option
from workbench.lab.bench.plan import MOST_REPETITIONS, SWEEP_LIMITS, BenchPlan, SweepPlan
from workbench.lab.bench.record import Kind
from workbench.ui.kit import figures as fmt

KINDS: tuple[Kind, ...] = ("tests", "pairs", "parallel", "felt", "sweep")
KIND_NAMES: dict[Kind, str] = {
    "tests": "Tests",
    "pairs": "A against B",
    "parallel": "Sequences",
    "felt": "Latency",
    "sweep": "Under load",
}
KIND_WORDS: dict[Kind, str] = {
    "tests": "The speed of prefill and decode, as llama-bench measures it.",
    "pairs": "Which of two is faster, and by how much: both take turns, pair by pair.",
    "parallel": "Several sequences computed together: the speed of all, and of each.",
    "felt": "How long a user waits: for the first token, and for the end of the answer.",
    "sweep": "A server that more and more users ask at the same time.",
}

MORE_PAIRS = 10
"""Pairs that are added to a comparison at once."""


@dataclass(frozen=True, slots=True)
class BenchField:
    """A field of the form."""

    name: str
    label: str
    option: str
    """The option of `workbench bench` with the same meaning."""
    default: str
    about: str
    """Its meaning, in a sentence."""
    kinds: frozenset[Kind]
    """The kinds of run that have it."""
    single: bool = False
    """Whether it takes one value instead of a list."""
    meanings: tuple[tuple[str, str], ...] = ()
    """The meaning of single values."""
    wide: bool = False
    """Whether the value needs the whole row."""

    @property
    def id(self) -> str:
        return f"bench-{self.name}"


_ENGINE: frozenset[Kind] = frozenset({"tests", "pairs", "parallel"})
_LOAD: frozenset[Kind] = _ENGINE | {"felt"}
_ALL: frozenset[Kind] = frozenset(KINDS) - {"sweep"}
_SWEEP: frozenset[Kind] = frozenset({"sweep"})

FIELDS = (
    BenchField("felt", "Prompts", "--felt", "128,512", "Lengths of the prompts, in tokens.",
               frozenset({"felt"})),
    BenchField("n_prompt", "Prompt", "-p", "512", "Prompt tokens (pp); 0 leaves the test out.", _ENGINE,
               meanings=(("0", "left out"),)),
    BenchField("n_gen", "Generated", "-n", "128", "Generated tokens (tg); 0 leaves the test out.", _ALL,
               meanings=(("0", "left out"),)),
    BenchField("n_depth", "Depth", "-d", "0", "Tokens in the context before the clock starts.", _ENGINE),
    BenchField("sequences", "Sequences", "--parallel", "1,2,4,8",
               "Numbers of sequences computed together, such as 1,2,4,8.", frozenset({"parallel"})),
    BenchField("repetitions", "Repeats", "-r", "5", "Repetitions of each test. A p95 needs 20.",
               _ALL - {"pairs"}, single=True),
    BenchField("pairs", "Pairs", "--pairs", "10", "The number of pairs. Decide it before you start.",
               frozenset({"pairs"}), single=True),
    BenchField("cache", "Ask again", "--cache", "no", "Ask each prompt a second time, from the cache: yes or no.",
               frozenset({"felt"}), single=True),
    BenchField("n_threads", "Threads", "-t", "0", "Threads of the CPU; 0 is one for each physical core.",
               _LOAD, meanings=(("0", "one per core"),)),
    BenchField("n_threads_batch", "Prompt threads", "-tb", "0", "Threads that compute prompts; 0 is as many as -t.",
               frozenset()),
    BenchField("n_batch", "Batch", "-b", "2048", "Logical batch: prompt tokens submitted at once.", _ENGINE),
    BenchField("n_ubatch", "Micro-batch", "-ub", "512", "Physical batch: prompt tokens computed at once.", _LOAD),
    BenchField("type_k", "K type", "-ctk", "f16", "Type of the keys in the KV cache, such as q8_0.", _LOAD),
    BenchField("type_v", "V type", "-ctv", "f16", "Type of the values in the KV cache, such as q8_0.", _LOAD),
    BenchField("n_gpu_layers", "GPU layers", "-ngl", "-1", "Layers on the GPUs; -1 is as many as fit, 0 is none.",
               _LOAD, meanings=(("-1", "as many as fit"), ("0", "none"))),
    BenchField("n_cpu_moe", "CPU experts", "-ncmoe", "0", "Layers, from the first, with their experts on the CPU; "
               "-1 is all.", _LOAD, meanings=(("0", "none"), ("-1", "all layers"))),
    BenchField("no_kv_offload", "KV on CPU", "-nkvo", "0", "1 keeps the KV cache off the GPUs.", _LOAD,
               meanings=(("0", "on the GPUs"), ("1", "in RAM"))),
    BenchField("devices", "GPUs", "-dev", "auto", "The GPUs by name, such as CUDA0/CUDA1; auto is all, none is none.",
               _LOAD),
    BenchField("split_mode", "Split", "-sm", "layer", "How several GPUs share the model: layer, row or none.", _LOAD),
    BenchField("tensor_split", "Shares", "-ts", "", "Shares of the GPUs, such as 3/1; empty is by their free memory.",
               _LOAD),
    BenchField("main_gpu", "Main GPU", "-mg", "0", "The only GPU where the split is none, by its number.", _LOAD),
    BenchField("load_mode", "Load mode", "-lm", "mmap", "How the file is read: mmap, mlock, mmap+mlock, dio or none.",
               _LOAD),
    BenchField("tensor_buft_overrides", "Overrides", "-ot", "", "Devices of tensors by patterns, such as "
               "blk.0.=CPU;output=CUDA0.", _LOAD, wide=True),
    BenchField("flash_attn", "Flash attn", "-fa", "auto", "Flash attention: on, off or auto.", _LOAD),
    BenchField("engine_host", "Engine", "--build", "process", "process is in process, child is a process of its own; "
               "or a build of the config.", _LOAD, wide=True),
    BenchField("server", "Server", "--server", "", "The server's address, such as http://127.0.0.1:8000#MODEL; "
               "empty for that of the model above.", _SWEEP, single=True, wide=True),
    BenchField("concurrency", "Users", "--concurrency", "1,2,4,8,16", "Numbers of users who ask at the same time.",
               _SWEEP, wide=True),
    BenchField("read", "Prompt", "-p", "128", "Prompt tokens; no prompt is asked twice.", _SWEEP, single=True),
    BenchField("written", "Answer", "-n", "64", "The longest answer, in tokens.", _SWEEP, single=True),
    BenchField("questions", "Questions", "-r", "5", "Questions of each user. A p95 needs 20 answers.", _SWEEP,
               single=True),
    BenchField("seconds", "Seconds", "--seconds", "60", "The longest time of a level, in seconds.", _SWEEP,
               single=True, wide=True),
)  # fmt: skip
"""All fields, in the order of the screen."""

FIELDS_BY_NAME = {field.name: field for field in FIELDS}
_MOST = {"repetitions": MOST_REPETITIONS, "pairs": MOST_REPETITIONS} | {
    field.name: SWEEP_LIMITS[field.option] for field in FIELDS if field.kinds == _SWEEP and field.option in SWEEP_LIMITS
}
"""The largest value of a field that takes one number."""
_YES = {"yes": True, "y": True, "true": True, "1": True, "no": False, "n": False, "false": False, "0": False}


def fields_of(kind: Kind) -> list[BenchField]:
    """The fields that a kind of run has."""
    return [field for field in FIELDS if kind in field.kinds]


def takes_list(field: BenchField, kind: Kind) -> bool:
    """Whether a field takes a list; a latency test loads a model in one way."""
    return not field.single and not (kind == "felt" and field.kinds == _LOAD)


def value_of(field: BenchField, text: str) -> object:
    """The value that was typed into a field. Raises WorkbenchError where it is none of this field."""
    text = text.strip()
    if field.name == "cache":
        if text.casefold() not in _YES:
            raise ParameterError(f"{field.option} cannot be {text!r}.", "It takes yes or no.")
        return _YES[text.casefold()]
    if field.name in _MOST:
        return parse_number(text, field.option, 1, _MOST[field.name])
    if field.name == "concurrency":
        return parse_numbers(text, field.option, 1, MOST_USERS)
    if field.name == "server":
        if text:
            split_ref(text)
        return text
    if field.name == "felt":
        return parse_numbers(text, field.option, 1)
    return parse_option(field.option, text)


def problem_of(field: BenchField, text: str) -> str:
    """Why a text is no value of a field, in words; empty where it is one."""
    try:
        value_of(field, text)
    except WorkbenchError as error:
        return str(error).replace("\n", " ")
    return ""


def note_of(field: BenchField, text: str) -> str:
    """The note beside a field: the meaning of its value, or the default where it has another value."""
    text = text.strip()
    meaning = dict(field.meanings).get(text, "")
    if meaning or text == field.default or not field.default:
        return meaning
    return f"default {field.default}"


def plan_of(
    kind: Kind,
    models: Sequence[str],
    texts: Mapping[str, str],
    recipes: Mapping[str, Recipe | None] | None = None,
    configured: LoadSettings | None = None,
) -> BenchPlan:
    """The plan that the form makes, for the references of models, A first, and the values in the fields by name.

    `recipes`, the Modelfiles of the models, count where a field has its default; `configured` are the load parameters
    of the config file. Raises PlanError, which names the field to blame.
    """
    if not models and kind != "sweep":
        raise PlanError("No model is chosen.")
    values: dict[str, Any] = {}
    for field in fields_of(kind):
        text = texts.get(field.name, field.default)
        if problem := problem_of(field, text):
            raise PlanError(problem, field=field.name)
        values[field.name] = value_of(field, text)
    if kind == "sweep":
        written = {field.option: texts.get(field.name, field.default) for field in fields_of(kind)}
        # The server whose address was typed, or else that of the first model of a server.
        ref = values["server"] or next(filter(is_server_ref, models), None)
        if ref is None:
            raise PlanError("Which server? Type its address, or add one of its models.", field="server")
        sweep = SweepPlan.parsed(ref, written)
        return BenchPlan(Grid(()), repetitions=sweep.settings.repetitions, sweep=sweep)
    plan = BenchPlan(
        Grid(tuple(models), **{name: values[name] for name in OPTIONS.values() if name in values}),
        repetitions=values.get("repetitions", 5),
        pairs=values["pairs"] if kind == "pairs" else None,
        latency=values["felt"] if kind == "felt" else (),
        cache=values.get("cache") is True,
    )
    changed = {field.name for field in fields_of(kind) if texts.get(field.name, field.default) != field.default}
    plan = plan.resolved(recipes or {}, configured or LoadSettings(), changed)
    plan.check()
    return plan


_FLAGS = {"--cache", "--no-warmup", "--all-levels"}
_BY_OPTION: tuple[tuple[str, Kind], ...] = (
    ("--server", "sweep"), ("--pairs", "pairs"), ("--felt", "felt"), ("--parallel", "parallel"),
)  # fmt: skip
"""The options that make a run one of another kind than tests."""


def form_of(command: Sequence[str]) -> tuple[Kind, list[str], dict[str, str]]:
    """The form that makes a command of `workbench bench`: the kind of run, the models, and the values by field.

    What the form has no field for is left out.
    """
    models: list[str] = []
    options: dict[str, str] = {}
    words = iter(command[1:])
    for word in words:
        if word in _FLAGS:
            options[word] = "yes"
        elif word.startswith("-"):
            options[word] = next(words, "")
        else:
            models.append(word)
    if "--model" in options:
        options["--server"] = f"{options.get('--server', '')}#{options['--model']}"
    kind: Kind = next((kind for option, kind in _BY_OPTION if option in options), "tests")
    return kind, models, {each.name: options[each.option] for each in fields_of(kind) if each.option in options}


def size_text(plan: BenchPlan) -> str:
    """The size of a plan, in few words."""
    if plan.sweep is not None:
        settings = plan.sweep.settings
        return f"up to {settings.most_requests:,} questions, up to {max(settings.levels)} at a time"
    if plan.kind == "felt":
        answers = len(plan.latency) * plan.repetitions * (1 + plan.cache) * len(dict.fromkeys(plan.grid.models))
        return fmt.counted(answers, "answer")
    cases = len(plan.grid.cases())
    if plan.pairs is not None:
        return f"{fmt.counted(cases // 2, 'test')}, {fmt.counted(plan.pairs, 'pair')} each"
    return f"{fmt.counted(cases, 'test')}, {fmt.counted(plan.repetitions, 'time')} each"
