from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.gguf.names import parse_name
from workbench.library.groups import Identity, group_of, is_generic, words_of

LLAMA_3B = (28, 3072, 8192, 0)
LLAMA_8B = (32, 4096, 14336, 0)
LLAMA_1B = (16, 2048, 8192, 0)
QWEN_7B = (28, 3584, 18944, 0)
GEMMA_4B = (34, 2560, 10240, 0)

LLAMA_32 = Identity(
    "llama", "Llama 3.2 3B Instruct", basename="Llama-3.2", size_label="3B", finetune="Instruct", shape=LLAMA_3B
)
LLAMA_32_UNSLOTH = Identity(
    "llama", "Llama 3.2 3B Instruct", basename="Llama-3.2-3B-Instruct", size_label="3B", shape=LLAMA_3B
)
LLAMA_31 = Identity(
    "llama", "Meta Llama 3.1 8B Instruct", "Meta-Llama-3.1", "8B", "Instruct", organization="Meta Llama", shape=LLAMA_8B
)
QWEN_25 = Identity("qwen2", "Qwen2.5 7B Instruct", "Qwen2.5", "7B", "Instruct", organization="Qwen", shape=QWEN_7B)
GEMMA_3 = Identity("gemma3", "Gemma 3 4b It", "gemma-3", "4B", "it", organization="Google", shape=GEMMA_4B)
HERMES = Identity(
    "llama", "Hermes 3 Llama 3.1 8B", "Hermes-3-Llama-3.1", "8B", organization="NousResearch", shape=LLAMA_8B
)
MISTRAL = Identity("llama", "mistralai_mistral-7b-instruct-v0.2", shape=(32, 4096, 14336, 0))
PHI_3 = Identity("phi3", "Phi3", shape=(32, 3072, 8192, 0))
LLAMA_2 = Identity("llama", "LLaMA v2", shape=(32, 4096, 11008, 0))
NAMELESS = Identity("llama", shape=LLAMA_8B)


def group(file_name: str, identity: Identity) -> str:
    return group_of(parse_name(file_name).base if file_name else "", identity)


