"""References to models of registries, and which files of a repository they mean."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workbench.core.errors import NotPublishedError, ParameterError
from workbench.library.ollama import OllamaName
from workbench.library.pull.references import HubRef, is_safe_path, parse_pull_ref
from workbench.library.pull.variants import RemoteFile, choose, variants_of

PARTS = st.lists(st.text("aZ9_", min_size=1, max_size=5), min_size=1, max_size=4).map(".".join)
QUANTS = st.sampled_from(["", "Q4_K_M", "UD-Q2_K_XL", "file-Q8_0.gguf"])
REF = HubRef("user/Repo-1.5-GGUF")
FILE = HubRef("user/Repo-1.5-GGUF", "main", "sub/a b-Q4_0.gguf")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf.co/user/Repo-1.5-GGUF", REF),
        ("user/Repo-1.5-GGUF", REF),
        ("https://huggingface.co/user/Repo-1.5-GGUF/", REF),
        ("https://huggingface.co/user/Repo-1.5-GGUF/tree/main", REF),
        ("HF.CO/user/Repo-1.5-GGUF:Q4_0", HubRef("user/Repo-1.5-GGUF", quant="Q4_0")),
        ("ollama:hf.co/user/Repo-1.5-GGUF:Q4_0", HubRef("user/Repo-1.5-GGUF", quant="Q4_0")),
        ("https://huggingface.co/user/Repo-1.5-GGUF/blob/main/sub/a%20b-Q4_0.gguf", FILE),
        ("https://hf.co/user/Repo-1.5-GGUF/resolve/main/sub/a%20b-Q4_0.gguf?download=true", FILE),
        (
            "https://huggingface.co/user/Repo-1.5-GGUF/blob/refs%2Fpr%2F1/x.gguf",
            HubRef("user/Repo-1.5-GGUF", "refs/pr/1", "x.gguf"),
        ),
        ("https://mirror.example/user/Repo-1.5-GGUF", REF),
        ("ollama:llama3.2", OllamaName("registry.ollama.ai", "library", "llama3.2", "latest")),
        ("ollama:me/mine:7b", OllamaName("registry.ollama.ai", "me", "mine", "7b")),
    ],
)
def test_forms(text: str, expected: HubRef | OllamaName) -> None:
    assert parse_pull_ref(text, "mirror.example") == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "name", "a/b/c", "ftp://huggingface.co/a/b", "https://example.com/a/b", "hf.co/a", "hf.co/../b",
        "https://huggingface.co/datasets/a/b", "https://huggingface.co/a/b/blob/main/model.safetensors",
        "https://huggingface.co/a/b/blob/main/..%2F..%2Fx.gguf", "https://huggingface.co/a/b/discussions/1",
        "ollama:a/b/c/d/e", "ollama:", "hf.co/a/b--c",
    ],
)  # fmt: skip
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(ParameterError, match="is not a model of a registry"):
        parse_pull_ref(text)


@given(PARTS, PARTS, QUANTS)
def test_a_reference_is_read_back(user: str, repo: str, quant: str) -> None:
    ref = HubRef(f"{user}/{repo}", quant=quant)
    if user not in {"datasets", "spaces", "papers", "collections", "docs", "models", "api"}:
        assert parse_pull_ref(str(ref)) == ref


@given(st.text())
@example("https://[/a/b")
@example("hf.co/a/b/blob/refs/pr/1")
@example("https://hf.co:x/a/b")
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    for form in (text, f"hf.co/{text}", f"https://hf.co/a/b/blob/{text}", f"ollama:{text}"):
        try:
            found = parse_pull_ref(form)
        except ParameterError:
            continue
        assert isinstance(found, OllamaName) or not found.path or is_safe_path(found.path)


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "C:x", "C:\\x", "\\\\host\\x", "a\\..\\x", "a\0b", ""])
def test_paths_that_leave_the_folder(path: str) -> None:
    assert not is_safe_path(path)


def files(*paths: str) -> list[RemoteFile]:
    return [RemoteFile(path, 1000 + index, f"{index:064}") for index, path in enumerate(paths)]


TREE = files(
    "README.md", "M-BF16.gguf", "M-F16.gguf", "M-IQ4_XS.gguf", "M-Q4_0.gguf", "M-UD-Q4_K_XL.gguf", "M-Q4_K_M.gguf",
    "big/M-Q8_0-00001-of-00002.gguf", "big/M-Q8_0-00002-of-00002.gguf", "mmproj-M-BF16.gguf", "mmproj-M-F16.gguf",
    "imatrix.gguf", "half/M-Q6_K-00001-of-00002.gguf",
)  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("", "M-Q4_K_M.gguf"),
        ("F16", "M-F16.gguf"),
        ("q4_0", "M-Q4_0.gguf"),
        ("Q4_K_XL", "M-UD-Q4_K_XL.gguf"),
        ("UD-Q4_K_XL", "M-UD-Q4_K_XL.gguf"),
        ("Q8_0", "big/M-Q8_0-00001-of-00002.gguf"),
        ("M-IQ4_XS.gguf", "M-IQ4_XS.gguf"),
    ],
)
def test_which_quantization_is_meant(wanted: str, path: str) -> None:
    assert choose(variants_of(TREE), wanted, "here").files[0].path == path


def test_the_files_of_a_quantization() -> None:
    found = {variant.label: variant for variant in variants_of(TREE)}
    assert sorted(found) == ["BF16", "F16", "IQ4_XS", "Q4_0", "Q4_K_M", "Q8_0", "UD-Q4_K_XL"]
    assert len(found["Q8_0"].files) == 2
    assert {variant.projector.path for variant in found.values()} == {"mmproj-M-F16.gguf"}


def test_several_models_of_one_quantization_must_be_named() -> None:
    with pytest.raises(NotPublishedError, match=r"2 models called Q4_0.*A-Q4_0.gguf, B-Q4_0.gguf"):
        choose(variants_of(files("A-Q4_0.gguf", "B-Q4_0.gguf")), "Q4_0", "here")


def test_a_repository_without_models() -> None:
    with pytest.raises(NotPublishedError, match="no GGUF file"):
        choose(variants_of(files("model.safetensors")), "", "here")
