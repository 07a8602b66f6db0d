from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.decision.made import contender, evidence
from workbench.cli import decide as command
from workbench.cli.main import main
from workbench.lab.decision.constraints import Constraints
from workbench.lab.decision.contender import Need
from workbench.lab.decision.evidence import Evidence

THREE = contender("a", 20, 0.0, size=300), contender("b", 40, 0.004, size=150), contender("c", 50, 0.06, size=100)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Evidence]:
    """What is measured of the demo model; the later ones after a measurement."""
    found = [evidence(*THREE)]

    async def gather(*_: Any) -> Evidence:
        return found.pop(0) if len(found) > 1 else found[0]

    monkeypatch.setattr(command, "gather", gather)
    return found


def test_the_demo_model_alone_has_to_be_measured_first(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["decide", "demo", "--json"]) == 1
    document = json.loads(capfd.readouterr().out)
    assert (document["verdict"], document["choice"], document["need"]) == ("nothing", None, "bench")
    assert document["commands"] == ["workbench bench demo -p 0"]
    assert document["contenders"][0]["memory_bytes"] > document["contenders"][0]["file_bytes"]


def kept_ids(capfd: pytest.CaptureFixture[str]) -> list[str]:
    capfd.readouterr()
    assert main(["decide", "--list", "--json"]) == 0
    return [each["id"] for each in json.loads(capfd.readouterr().out)]


def test_a_choice_is_printed_kept_and_exported(
    measured: list[Evidence], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    modelfile, table = tmp_path / "choice.Modelfile", tmp_path / "choice.csv"
    words = ["decide", "demo", "--min-speed", "30", "--modelfile", str(modelfile), "-o", str(table)]
    assert main(words) == 0
    assert "Qb: 40 tokens/s" in capfd.readouterr().out
    assert "FROM /m/b.gguf" in modelfile.read_text()
    assert table.read_text().count("\n") == 4
    assert main(["decide", "--list"]) == 0
    assert "Qb: 40 tokens/s" in capfd.readouterr().out
    assert main(["decide", "--show", "last", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["command"] == ["decide", "demo", "--min-speed", "30"]
    assert main(["decide", "demo", "--min-speed", "10"]) == 0
    earlier = kept_ids(capfd)
    assert main(["decide", "--show", *earlier]) == 0
    shown = capfd.readouterr().out
    assert "40.0 *" in shown
    assert "The constraints differ." in shown
    assert "The two are of different machines" not in shown
    assert main(["decide", "--show", *earlier, "--json"]) == 0
    assert [each["id"] for each in json.loads(capfd.readouterr().out)] == earlier
    assert main(["decide", "--show", *earlier, "last"]) == 2


def test_what_nothing_meets_is_no_success_and_no_modelfile(
    measured: list[Evidence], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    modelfile = tmp_path / "choice.Modelfile"
    assert main(["decide", "demo", "--min-speed", "300", "--modelfile", str(modelfile)]) == 1
    out, err = capfd.readouterr()
    assert "Nothing meets ≥ 300 tokens/s" in out
    assert "no choice that a Modelfile could hold" in err
    assert not modelfile.exists()


def test_what_is_missing_is_measured_until_there_is_a_choice(
    measured: list[Evidence], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ran: list[Need | None] = []

    async def measure(_options: Any, _workers: Any, record: Any, *_: Any) -> None:
        ran.append(record.answer.need)

    monkeypatch.setattr(command, "_measure", measure)
    measured[:0] = [evidence(contender("a"), contender("b")), evidence(contender("a", 20), contender("b", 40))]
    assert main(["decide", "demo", "--measure"]) == 0
    assert [need.kind for need in ran if need is not None] == ["bench", "quality"]


@pytest.mark.parametrize("words", [
    ["decide"], ["decide", "demo", "--min-speed", "fast"], ["decide", "demo", "--min-pass", "101"],
    ["decide", "demo", "-o", "x.txt"], ["decide", "demo", "--list"], ["decide", "demo", "--prefer", "colour"],
])  # fmt: skip
def test_bad_usage_is_refused(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "Traceback" not in capfd.readouterr().err


def test_unknown_decisions_and_models_are_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["decide", "--show", "260101-000000-abcd"]) == 1
    assert "There is no decision" in capfd.readouterr().err
    assert main(["decide", "nothing-like-it"]) == 1
    assert Constraints().items == []
