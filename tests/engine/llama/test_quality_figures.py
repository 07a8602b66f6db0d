"""SmolLM2-135M in Q4_K_M against F16: the first chunks of the text that llama-perplexity's figures are kept of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.engine.llama.conftest import QUANTIZE
from tests.lab.quality.test_figures import TOKENS
from tests.lab.quality.test_job import Tools
from workbench.core.models import ModelEntry
from workbench.engine.llama.logits import LlamaLogitHost
from workbench.lab.quality.job import QualityJob
from workbench.lab.quality.logits import ModelSpec
from workbench.lab.quality.plan import QualityPlan

CHUNKS = 2
F16, Q4_K_M = 1, 15
"""llama.cpp's file types."""


@pytest.fixture(scope="module")
def variants_of_demo(short_demo, tmp_path_factory):
    """F16 of the demo model, and Q4_K_M of that."""
    folder = tmp_path_factory.mktemp("quality")
    source = str(short_demo)
    for name, kind in (("F16", F16), ("Q4_K_M", Q4_K_M)):
        code = QUANTIZE.replace("= 7, True, 2", f"= {kind}, True, 2")
        target = str(folder / f"{name}.gguf")
        subprocess.run([sys.executable, "-c", code, source, target], check=True, capture_output=True)
        source = target
    return folder


@pytest.mark.slow
async def test_the_figures_are_those_of_llama_perplexity(variants_of_demo, tmp_path):
    tools = Tools(tmp_path)
    tools.logits = LlamaLogitHost(lambda ref: ModelEntry(ref, ref, path=os.fspath(variants_of_demo / f"{ref}.gguf")))
    text = (Path(__file__).parent / "licences.txt").read_bytes().decode()
    plan = QualityPlan(ModelSpec("F16"), (ModelSpec("Q4_K_M"),), "licences", text, most_chunks=CHUNKS)
    job = QualityJob(plan, tools)
    await job.run()
    found = job.record.figures[0]
    wanted = {
        name: TOKENS[name].astype(np.float64)[: 255 * CHUNKS] for name in ("nll_base", "nll_q", "kld_exact", "kld")
    }
    assert found.scored == 255 * CHUNKS
    assert job.record.reference_perplexity[0] == pytest.approx(np.exp(wanted["nll_base"].mean()), rel=1e-3)
    assert found.ppl == pytest.approx(np.exp(wanted["nll_q"].mean()), rel=1e-3)
    assert found.mean_kld == pytest.approx(wanted["kld_exact"].mean(), rel=1e-2)
    # The coded values of its own files, whose share of same tokens after two chunks it prints as 84.902 %.
    assert found.mean_kld == pytest.approx(wanted["kld"].mean(), rel=1e-2)
    assert 100 * found.same_top == pytest.approx(84.902, abs=0.2)
