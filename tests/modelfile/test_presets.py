from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import ModelfileError
from workbench.core.parameters import PARAMETERS, LoadSettings, Sampling, with_values
from workbench.modelfile.presets import open_preset, preset_text, read_presets

MODEL = "/models/tiny.gguf"


def back(sampling: Sampling, load: LoadSettings) -> tuple[Sampling, LoadSettings]:
    """The settings that a section gives back."""
    [preset] = read_presets(preset_text("tiny", MODEL, sampling, load)).values()
    assert (preset.name, preset.model, preset.unknown) == ("tiny", MODEL, ())
    return with_values(Sampling(), LoadSettings(), preset.values)


def values_of(name: str) -> st.SearchStrategy[object]:
    parameter = PARAMETERS[name]
    match parameter.kind:
        case "bool":
            return st.booleans()
        case "choice":
            return st.sampled_from(parameter.choices)
        case "int":
            return st.integers(int(parameter.low), min(int(parameter.high), 4096))
        case _:
            # %g keeps six digits.
            return st.integers(0, 100).map(
                lambda part: parameter.low + (min(parameter.high, 10) - parameter.low) * part / 100
            )


SINGLE = (
    "temperature", "top_k", "min_p", "repeat_penalty", "seed", "num_predict", "xtc_probability", "mirostat", "num_ctx",
    "num_batch", "num_parallel", "num_gpu", "num_cpu_moe", "split_mode", "main_gpu", "offload_kqv", "num_thread",
    "load_mode", "type_k", "flash_attn", "swa_full",
)  # fmt: skip


@given(st.fixed_dictionaries({name: values_of(name) for name in SINGLE}))
def test_what_is_written_is_read_back(values) -> None:
    settings = with_values(Sampling(), LoadSettings(), values)
    found_sampling, found_load = back(*settings)
    assert found_load == settings[1]
    assert found_sampling == replace(settings[0], temperature=found_sampling.temperature)
    assert found_sampling.temperature == pytest.approx(settings[0].temperature, rel=1e-5)


def test_lists_that_a_section_can_hold() -> None:
    load = LoadSettings(
        speculation="/models/d.gguf", tensor_split=("3", "1"), devices=("CUDA0", "CUDA1"), override_tensor=("blk=CPU",)
    )
    sampling = Sampling(samplers=("min_p", "temperature"), logit_bias=("7=-5",))
    assert back(sampling, load) == (sampling, load)


def test_what_a_section_cannot_hold_is_said_in_it() -> None:
    text = preset_text("a", MODEL, Sampling(dry_multiplier=1, logit_bias=("7=1", "8=2")), LoadSettings())
    assert "; left out, because a section cannot hold it: dry-sequence-breaker" in text
    assert "; left out, because a section cannot hold it: logit-bias" in text
    for path in ("/m/a;b.gguf", "/m/a#1.gguf", "/m/a\n.gguf"):
        with pytest.raises(ModelfileError, match="cannot hold this path"):
            preset_text("a", path, Sampling(), LoadSettings())


def test_no_option_that_later_versions_refuse_is_written() -> None:
    text = preset_text("a", MODEL, Sampling(), LoadSettings(use_mmap=False))
    assert "load-mode = none" in text
    assert "mmap =" not in text


def test_a_file_that_others_wrote() -> None:
    text = """version = 1
[*]
threads = 4   ; for all
ctx-size = 8192
[USER/REPO:Q4_K_M]
np = 2
temp = 0.5
jinja = on
[tiny]
m = /models/old.gguf
[tiny]
LLAMA_ARG_MODEL = /models/tiny.gguf
LLAMA_ARG_N_GPU_LAYERS = all
no-kv-offload = 1
"""
    remote, tiny = read_presets(text).values()
    assert remote.model == "USER/REPO:Q4_K_M"
    assert remote.values == {"num_thread": 4, "num_ctx": 4096, "num_parallel": 2, "temperature": 0.5}
    assert remote.unknown == ("jinja",)
    assert tiny.model == "/models/tiny.gguf"
    assert tiny.values == {"num_thread": 4, "num_ctx": 8192, "num_gpu": 999, "offload_kqv": False}


@pytest.mark.parametrize("text", ["[a", "words", "[a]\ntemp = hot", "[a]\ntop-p = 7", "= 3"])
def test_a_file_that_is_no_presets(text: str) -> None:
    with pytest.raises(ModelfileError):
        read_presets(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ModelfileError):
        read_presets(text)


def test_a_section_is_named_after_its_file(tmp_path) -> None:
    path = tmp_path / "presets.ini"
    path.write_text("[one]\nmodel = /a.gguf\n[two]\nmodel = /b.gguf\n")
    assert open_preset(f"{path}#two")[1].model == "/b.gguf"
    for ref, said in ((path, "several sections"), (f"{path}#tow", "no section 'tow'"), (tmp_path / "no.ini", "read")):
        with pytest.raises(ModelfileError, match=said):
            open_preset(str(ref))
