from __future__ import annotations

import io
import json

import pytest

SHORT = ("--prompt", "x", "--max-tokens", "2", "--trials", "6")


@pytest.fixture
def votes(monkeypatch: pytest.MonkeyPatch):
    """Types votes."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_preference_that_is_stopped(call, votes) -> None:
    votes("1\nx\n2\n0\nq\n")
    status, out, err = call("abx", "demo", "scripted", "--preference", *SHORT, "--json")
    assert status == 130, err
    found = json.loads(out)
    assert found["votes"] == 3
    assert "Stopped after 3 of 6 trials" in found["verdict"]
    assert "Trial 4 of 6" in err
    status, out, _ = call("abx", "--show", "last")
    assert (status, "No preference shown" in out) == (0, True)
    assert found["id"] in call("abx", "--list")[1]
    status, out, _ = call("abx", "--show", "last", "last")
    assert (status, out.count("Stopped after 3 of 6 trials"), "neither" in out) == (0, 2, True)
    assert len(json.loads(call("abx", "--show", "last", "last", "--json")[1])) == 2


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("demo",), 2, "two models, not 1"),
        (("demo", "scripted"), 2, "needs prompts"),
        (("demo", "scripted", "--prompt", "x", "--trials", "2"), 1, "can show nothing"),
        (("demo", "scripted", "--prompt", "x", "--set", "temperature=0"), 1, "X is a copy"),
        (("demo", "--list"), 2, "ask nothing"),
        (("--show", "nothing"), 1, "no blind test 'nothing'"),
    ],
)
def test_bad_usage(call, arguments: tuple[str, ...], status: int, message: str) -> None:
    found, _, err = call("abx", *arguments)
    assert (found, message in err) == (status, True), err
