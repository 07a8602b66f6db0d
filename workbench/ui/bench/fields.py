"""What the bench screen is told to measure, without any widget: its fields, what is typed there, and the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from workbench.core.errors import ParameterError, WorkbenchError
from workbench.core.recipe import Recipe
from workbench.core.servers import is_server_ref, split_ref
from workbench.core.sweep import MOST_QUESTIONS, MOST_SECONDS, MOST_TOKENS, MOST_USERS, SweepSettings
from workbench.lab.bench.grid import FROM_MODELFILES, OPTIONS, Grid, parse_number, parse_numbers, parse_option
from workbench.lab.bench.plan import BenchPlan, SweepPlan
from workbench.lab.bench.record import Kind

KINDS: tuple[Kind, ...] = ("tests", "pairs", "parallel", "felt", "sweep")
KIND_NAMES: dict[Kind, str] = {
    "tests": "Tests",
    "pairs": "A against B",
    "parallel": "Sequences",
    "felt": "As felt",
    "sweep": "Under load",
}
KIND_WORDS: dict[Kind, str] = {
    "tests": "How fast a prompt is read and an answer written, as llama-bench measures it.",
    "pairs": "Which of two is faster, and by how much: both take turns, pair by pair.",
    "parallel": "Several sequences computed together: what all get, and what each gets.",
    "felt": "What a person waits for: the first words, and the end of the answer.",
    "sweep": "How a server holds up when more and more users ask it at the same time.",
}

MOST_REPETITIONS = 10_000
MORE_PAIRS = 10
"""Pairs that are added to a comparison at once."""


@dataclass(frozen=True, slots=True)
class BenchField:
    """Something that can be typed."""

    name: str
    label: str
    option: str
    """The option of `workbench bench` that says the same."""
    default: str
    about: str
    """What it means, in a sentence."""
    kinds: frozenset[Kind]
    """The kinds of run that it belongs to."""
    single: bool = False
    """Whether it takes one value, and no list."""
    meanings: tuple[tuple[str, str], ...] = ()
    """What single values stand for."""
    wide: bool = False
    """Whether what is typed needs the whole row."""

    @property
    def id(self) -> str:
        """The id of its widget."""
        return f"bench-{self.name}"


_ENGINE: frozenset[Kind] = frozenset({"tests", "pairs", "parallel"})
_ALL: frozenset[Kind] = frozenset(KINDS) - {"sweep"}
_SWEEP: frozenset[Kind] = frozenset({"sweep"})

FIELDS = (
    BenchField("felt", "Prompts", "--felt", "128,512", "Lengths of the prompts that are asked, in tokens.",
               frozenset({"felt"})),
    BenchField("n_prompt", "Prompt", "-p", "512", "Prompt tokens (pp); 0 leaves the test out.", _ENGINE,
               meanings=(("0", "left out"),)),
    BenchField("n_gen", "Generated", "-n", "128", "Generated tokens (tg); 0 leaves the test out.", _ALL,
               meanings=(("0", "left out"),)),
    BenchField("n_depth", "Depth", "-d", "0", "Tokens that are in the context before the clock starts.", _ENGINE),
    BenchField("sequences", "Sequences", "--parallel", "1,2,4,8", "How many sequences are computed together.",
               frozenset({"parallel"})),
    BenchField("repetitions", "Repeats", "-r", "5", "How often each test is repeated. A p95 needs 20.",
               _ALL - {"pairs"}, single=True),
    BenchField("pairs", "Pairs", "--pairs", "10", "How many pairs are run. Decide it before you begin.",
               frozenset({"pairs"}), single=True),
    BenchField("cache", "Ask again", "--cache", "no", "Ask each prompt a second time, from the cache: yes or no.",
               frozenset({"felt"}), single=True),
    BenchField("n_threads", "Threads", "-t", "0", "Threads that compute on the processor; 0 is one a physical core.",
               _ENGINE, meanings=(("0", "one a core"),)),
    BenchField("n_batch", "Batch", "-b", "2048", "Prompt tokens that are handed over at once.", _ENGINE),
    BenchField("n_ubatch", "Small batch", "-ub", "512", "Prompt tokens that are computed at once.", _ENGINE),
    BenchField("type_k", "K type", "-ctk", "f16", "Type of the keys in the cache, such as f16,q8_0.", _ENGINE),
    BenchField("type_v", "V type", "-ctv", "f16", "Type of the values in the cache, such as f16,q8_0.", _ENGINE),
    BenchField("n_gpu_layers", "GPU layers", "-ngl", "-1", "Layers on the GPUs; -1 is as many as fit, 0 is none.",
               _ENGINE, meanings=(("-1", "as many as fit"), ("0", "none"))),
    BenchField("flash_attn", "Flash attn", "-fa", "auto", "Flash attention: on, off or auto.", _ENGINE),
    BenchField("server", "Server", "--server", "", "The server's address, such as http://127.0.0.1:8000#MODEL; "
               "empty for that of the model above.", _SWEEP, single=True, wide=True),
    BenchField("concurrency", "Users", "--concurrency", "1,2,4,8,16", "How many users ask at the same time.", _SWEEP,
               wide=True),
    BenchField("read", "Prompt", "-p", "128", "Prompt tokens; no prompt is asked twice.", _SWEEP, single=True),
    BenchField("written", "Answer", "-n", "64", "The longest answer, in tokens.", _SWEEP, single=True),
    BenchField("questions", "Questions", "-r", "5", "How often each user asks. A p95 needs 20 answers.", _SWEEP,
               single=True),
    BenchField("seconds", "Seconds", "--seconds", "60", "After so long nobody asks any more at a level.", _SWEEP,
               single=True, wide=True),
)  # fmt: skip
"""Everything that can be typed, in the order in which it stands on the screen."""

FIELDS_BY_NAME = {field.name: field for field in FIELDS}
DEFAULTS: Mapping[str, str] = {field.name: field.default for field in FIELDS}
_MOST = {
    "repetitions": MOST_REPETITIONS, "pairs": MOST_REPETITIONS, "read": MOST_TOKENS, "written": MOST_TOKENS,
    "questions": MOST_QUESTIONS, "seconds": MOST_SECONDS,
}  # fmt: skip
"""The largest number that a field takes, where it takes one."""
_YES = {"yes": True, "y": True, "true": True, "1": True, "no": False, "n": False, "false": False, "0": False}


def fields_of(kind: Kind) -> list[BenchField]:
    """The fields that a kind of run has."""
    return [field for field in FIELDS if kind in field.kinds]


def value_of(field: BenchField, text: str) -> object:
    """What was typed into a field.

    Raises:
        WorkbenchError: It is no value of this field.
    """
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
    """What stands beside a field: what its value means, and how it stands to the default."""
    text = text.strip()
    meaning = dict(field.meanings).get(text, "")
    if meaning or text == field.default or not field.default:
        return meaning
    return f"default {field.default}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a run cannot begin."""

    message: str
    field: str = ""
    """The field that is to blame; empty where it is none alone."""


