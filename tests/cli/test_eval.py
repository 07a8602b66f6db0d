from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.servers.ollama import CONVERSATION, OllamaServer
from tests.servers.script import Script
from workbench.core.chat import Message
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.store.export.session import session_text
from workbench.store.paths import find_paths

PACK = """\
max_tokens = 8
[[cases]]
id = "welcome"
prompt = "x"
checks = [{ type = "contains", value = "scripted engine" }]
[[cases]]
prompt = "y"
checks = [{ type = "json" }]
"""
BROKEN = PACK + '[[cases]]\nprompt = "z"\nchecks = [{ type = "regex", value = "[" }]\n'


@pytest.fixture
def pack(tmp_path: Path) -> str:
    path = tmp_path / "pack.toml"
    path.write_text(PACK)
    return str(path)


def test_two_models_on_a_pack(call, pack: str, tmp_path: Path) -> None:
    report = tmp_path / "report.csv"
    status, out, err = call("eval", pack, "scripted", "scripted", "--json", "-o", str(report))
    assert status == 0, err
    found = json.loads(out)
    assert found["cases"] == 2
    assert [(lane["passed"], lane["failed"], lane["invalid"]) for lane in found["lanes"]] == [(1, 1, 0)] * 2
    assert found["pairs"][0]["verdict"] == "same"
    assert found["pack_digest"].startswith("sha256:")
    assert report.read_text().startswith("case,tags,model")
    (kept,) = find_paths().evals_dir.glob("*.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    status, out, _ = call("eval", "--show", "last")
    assert (status, "no difference" in out) == (0, True)
    assert "Of two evaluations" in call("eval", "--show", "last", "last")[1]
    status, out, _ = call("eval", "--list")
    assert found["id"] in out
    assert json.loads(call("eval", "--show", found["id"][:9], "--json")[1])["lanes"] == found["lanes"]


def test_a_choice_on_a_real_model(call, tmp_path: Path) -> None:
    case = {"prompt": "The capital of France is", "raw": True}
    check = {"type": "choice", "value": " Paris", "choices": [" Paris", " Xylophone", " a pile of old shoes"]}
    chat = {"prompt": "Is the sky blue?", "checks": [{"type": "choice", "value": 0, "choices": ["Yes", "Zebra"]}]}
    path = tmp_path / "choice.jsonl"
    path.write_text(json.dumps(case | {"checks": [check]}) + "\n" + json.dumps(chat) + "\n")
    status, out, err = call("eval", str(path), "demo", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["lanes"][0]["passed"] == 2
    scores = found["results"][0]["answers"][0][0]["scores"]
    assert 0 > scores[0] > max(scores[1:])


def test_a_server_is_asked_beside_a_model_and_has_no_choices(call, serve, tmp_path: Path) -> None:
    served = serve(OllamaServer(Script(CONVERSATION)))
    path = tmp_path / "sea.jsonl"
    cases = [
        {"prompt": "What is the sea?", "checks": [{"type": "contains", "value": "salt water"}], "max_tokens": 30},
        {"prompt": "Is it?", "checks": [{"type": "choice", "value": 0, "choices": ["Yes", "No"]}]},
    ]
    path.write_text("\n".join(map(json.dumps, cases)))
    status, out, err = call("eval", str(path), f"{served.url}#qwen3:0.6b", "--json")
    assert status == 0, err
    found = json.loads(out)
    (lane,) = found["lanes"]
    assert (lane["passed"], lane["failed"], lane["invalid"]) == (1, 0, 1)
    assert "does not report" in found["results"][1]["answers"][0][0]["error"]
    assert lane["settings"]["temperature"] == {"value": 0.0, "from": "eval"}
    assert found["build"].startswith("workbench ")
    assert "llama.cpp" not in found["build"]


def test_broken_cases_stop_it_unless_they_are_skipped(call, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(BROKEN)
    status, _, err = call("eval", str(path), "scripted")
    assert status == 1
    assert "line 9: case 3, check 1 (regex)" in err
    assert "--skip-broken" in err
    status, out, _ = call("eval", str(path), "scripted", "--skip-broken")
    assert status == 0
    assert "1 broken case left out" in out


def test_a_model_that_fails_leaves_the_answers_of_the_other(call, pack: str, tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF")
    status, out, _ = call("eval", pack, "scripted", str(tmp_path / "bad.gguf"), "--json")
    assert status == 1
    good, bad = json.loads(out)["lanes"]
    assert (good["passed"], good["error"], bad["error"]["kind"]) == (1, None, "model_file")


def test_a_pack_made_of_a_session(call, tmp_path: Path) -> None:
    turns = (Turn(Message("user", "Two and two?"), 0.0), Turn(Message("assistant", "Four."), 1.0))
    (tmp_path / "s.json").write_text(session_text(Session("s", 0.0, 1.0, tree=Tree.of(turns)), "json"))
    status, _, err = call("import", str(tmp_path / "s.json"))
    assert status == 0, err
    status, _, err = call("eval", "--from-session", "last", "-o", str(tmp_path / "own.toml"))
    assert status == 0, err
    status, out, err = call("eval", str(tmp_path / "own.toml"), "scripted", "--max-tokens", "3")
    assert status == 0, err
    assert 'contains "Four": "Four" is not in it' in out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "needs a pack and a model"),
        (("instructions",), 2, "needs a pack and a model"),
        (("nothing", "scripted"), 1, "No such file"),
        (("instructions", "scripted", "--tag", "nothing"), 1, "no case with a check"),
        (("instructions", "scripted", "--samples", "0"), 1, "from 1 to 100"),
        (("instructions", "scripted", "-o", "x.txt"), 2, "kind of file"),
        (("instructions", "--list"), 2, "ask nothing"),
        (("--show", "nothing"), 1, "no evaluation 'nothing'"),
        (("--from-session", "nothing"), 1, "nothing"),
    ],
)
def test_bad_usage(call, arguments: tuple[str, ...], status: int, message: str) -> None:
    found, _, err = call("eval", *arguments)
    assert (found, message in err) == (status, True), err
