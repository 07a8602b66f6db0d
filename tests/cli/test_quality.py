from __future__ import annotations

import json

import pytest

TEXT = "A licence is a permission, and this one asks for little: keep the notice, and say what was changed. " * 4


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return str(path)


def test_a_cache_type_is_a_candidate_and_the_result_is_kept(call, text, tmp_path):
    csv = tmp_path / "out.csv"
    arguments = ("quality", "demo", ",type_k=q8_0", "demo", "--text", text, "--ctx", "32", "--chunks", "2")
    status, out, err = call(*arguments, "--json", "-o", str(csv))
    found = json.loads(out)
    assert status == 0
    assert found["scored"] == 2 * 15
    quantized, same = found["candidates"]
    assert quantized["model"].endswith("type_k=q8_0")
    assert quantized["mean_kld"] > 0
    assert quantized["digest"] == found["reference"]["digest"] != ""
    assert (same["max"], same["ppl_ratio"], same["first_flip"]) == (0, 1, None)
    assert f"kept as {found['id']}" in err
    assert "type_k=q8_0" in csv.read_text()
    status, out, _ = call("quality", "--show", "last")
    assert status == 0
    assert "gives the same distributions as the reference" in out
    status, out, _ = call("quality", "--list", "--json")
    assert json.loads(out)[0]["id"] == found["id"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo"], "at least one candidate"),
        (["demo", "demo"], "One text is needed"),
        (["demo", "demo", "--text", "a", "--session", "b"], "One text is needed"),
        ([",type_k=q8_0", "demo", "--text", "a"], "no model"),
        (["demo", "demo,temperature=1", "--text", "a"], "temperature does not change the distributions"),
        (["demo", "demo,type_k=q9", "--text", "a"], "type_k"),
        (["demo", "demo", "--text", "nowhere.txt"], "nowhere.txt cannot be read"),
        (["demo", "http://localhost:1#a", "--text", "a"], "does not report the logits"),
        (["demo", "demo", "--text", "a", "--ctx", "3"], "--ctx 3 is too small"),
        (["demo", "demo", "--text", "a", "--depth", "0,x"], "--depth 0,x: it is no number"),
        (["demo", "demo", "--text", "a", "--depth", "0,-1"], "--depth -1 is too small"),
        (["demo", "demo", "--sessions", "0"], "--sessions 0 is too small"),
        (["demo", "--list"], "measure nothing"),
        (["demo", "demo", "--text", "a", "-o", "x.doc"], "kind of file"),
    ],
)
def test_bad_usage_is_said(call, arguments, said):
    status, _, err = call("quality", *arguments)
    assert status == 2
    assert said in err


def test_a_short_text_and_one_that_is_no_text_are_said(call, text, tmp_path):
    status, _, err = call("quality", "demo", "demo", "--text", text)
    assert status == 1
    assert "one chunk needs 512" in err
    (tmp_path / "bad").write_bytes(b"abc\xff")
    status, _, err = call("quality", "demo", "demo", "--text", str(tmp_path / "bad"))
    assert status == 2
    assert "byte 3" in err
