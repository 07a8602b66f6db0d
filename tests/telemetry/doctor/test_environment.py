from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workbench.telemetry.doctor.machine import HIDDEN, masked, variables_that_matter


def test_only_what_matters_in_order():
    found = variables_that_matter(
        {"PATH": "/bin", "OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "", "HOME": "/h", "OLLAMA_HOST": "x",
         "https_proxy": "http://proxy:3128", "MY_CUDA_THING": "1"}
    )  # fmt: skip
    assert list(found) == ["CUDA_VISIBLE_DEVICES", "OLLAMA_HOST", "OMP_NUM_THREADS", "https_proxy"]
    assert found["https_proxy"] == "http://proxy:3128"


@pytest.mark.parametrize(("name", "value", "shown"), [
    ("HF_TOKEN", "hf_abcdefghijkl", HIDDEN), ("HF_TOKEN", "", ""), ("OLLAMA_API_KEY", "x", HIDDEN),
    ("LM_API_TOKEN", "x", HIDDEN), ("VLLM_APIKEY", "x", HIDDEN), ("HF_HOME", "/models", "/models"),
    ("HF_ENDPOINT", "https://hf_abcdefghijkl@example.org", HIDDEN), ("OLLAMA_HEADERS", "Bearer abc", HIDDEN),
    ("HTTPS_PROXY", "http://me:secret@proxy:3128/x", "http://***@proxy:3128/x"),
    ("HTTPS_PROXY", "me:secret@proxy:3128", HIDDEN), ("HTTPS_PROXY", "http://proxy:3128", "http://proxy:3128"),
    ("HTTPS_PROXY", "http://me@proxy", "http://***@proxy"), ("HTTPS_PROXY", "http://[::1:a@b", HIDDEN),
    ("OLLAMA_HOST", "0.0.0.0:11434", "0.0.0.0:11434"), ("HF_HUB_CACHE", "/a@b/c", "/a@b/c"),
])  # fmt: skip
def test_secrets_are_not_shown(name, value, shown):
    assert masked(name, value) == shown


@given(st.text(min_size=3, alphabet=st.characters(exclude_characters="/?#@:*", min_codepoint=33, max_codepoint=126)))
@example("***")
def test_no_password_in_an_address_is_shown(password):
    shown = masked("HTTPS_PROXY", f"http://user:{password}@proxy:3128")
    assert shown in {"http://***@proxy:3128", HIDDEN}
