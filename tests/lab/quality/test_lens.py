from __future__ import annotations

import numpy as np
import pytest

from tests.lab.quality.fake_logits import FakeHost, table
from tests.lab.quality.test_job import Tools
from workbench.core.alternatives import unlikeliness
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import CancelledError, QualityError
from workbench.lab.quality.lens import LEVELS, LensJob, answer_tokens
from workbench.lab.quality.logits import ModelSpec
from workbench.lab.quality.report import as_markdown

PROMPT, ANSWER = (1, 2, 3, 4), tuple(range(60, 95))


class Adviser:
    def __init__(self, together):
        self.together = together

    async def fit_together(self, models):
        return self.together


async def look(candidate="0.5", together=True):
    host = FakeHost()
    job = LensJob(host, Adviser(together), ModelSpec("0"), ModelSpec(candidate), PROMPT + ANSWER, len(PROMPT))
    lens = await job.run(CancelToken())
    assert host.open_now == 0
    return lens


async def test_a_lens_is_kept_like_a_measurement(tmp_path):
    tools = Tools(tmp_path)
    job = LensJob(FakeHost(), Adviser(True), ModelSpec("0"), ModelSpec("0.5"), PROMPT + ANSWER, len(PROMPT))
    lens = await job.run(CancelToken())
    kept = await job.keep(tools, lens, "an answer")
    record = tools.quality_runs.load("last")
    assert kept.kept == f"Kept as {record.id}."
    assert (record.scored, record.tokens, record.candidates[0].model.digest) == (len(ANSWER), 39, "sha256:0.5")
    assert record.figures[0].mean_kld == pytest.approx(lens.summary().mean_kld, rel=1e-6)
    assert record.candidates[0].worst[0].kld == pytest.approx(lens.candidate.kld.max())
    assert "an answer: 39 tokens" in as_markdown(record)


async def test_one_model_alone_is_computed_once():
    host = FakeHost()
    lens = await LensJob(host, Adviser(True), ModelSpec("0"), None, PROMPT + ANSWER, len(PROMPT)).run(CancelToken())
    assert host.opened == [["0"]]
    assert lens.alone
    assert lens.level(0) == unlikeliness(-float(lens.reference.nll[0]))


async def test_a_stopped_lens_releases_its_models():
    host, cancel = FakeHost(stop_after=0), CancelToken()
    with pytest.raises(CancelledError):
        await LensJob(host, Adviser(True), ModelSpec("0"), ModelSpec("1"), PROMPT + ANSWER, 4).run(cancel)
    assert host.open_now == 0


def softmax(row):
    return np.exp(row - row.max()) / np.exp(row - row.max()).sum()


@pytest.mark.parametrize("together", [True, False])
async def test_every_token_of_the_answer_has_both_distributions(together):
    lens = await look(together=together)
    assert lens.tokens == ANSWER
    # What a fake model gives follows from the token before: the first one is the last of the prompt.
    p, q = softmax(table(0)[PROMPT[-1]].astype(float)), softmax(table(0.5)[PROMPT[-1]].astype(float))
    mine, other = lens.alternatives(0, of_candidate=False), lens.alternatives(0, of_candidate=True)
    assert [each.id for each in mine] == np.argsort(-p)[:10].tolist()
    assert [each.probability for each in other] == pytest.approx(np.sort(q)[::-1][:10], rel=1e-4)
    if together:
        assert lens.candidate.kld[0] == pytest.approx((p * np.log(p / q)).sum(), rel=1e-3)
    assert lens.in_turn is not together
    summary = lens.summary()
    assert summary.scored == len(ANSWER)
    assert summary.first_flip == lens.first_flip
    assert lens.flips(lens.first_flip)


async def test_places_above_a_level_follow_each_other():
    lens = await look()
    high = [place for place in range(len(lens)) if lens.candidate.kld[place] >= LEVELS[1]]
    assert high
    assert lens.next_place(-1, 1, 2) == high[0]
    assert lens.next_place(len(lens), -1, 2) == high[-1]
    assert lens.next_place(high[-1], 1, 2) is None
    assert [lens.level(place) >= 2 for place in high] == [True] * len(high)


async def test_a_model_looks_at_its_own_answer():
    lens = await look("0")
    assert (lens.first_flip, lens.next_place(-1, 1, 1)) == (None, None)
    assert lens.summary().max_kld == 0


async def test_the_answer_can_begin_in_another_way():
    lens = await look()
    assert lens.begin_with(3, b"!") == bytes(ANSWER[:3]) + b"!"
    assert "".join(lens.texts) == bytes(ANSWER).decode()


@pytest.mark.parametrize(("prompt", "place"), [((1, 2), 2), ((1, 5), 1)])
async def test_an_answer_begins_where_the_prompt_ends(prompt, place):
    class Tokenizer:
        async def tokens(self, request):
            return (1, 2, 3, 4) if request.continues else prompt

    question, answer = Message("user", "why"), Message("assistant", "so")
    assert await answer_tokens(Tokenizer(), Request((question, answer), continues=True)) == ((1, 2, 3, 4), place)


def test_an_empty_answer_cannot_be_looked_at():
    with pytest.raises(QualityError, match="no tokens"):
        LensJob(FakeHost(), Adviser(True), ModelSpec("0"), ModelSpec("0"), (1, 2), 2)
