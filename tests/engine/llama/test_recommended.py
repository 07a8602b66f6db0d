"""What a file says about sampling: its author's values, and tokens that are never written."""

from __future__ import annotations

import pytest

from tests.engine.llama.conftest import answer, load
from tests.gguf.conftest import write_model
from workbench.core.engine import Request
from workbench.core.parameters import Sampling

QUESTION = "Once"


def ask(**sampling) -> Request:
    return Request(prompt=QUESTION, sampling=Sampling(num_predict=12, seed=3, **sampling))


async def test_an_open_model_names_what_its_author_recommends(host, models, tmp_path):
    keys = {"general.sampling.temp": 0.0, "general.sampling.top_k": 1, "general.sampling.top_p": 7.0}
    models["toy"] = str(write_model(tmp_path / "toy.gguf", keys=keys))
    engine = await load(host, "toy", num_ctx=256)
    assert engine.info.recommended == (("temperature", 0.0), ("top_k", 1))
    assert any("general.sampling.top_p is not used" in text for text in engine.info.warnings)


@pytest.mark.parametrize(
    "sampling",
    [{"temperature": 0.0}, {"temperature": 0.0, "repeat_penalty": 1.2}, {"temperature": 3.0}],
    ids=["greedy", "greedy with penalties", "drawn"],
)
async def test_a_suppressed_token_is_never_written(host, models, tmp_path, sampling):
    models["free"] = str(write_model(tmp_path / "free.gguf"))
    free = await load(host, "free", num_ctx=256)
    written = set((await answer(free, ask(**sampling))).ids)
    assert written
    keys = {"tokenizer.ggml.suppress_tokens": sorted(written)}
    models["suppressed"] = str(write_model(tmp_path / "suppressed.gguf", keys=keys))
    suppressed = await load(host, "suppressed", num_ctx=256)
    found = await answer(suppressed, ask(**sampling))
    assert found.ids
    assert not written & set(found.ids)