def plan_of(
    kind: Kind, models: Sequence[str], texts: Mapping[str, str], recipes: Mapping[str, Recipe | None] | None = None
) -> BenchPlan | Refusal:
    """What is to be measured.

    Args:
        kind: The kind of run.
        models: References of the models, A first.
        texts: What stands in the fields, by name.
        recipes: What Modelfiles say of some of the models. It counts where a field is as it was found.

    Returns:
        The plan, or why there is none.
    """
    if not models and kind != "sweep":
        return Refusal("No model is chosen.")
    values: dict[str, object] = {}
    for field in fields_of(kind):
        text = texts.get(field.name, field.default)
        if problem := problem_of(field, text):
            return Refusal(problem, field.name)
        values[field.name] = value_of(field, text)
    if kind == "sweep":
        return _sweep(models, values)
    if kind != "felt" and any(map(is_server_ref, models)):
        return Refusal("The model of a server cannot be timed so: measure it as felt, or under load.")
    grid = Grid(tuple(models))
    for name in OPTIONS.values():
        if name in values:
            grid = replace(grid, **{name: values[name]})  # type: ignore[arg-type]
    changed = [field.name for field in fields_of(kind) if texts.get(field.name, field.default) != field.default]
    if kind != "felt":
        grid = grid.described(recipes or {}, FROM_MODELFILES & frozenset(changed))
    plan = BenchPlan(
        grid,
        repetitions=_number(values.get("repetitions", 5)),
        pairs=_number(values["pairs"]) if kind == "pairs" else None,
        felt=values["felt"] if kind == "felt" else (),  # type: ignore[arg-type]
        cache=values.get("cache") is True,
    )
    return _refused(plan) or plan


def _sweep(models: Sequence[str], values: Mapping[str, object]) -> BenchPlan | Refusal:
    """What is asked of a server: the one whose address was typed, else that of the first model that is a server's."""
    typed = values["server"]
    ref = typed if isinstance(typed, str) and typed else next((ref for ref in models if is_server_ref(ref)), None)
    if ref is None:
        return Refusal("Which server? Type its address, or add one of its models.", "server")
    server, model = split_ref(ref)
    settings = SweepSettings(
        levels=values["concurrency"],  # type: ignore[arg-type]
        n_prompt=_number(values["read"]),
        n_gen=_number(values["written"]),
        repetitions=_number(values["questions"]),
        seconds=float(_number(values["seconds"])),
    )
    return BenchPlan(Grid(()), repetitions=settings.repetitions, sweep=SweepPlan(server, settings, model))


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _refused(plan: BenchPlan) -> Refusal | None:
    """What is wrong with a plan whose fields are all right."""
    grid = plan.grid
    if plan.kind == "felt":
        # An answer of no tokens has no first one.
        return (
            Refusal("-n cannot be 0: there would be no answer to wait for.", "n_gen") if not all(grid.n_gen) else None
        )
    try:
        grid.cases()
    except ParameterError as error:
        too_many = bool(grid.sequences) and bool(grid.tests)
        return Refusal(str(error).replace("\n", " "), "sequences" if too_many else "n_prompt")
    arms = len(grid.arms())
    if plan.kind == "pairs" and arms != 2:
        few = "is only one. Add a second model, or give one field two values, such as f16,q8_0."
        many = f"makes {arms}. Two models, or one in two ways, are right."
        return Refusal(f"A comparison needs two, and this {few if arms < 2 else many}")
    return None


def size_text(plan: BenchPlan) -> str:
    """How much there is to measure, in few words."""
    if plan.sweep is not None:
        settings = plan.sweep.settings
        return f"up to {settings.most_requests:,} questions, up to {max(settings.levels)} at a time"
    if plan.kind == "felt":
        answers = len(plan.felt) * plan.repetitions * (1 + plan.cache) * len(dict.fromkeys(plan.grid.models))
        return f"{answers} answers"
    cases = len(plan.grid.cases())
    if plan.pairs is not None:
        tests = cases // 2
        return f"{tests} test{'s' * (tests != 1)}, {plan.pairs} pairs each"
    return f"{cases} test{'s' * (cases != 1)}, {plan.repetitions} times each"
