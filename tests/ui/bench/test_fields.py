"""The fields of the bench: which plan they make, and which field is blamed."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from tests.ui.bench.drive import SERVER
from workbench.core.recipe import Recipe
from workbench.lab.bench.grid import PlanError
from workbench.lab.bench.record import Kind
from workbench.ui.bench.fields import FIELDS, KINDS, fields_of, form_of, plan_of, problem_of, size_text


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("n_prompt", "abc", "-p cannot be 'abc'"),
        ("repetitions", "0", "-r cannot be 0"),
        ("repetitions", "1,2", "-r cannot be '1,2'"),
        ("type_k", "q9", "-ctk cannot be 'q9'"),
        ("n_threads", "-3", "-t cannot be -3"),
        ("n_depth", "1-5*1", "never ends"),
        ("n_gpu_layers", "9" * 1000, "too large"),
        ("flash_attn", "maybe", "-fa cannot be 'maybe'"),
        ("n_batch", "", "-b cannot be ''"),
    ],
)
def test_nonsense_is_blamed_on_its_field(name: str, text: str, said: str) -> None:
    with pytest.raises(PlanError, match=re.escape(said)) as caught:
        plan_of("tests", ["a"], {name: text})
    assert caught.value.field == name


@pytest.mark.parametrize(
    ("kind", "models", "texts"),
    [
        ("tests", ["a", "b"], {"n_prompt": "128,256", "type_k": "q8_0", "n_gpu_layers": "-1", "repetitions": "3"}),
        ("pairs", ["a", "b"], {"pairs": "20", "n_depth": "64"}),
        ("parallel", ["a"], {"sequences": "2,4"}),
        ("felt", ["a"], {"felt": "32,64", "cache": "yes"}),
        ("sweep", [], {"server": f"{SERVER}#m", "concurrency": "1,2", "read": "64"}),
    ],
)
def test_the_form_of_a_command_makes_that_command(kind: Kind, models: list[str], texts: dict[str, str]) -> None:
    command = plan_of(kind, models, texts).command
    found, refs, values = form_of(command)
    assert (found, refs) == (kind, models)
    assert plan_of(found, refs, values).command == command


def test_the_defaults_are_a_plan_of_every_kind() -> None:
    for kind in KINDS:
        plan = plan_of(kind, ["http://127.0.0.1:8000#m"] if kind == "sweep" else ["a", "b"], {})
        assert plan.kind == kind
        assert size_text(plan)
    assert all(not problem_of(field, field.default) for field in FIELDS)


def refusal(kind: Kind, models: Sequence[str], **texts: str) -> PlanError:
    with pytest.raises(PlanError) as caught:
        plan_of(kind, models, texts)
    return caught.value


def test_what_is_no_server_is_refused_at_its_field() -> None:
    for server in ("ftp://x", "http://a:b@c", ""):
        assert refusal("sweep", ["a"], server=server).field == "server"
    assert "latency" in refusal("tests", [f"{SERVER}#m"]).hint
    plan = plan_of("sweep", ["a", f"{SERVER}#m"], {})
    assert plan.sweep is not None
    assert (plan.sweep.server, plan.sweep.model) == (SERVER, "m")


def test_plans_that_make_no_sense_are_refused_at_a_field() -> None:
    assert refusal("tests", ["a"], n_prompt="0", n_gen="0").field == "n_prompt"
    assert refusal("parallel", ["a"], n_batch="2").field == "sequences"
    assert refusal("felt", ["a"], n_gen="0").field == "n_gen"
    assert refusal("felt", ["a"], cache="perhaps").field == "cache"
    assert refusal("felt", ["a"], type_k="f16,q8_0").field == "type_k"
    assert "not 3" in refusal("pairs", ["a", "b", "c"]).message
    assert plan_of("pairs", ["a"], {"type_k": "f16,q8_0"}).pairs == 10
    # Fields of another kind of run are ignored.
    assert plan_of("tests", ["a"], {"pairs": "x"}).pairs is None
    assert "pairs" not in {field.name for field in fields_of("tests")}


def test_what_a_modelfile_says_counts_where_a_field_is_as_it_was_found() -> None:
    recipes = {"a": Recipe(parameters=(("num_thread", 2), ("num_batch", 64))), "b": None}
    plan = plan_of("tests", ["a", "b"], {"n_batch": "128"}, recipes)
    found = [(model, one.n_threads, one.n_batch) for model, one in plan.grid.arms()]
    assert found == [("a", 2, 128), ("b", 0, 128)]
    assert plan.grid.own_words("a") == ("-t 2",)
    assert "-b 128" in " ".join(plan.command)