BLOB = "sha256-" + "6a" * 32


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(
            [
                ("Llama-3.2-3B-Instruct-Q4_K_M.gguf", LLAMA_32),
                ("Llama-3.2-3B-Instruct-Q8_0.gguf", LLAMA_32),
                ("Llama-3.2-3B-Instruct-f16.gguf", LLAMA_32_UNSLOTH),
                ("Llama-3.2-3B-Instruct-UD-Q4_K_XL.gguf", LLAMA_32_UNSLOTH),
                ("llama-3.2-3b-instruct-q4_k_m.gguf", LLAMA_32),
                ("Llama-3.2-3B-Instruct.i1-IQ3_M.gguf", LLAMA_32),
                (
                    "meta-llama_Llama-3.2-3B-Instruct-Q6_K_L.gguf",
                    Identity("llama", organization="Meta Llama", shape=LLAMA_3B),
                ),
                ("llama3.2.Q5_K_M.gguf", LLAMA_32),
                (BLOB, LLAMA_32),
                (BLOB, LLAMA_32_UNSLOTH),
                ("", LLAMA_32),
                ("ggml-model-Q4_0.gguf", LLAMA_32),
                ("Llama-3.2-3B-Instruct-Q8_0-00001-of-00003.gguf", LLAMA_32),
            ],
            id="Llama 3.2 3B Instruct",
        ),
        pytest.param(
            [
                ("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", LLAMA_31),
                ("Llama-3.1-8B-Instruct-Q8_0.gguf", LLAMA_31),
                ("Llama-3.1-Instruct-8B-IQ4_XS.gguf", LLAMA_31),
                (BLOB, LLAMA_31),
            ],
            id="Llama 3.1 8B Instruct",
        ),
        pytest.param(
            [
                ("qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf", QWEN_25),
                ("Qwen2.5-7B-Instruct-Q8_0.gguf", QWEN_25),
                ("Qwen_Qwen2.5-7B-Instruct-Q6_K.gguf", QWEN_25),
                ("Qwen2.5-7B-Instruct.gguf", QWEN_25),
                (BLOB, QWEN_25),
            ],
            id="Qwen2.5 7B Instruct",
        ),
        pytest.param(
            [
                ("gemma-3-4b-it-Q4_K_M.gguf", GEMMA_3),
                ("gemma-3-4b-it-Q4_0.gguf", GEMMA_3),
                ("google_gemma-3-4b-it-bf16.gguf", GEMMA_3),
                ("gemma-3-4b-it-UD-IQ2_XXS.gguf", GEMMA_3),
                (BLOB, GEMMA_3),
            ],
            id="Gemma 3 4B it",
        ),
        pytest.param(
            [
                ("Hermes-3-Llama-3.1-8B.Q4_K_M.gguf", HERMES),
                ("NousResearch_Hermes-3-Llama-3.1-8B-Q8_0.gguf", HERMES),
                (BLOB, HERMES),
            ],
            id="Hermes 3",
        ),
        pytest.param(
            [
                ("mistral-7b-instruct-v0.2.Q4_K_M.gguf", MISTRAL),
                ("Mistral-7B-Instruct-v0.2-Q8_0.gguf", MISTRAL),
                ("mistral-7b-instruct-v0.2.Q4_K_S.gguf", Identity("llama", "LLaMA v2", shape=MISTRAL.shape)),
            ],
            id="Mistral 7B Instruct v0.2",
        ),
        pytest.param(
            [("Phi-3-mini-4k-instruct-q4.gguf", PHI_3), ("Phi-3-mini-4k-instruct-fp16.gguf", PHI_3)],
            id="Phi 3",
        ),
        pytest.param(
            [("llama-2-7b-chat.Q4_K_M.gguf", LLAMA_2), ("llama-2-7b-chat.q8_0.gguf", LLAMA_2)],
            id="Llama 2 7B Chat",
        ),
        pytest.param([("mine-Q4_0.gguf", NAMELESS), ("Mine.F16.gguf", NAMELESS)], id="nothing inside"),
    ],
)
def test_quantizations_of_one_model_are_one_group(files: list[tuple[str, Identity]]) -> None:
    groups = {file: group(*file) for file in files}
    assert len(set(groups.values())) == 1, groups


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(("Foo-7B-Q4_0.gguf", NAMELESS), ("Foo-8B-Q4_0.gguf", NAMELESS), id="size by the name alone"),
        pytest.param(("Foo-Q4_0.gguf", NAMELESS), ("Foo-Q8_0.gguf", LLAMA_2), id="size by the shape alone"),
        pytest.param(
            ("Llama-3.2-3B-Instruct-Q4_0.gguf", LLAMA_32),
            ("Llama-3.2-3B-Q4_0.gguf", Identity("llama", "Llama 3.2 3B", shape=LLAMA_3B)),
            id="instruct and base",
        ),
        pytest.param(
            ("Qwen2.5-7B.Q4_0.gguf", QWEN_25),
            ("Qwen2.5-7B.Q4_0.gguf", Identity("qwen2", "Qwen2.5 7B", shape=QWEN_7B)),
            id="instruct and base that are called alike",
        ),
        pytest.param(
            ("llama-2-7b.Q4_K_M.gguf", LLAMA_2),
            ("llama-2-7b-chat.Q4_K_M.gguf", LLAMA_2),
            id="chat and base, one name inside",
        ),
        pytest.param(
            ("Qwen2.5-7B-Instruct-Q4_0.gguf", QWEN_25), ("Qwen2.5-Coder-7B-Instruct-Q4_0.gguf", QWEN_25), id="coder"
        ),
        pytest.param(("mine-epoch1-Q4_0.gguf", LLAMA_32), ("mine-epoch2-Q8_0.gguf", LLAMA_32), id="two trainings"),
        pytest.param(
            ("mistral-7b-instruct-v0.2.Q4_0.gguf", MISTRAL),
            ("mistral-7b-instruct-v0.3.Q4_0.gguf", MISTRAL),
            id="versions",
        ),
        pytest.param(
            (BLOB, LLAMA_31),
            (BLOB, Identity("llama", "Meta Llama 3.1 8B", "Meta-Llama-3.1", "8B", shape=LLAMA_8B)),
            id="blobs of instruct and base",
        ),
        pytest.param(("Llama-3.1-8B-Q4_0.gguf", NAMELESS), ("Llama-3-8B-Q4_0.gguf", NAMELESS), id="Llama 3 and 3.1"),
        pytest.param(
            ("Meta-Llama-3.1-8B-Instruct-Q4_0.gguf", LLAMA_31),
            ("Meta-Llama-3.1-8B-Instruct-abliterated-Q4_0.gguf", LLAMA_31),
            id="abliterated",
        ),
        pytest.param(
            ("Hermes-3-Llama-3.1-8B.Q4_0.gguf", HERMES), ("Llama-3.1-8B.Q4_0.gguf", NAMELESS), id="made from it"
        ),
        pytest.param(
            ("DeepSeek-R1-Distill-Qwen-7B-Q4_0.gguf", QWEN_25),
            ("DeepSeek-R1-Distill-Llama-8B-Q4_0.gguf", LLAMA_31),
            id="distilled into two",
        ),
        pytest.param(
            ("Phi-3-mini-4k-instruct-q4.gguf", PHI_3), ("Phi-3-mini-128k-instruct-q4.gguf", PHI_3), id="context lengths"
        ),
        pytest.param(
            ("Qwen3-30B-A3B-Q4_0.gguf", NAMELESS), ("Qwen3-30B-Q4_0.gguf", NAMELESS), id="a mixture and a dense model"
        ),
        pytest.param(
            ("Mixtral-8x7B-v0.1.Q4_0.gguf", NAMELESS), ("Mixtral-8x22B-v0.1.Q4_0.gguf", NAMELESS), id="mixtures"
        ),
        pytest.param(("x-Q4_0.gguf", NAMELESS), ("x-Q4_0.gguf", Identity("qwen2", shape=LLAMA_8B)), id="architectures"),
    ],
)
def test_different_models_are_different_groups(one: tuple[str, Identity], other: tuple[str, Identity]) -> None:
    assert group(*one) != group(*other)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Llama-3.2-3B-Instruct", ("llama", "3.2", "3b", "instruct")),
        ("llama3.2", ("llama", "3.2")),
        ("tinyllama-1.1b-chat-v1.0", ("tinyllama", "1.1b", "chat", "1")),
        ("gemma-2-9b-it", ("gemma", "2", "9b", "instruct")),
        ("gpt-oss-20b-mxfp4", ("gpt", "oss", "20b")),
        ("Qwen3-30B-A3B", ("qwen", "3", "30b", "a3b")),
        ("model.v2", ("model", "2")),
        ("Größe-Ünïcode_7B", ("größe", "ünïcode", "7b")),
        ("run1-1", ("run", "1", "1")),
        ("Qwen_Qwen3", ("qwen", "3")),
        ("", ()),
        ("---", ()),
    ],
)
def test_the_words_of_a_name(name: str, words: tuple[str, ...]) -> None:
    assert words_of(name) == words


@pytest.mark.parametrize(
    "name", ["model", "ggml-model", "GGUF", BLOB, "6a" * 32, "e3" * 20, "Q4_K_M", "", "q4", "imat"]
)
def test_names_that_say_nothing(name: str) -> None:
    assert is_generic(name)


@pytest.mark.parametrize("name", ["Llama", "deadbeef", "my-model", "phi"])
def test_names_that_say_something(name: str) -> None:
    assert not is_generic(name)


@given(st.text(max_size=60), st.text(max_size=30), st.text(max_size=30), st.text(max_size=10))
def test_any_name_has_a_group(base: str, name: str, basename: str, size: str) -> None:
    found = group_of(base, Identity("llama", name, basename, size, shape=(1, 2)))
    assert found.endswith("/llama/1x2")
