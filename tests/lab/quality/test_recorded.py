from __future__ import annotations

import math

import pytest

from workbench.core.alternatives import ChoiceLog, LikelyToken, TokenChoice
from workbench.lab.quality.recorded import recorded_lens


def choice(written, *others):
    texts = [(text.encode(), math.log(p)) for text, p in (written, *others)]
    tokens = [LikelyToken(*each) for each in texts]
    return TokenChoice(tokens[0], tuple(sorted(tokens, key=lambda each: -each.logprob)) if others else ())


def test_recorded_choices_are_a_lens_of_one_model():
    log = ChoiceLog("It was ")
    assert not log
    log.add("", (choice(("b", 0.1), ("a", 0.8), ("c", 0.05)),))
    log.add("be", (choice(("e", 0.9)),))
    lens = recorded_lens(log)
    assert lens.alone
    assert lens.texts == ["It was ", "b", "e"]
    assert [lens.level(place) for place in range(3)] == [0, 2, 0]
    assert lens.reference.rank.tolist() == [0, 1, 0]
    assert [(each.text, each.written) for each in lens.alternatives(1, of_candidate=False)] == [
        ("a", False), ("b", True), ("c", False),
    ]  # fmt: skip
    assert [each.probability for each in lens.alternatives(2, of_candidate=False)] == pytest.approx([0.9])
    assert lens.begin_with(1, b"a") == b"It was a"
    assert lens.next_place(-1, 1, 1) == 1
    assert log.pieces == [("It was ", 0), ("be", 2)]


def test_thoughts_are_choices_and_no_text():
    log = ChoiceLog()
    log.add("so", (choice(("so", 0.001)),), shown=False)
    log.add("yes", (choice(("yes", 0.6)),))
    assert log.pieces == [("yes", 0)]
    log.recast()
    assert (log.pieces, len(log.choices)) == ([], 2)
