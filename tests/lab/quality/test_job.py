from __future__ import annotations

import csv
import io
import json
import os

import pytest

from tests.lab.bench.fake_bencher import MACHINE
from tests.lab.quality.fake_logits import FakeHost
from workbench.core.errors import CancelledError, QualityError
from workbench.lab.quality.job import QualityJob, QualitySeries
from workbench.lab.quality.logits import ModelSpec
from workbench.lab.quality.plan import QualityPlan
from workbench.lab.quality.record import QualityRecord
from workbench.lab.quality.report import FORMS, as_csv, as_json, as_markdown, beside, by_depth
from workbench.store.kept_runs import RunFolder

TEXT = "".join(chr(97 + (7 * at + at * at // 11) % 26) for at in range(330))


class Tools:
    """Everything a job needs; the models fit together unless a test says otherwise."""

    def __init__(self, folder, together=True, **host):
        self.logits = FakeHost(**host)
        self.quality_runs = RunFolder(folder, QualityRecord, QualityError, "measurement", "list")
        self.together = together
        self.adviser = self.bencher = self

    async def fit_together(self, models):
        return self.together

    async def machine(self):
        return MACHINE

    async def digest(self, model):
        return f"sha256:{model.ref}"


def plan(*refs, text=TEXT, **values):
    reference, *candidates = [ModelSpec(ref) for ref in refs]
    return QualityPlan(reference, tuple(candidates), "a text", text, **{"n_ctx": 64, **values})


async def measured(tools, *refs, **values):
    job = QualityJob(plan(*refs, **values), tools)
    await job.run()
    return job.record


async def test_candidates_share_one_pass_of_the_reference(tmp_path):
    seen = []
    tools = Tools(tmp_path)
    job = QualityJob(plan("0", "0.1", "0.5"), tools, seen.append)
    await job.run()
    record = job.record
    assert tools.logits.opened == [["0", "0.1", "0.5"]]
    assert tools.logits.open_now == 0
    assert (record.tokens, record.scored, record.interrupted) == (330, 5 * 31, False)
    small, large = record.figures
    assert 0 < small.mean_kld < large.mean_kld
    assert small.kld_interval[0] < small.mean_kld < small.kld_interval[1]
    assert [each.kld for each in record.candidates[1].worst] == sorted(
        (each.kld for each in record.candidates[1].worst), reverse=True
    )
    assert record.candidates[1].worst[0].before in TEXT
    assert any(each.figures[0] is not None and each.left_s is not None for each in seen)


async def test_models_that_do_not_fit_together_are_computed_in_turn(tmp_path):
    exact = (await measured(Tools(tmp_path), "0", "0.5")).figures[0]
    tools = Tools(tmp_path, together=False)
    record = await measured(tools, "0", "0.5")
    assert tools.logits.opened == [["0"], ["0.5"]]
    assert record.in_turn
    assert record.figures[0].ppl == exact.ppl
    assert record.figures[0].same_top == exact.same_top
    assert 0.8 * exact.mean_kld < record.figures[0].mean_kld <= exact.mean_kld
    assert "lower bound" in as_markdown(record)


@pytest.mark.parametrize("together", [True, False])
async def test_the_same_model_does_not_differ(tmp_path, together):
    record = await measured(Tools(tmp_path, together), "0", "0")
    assert record.figures[0].max_kld == pytest.approx(0, abs=1e-6)
    assert (record.figures[0].ln_ratio, record.figures[0].same_top, record.figures[0].first_flip) == (0, 1, None)


@pytest.mark.parametrize("together", [True, False])
async def test_other_vocabularies_are_refused_with_the_first_difference(tmp_path, together):
    tools = Tools(tmp_path, together)
    with pytest.raises(QualityError, match="token 5 is '5' in the first and 'five'"):
        await measured(tools, "0", "other")
    assert tools.logits.open_now == 0


async def test_a_nan_is_an_error_that_names_the_token(tmp_path):
    text = TEXT[:40] + "\x07!" + TEXT[:30]
    with pytest.raises(QualityError, match=r"model nan gives no number for token 41 .*'!' after"):
        await measured(Tools(tmp_path), "0", "nan", text=text)


@pytest.mark.parametrize(("values", "hint"), [({}, "--ctx"), ({"depth": 20, "n_ctx": 32}, "--depth")])
async def test_a_text_that_is_too_short_is_said_with_both_lengths(tmp_path, values, hint):
    with pytest.raises(QualityError, match=r"The text has 50 tokens, and one chunk needs (64|52)") as error:
        await measured(Tools(tmp_path), "0", "1", text="x" * 50, **values)
    assert hint in error.value.hint


async def test_the_depth_is_in_the_context_and_not_scored(tmp_path):
    record = await measured(Tools(tmp_path), "0", "1", depth=100)
    assert (record.scored, record.planned_chunks) == (3 * 31, 3)


async def test_several_depths_score_the_same_tokens(tmp_path):
    tools = Tools(tmp_path)
    series = QualitySeries(plan("0", "1").at_depths((0, 64, 100)), tools)
    await series.run()
    assert [record.depth for record in series.records] == [0, 64, 100]
    # What a fake model gives follows from the token before alone, so that the depth changes nothing.
    assert len({record.candidates[0].tokens.kld for record in series.records}) == 1
    table = by_depth(series.records)
    assert table.count("\n") == 4
    assert len(FORMS[".csv"](series.records).splitlines()) == 4
    assert [each["depth"] for each in json.loads(FORMS[".json"](series.records))] == [0, 64, 100]
    assert not series.running


async def test_a_series_that_is_stopped_keeps_its_results(tmp_path):
    tools = Tools(tmp_path, stop_after=4)
    series = QualitySeries(plan("0", "1").at_depths((0, 100)), tools)
    await series.run()
    assert [record.interrupted for record in series.records] == [False, True]
    series = QualitySeries(plan("0", "1").at_depths((0, 100)), Tools(tmp_path))
    series.stop()
    with pytest.raises(CancelledError):
        await series.run()


@pytest.mark.parametrize("together", [True, False])
async def test_stopping_keeps_what_is_done(tmp_path, together):
    tools = Tools(tmp_path, together, stop_after=2 if together else 7)
    record = await measured(tools, "0", "0.5")
    assert record.interrupted
    assert record.figures[0].scored == 2 * 31
    assert "stopped after" in as_markdown(record)
    with pytest.raises(CancelledError):
        await measured(Tools(tmp_path, stop_after=0), "0", "0.5")


async def test_a_measurement_is_kept_for_its_owner_alone_and_opened_again(tmp_path):
    tools = Tools(tmp_path / "kept")
    record = await measured(tools, "0", "0.5", command=("quality", "0", "0.5"))
    again = tools.quality_runs.load("last")
    assert again == record
    assert again.figures == record.figures
    path = tmp_path / "kept" / f"{record.id}.json"
    assert path.stat().st_mode & 0o777 == 0o600 or os.name == "nt"
    path.write_text(path.read_text().replace(record.candidates[0].tokens.kld, "AAAA"))
    with pytest.raises(ValueError, match="damaged"):
        _ = tools.quality_runs.load("last").figures


async def test_a_result_can_be_exported_and_laid_beside_another(tmp_path):
    record = await measured(Tools(tmp_path), "0", "0.5", "1")
    found = as_json(record)
    assert {"reference", "tokens", "scored", "ppl", "candidates"} <= found.keys()
    assert {"model", "quant", "ppl", "ppl_ratio", "mean_kld", "interval", "p50", "p99", "max"} <= found["candidates"][
        0
    ].keys()
    json.dumps(found)
    rows = list(csv.DictReader(io.StringIO(as_csv([record]))))
    assert [row["quant"] for row in rows] == ["0.5", "1"]
    assert float(rows[0]["interval_low"]) < float(rows[0]["mean_kld"])
    text = as_markdown(record)
    assert "0 (reference)" in text
    assert "a text: 330 tokens, 5 chunks of 64" in text
    other = await measured(Tools(tmp_path), "0", "1", text=TEXT[::-1], n_ctx=32)
    assert "The texts differ" in beside(record, other)
    assert "different lengths" in beside(record, other)
