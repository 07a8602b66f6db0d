"""Mutants of the headers of real and toy models: what passes the check ends no process when it is loaded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.reliability.conftest import MUTANTS
from tests.reliability.loading import Loader
from tests.reliability.mutants import Mutator, Parts, take_apart
from tests.reliability.toys import TOYS
from workbench.core.errors import ModelFileError
from workbench.gguf.check import check_loadable
from workbench.gguf.files import read_fit_model, read_report
from workbench.gguf.fit import FitModel, FitQuestion
from workbench.gguf.kinds import DECODERS
from workbench.gguf.shares import DeviceRoom, Room

ROOM = Room(DeviceRoom("CPU", 2**36), (DeviceRoom("GPU", 2**33, 2**29),))
QUESTIONS = [
    FitQuestion(4096),
    FitQuestion(2**20, type_k="q8_0", type_v="q4_0", gpu_layers=1),
    FitQuestion(1, ubatch=1, flash_attention=False, mapped=False),
]
DEMO_EVERY = 40
"""One in so many mutants is of the demo model, whose vocabulary takes long to read."""


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    made = Loader(tmp_path_factory.mktemp("loader") / "loader.log")
    yield made
    made.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, short_demo: Path) -> dict[str, Parts]:
    folder = tmp_path_factory.mktemp("toys")
    toys = {name: take_apart(make(folder / f"{name}.gguf")) for name, make in TOYS.items()}
    return toys | {"demo": take_apart(short_demo, data=False)}


def price(model: FitModel) -> None:
    for question in QUESTIONS:
        fit = model.price(question, ROOM)
        assert fit.total_bytes >= 0
        assert 0 <= model.most_layers(question, ROOM) <= model.layers
        assert model.largest_context(question, ROOM) >= 0


def test_the_toy_models_answer(tmp_path: Path, loader: Loader) -> None:
    for name, make in TOYS.items():
        assert loader.load(make(tmp_path / f"{name}.gguf")) == "answered: Finished", name


@pytest.mark.timeout(3600)
def test_mutants_of_headers(
    tmp_path: Path, models: dict[str, Parts], loader: Loader, cases: Callable[[int], int], seed: str
) -> None:
    toys = [name for name in models if name != "demo"]
    counts: Counter[str] = Counter()
    ended = []
    path = tmp_path / "mutant.gguf"
    for number in range(cases(MUTANTS)):
        name = "demo" if number % DEMO_EVERY == DEMO_EVERY - 1 else toys[number % len(toys)]
        mutator = Mutator(models[name], Random(f"{seed} {number}"))
        mutator.write(path)
        with suppress(ModelFileError):
            read_report(path, lambda template, facts: "")
        try:
            check_loadable(path)
        except ModelFileError:
            counts["refused"] += 1
            continue
        counts["passed"] += 1
        price(read_fit_model(path, None, frozenset()))
        said = loader.load(path)
        kind, _, _ = said.partition(":")
        counts[f"then {kind}"] += 1
        if kind not in {"answered", "refused"}:
            ended.append((number, name, mutator.last, said, loader.said()))
    print(json.dumps(counts))
    assert not ended, ended
    assert counts["then answered"] > counts["passed"] / 4


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_toys_under_the_names_of_all_architectures(tmp_path: Path, models: dict[str, Parts], loader: Loader) -> None:
    path = tmp_path / "m.gguf"
    counts: Counter[str] = Counter()
    ended = []
    for name in TOYS:
        toy = models[name]
        for architecture in sorted(DECODERS):
            named = renamed(toy, architecture.encode())
            named.lay_out()
            path.write_bytes(named.header() + toy.data)
            try:
                check_loadable(path)
            except ModelFileError:
                counts["refused"] += 1
                continue
            said = loader.load(path)
            kind, _, _ = said.partition(":")
            counts[f"then {kind}"] += 1
            if kind not in {"answered", "refused"}:
                ended.append((name, architecture, said, loader.said()))
    print(json.dumps(counts))
    assert not ended


def renamed(parts: Parts, architecture: bytes) -> Parts:
    """A model that says that it is of another architecture, with its keys."""
    old = parts.arch()
    keys = [
        replace(
            key,
            name=architecture + key.name.removeprefix(old) if key.name.startswith(old + b".") else key.name,
            value=architecture if key.name == b"general.architecture" else key.value,
        )
        for key in parts.keys
    ]
    return replace(parts, keys=keys)
