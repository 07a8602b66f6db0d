from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.decision.made import contender, evidence
from workbench.core.bench import BenchSettings
from workbench.core.errors import DecisionError
from workbench.lab.decision.constraints import Constraints
from workbench.lab.decision.contender import Figure
from workbench.lab.decision.estimate import with_estimates
from workbench.lab.decision.plot import plot_rows
from workbench.lab.decision.record import FORMS, DecisionRecord, modelfile_of, record_of
from workbench.store.export.session import session_text
from workbench.store.kept_runs import RunFolder

THREE = contender("a", 20, 0.0, size=300), contender("b", 40, 0.004, size=150), contender("c", 50, 0.06, size=100)


def made(**values: Any) -> DecisionRecord:
    found = evidence(*THREE, contender("d", size=80))
    return record_of("m", found, Constraints(**values), "auto", "260101-000000-abcd")


def plotted(width: int, height: int, chosen: str = "b") -> list[str]:
    rows = plot_rows(with_estimates([*THREE, contender("d", size=80)]), chosen, width, height)
    return ["".join(text for text, _ in row) for row in rows]


def test_a_decision_is_kept_and_read_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, DecisionRecord, DecisionError, "decision", "workbench decide")
    record = made(min_speed=30)
    folder.save(record)
    assert folder.load("last") == record
    assert record.command == ("decide", "m", "--min-speed", "30")
    (tmp_path / "260101-000000-abcd.json").write_text('{"id": 3')
    with pytest.raises(DecisionError, match="is no decision"):
        folder.load("last")


def test_the_forms_hold_the_answer_and_every_contender() -> None:
    record = made(min_speed=30)
    text = FORMS[".md"](record)
    assert "# model: ≥ 30 tokens/s" in text
    assert "Qb: 40 tokens/s" in text
    assert "workbench bench ref-d -p 0" in text
    assert "| d ◦ |" in text
    assert "~75.0" in text
    document = json.loads(FORMS[".json"](record))
    assert (document["verdict"], document["choice"], document["rival"]) == ("choice", "Qb", "Qc")
    assert [each["constraints"]["speed"] for each in document["contenders"]] == ["failed", "met", "met", "unknown"]
    assert [each["measured"] for each in document["contenders"]] == [True, True, True, False]
    rows = list(csv.DictReader(FORMS[".csv"](record).splitlines()))
    assert [row["chosen"] for row in rows] == ["False", "True", "False", "False"]
    assert rows[3]["speed_estimated"] == "True"


def test_a_modelfile_holds_the_choice_with_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "b.gguf"
    path.write_bytes(b"")
    best = contender("b", 40, 0.004, path=str(path), settings=BenchSettings(type_k="q8_0", n_threads=3))
    record = record_of("m", evidence(best), Constraints(min_context=4096), "auto", "id")
    text = modelfile_of(record, session_text)
    assert f"FROM {path}" in text
    assert "PARAMETER num_ctx 4096" in text
    assert "PARAMETER num_thread 3" in text
    assert "cannot hold type_k q8_0" in text
    assert text.startswith("# Qb: 40 tokens/s")
    with pytest.raises(DecisionError, match="no choice"):
        modelfile_of(made(min_speed=1000), session_text)


def test_the_plot_shows_size_interval_estimate_and_choice() -> None:
    text = "\n".join(plotted(70, 12))
    assert "⬤" in text
    assert "•" in text
    assert "◦" in text
    assert "├" in text
    for label in ("a Qa", "b Qb", "c Qc", "d Qd"):
        assert label in text
    first = plotted(70, 12)[0]
    assert first.startswith("       0┤")
    assert "⬤" in first
    rows = plot_rows(THREE, "b", 70, 12)
    assert [text for row in rows for text, role in row if role == "chosen"] == ["●", "b Qb"]


@pytest.mark.parametrize("width", [30, 78, 200])
@pytest.mark.parametrize("height", [5, 9, 40])
def test_the_plot_has_the_size_that_it_is_given(width: int, height: int) -> None:
    rows = plotted(width, height)
    assert len(rows) == height
    assert {len(row) for row in rows} == {width}


def test_there_is_no_plot_without_two_figures_or_room() -> None:
    assert plot_rows([contender("a", 3.0), contender("b")], "a", 70, 12) == []
    assert plot_rows(THREE, "b", 20, 12) == []
    assert plot_rows(THREE, "b", 70, 4) == []
    same = [contender("a", Figure(4.0), Figure(0.0)), contender("b", Figure(4.0), Figure(0.0))]
    assert len(plot_rows(same, "a", 70, 12)) == 12
