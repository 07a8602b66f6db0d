"""The kinds of GGUF files that cannot be opened for conversations, and why."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from workbench.gguf.header import TensorInfo
from workbench.gguf.model import get_int, get_text


class Obstacle(NamedTuple):
    """Why a sound GGUF file cannot be opened."""

    reason: str
    """A clause, such as `this is a LoRA adapter, not a model`."""
    hint: str = "Choose a chat or instruct model."
    """What to do instead; a sentence."""

    def __str__(self) -> str:
        return f"{self.reason}. {self.hint}"


_SENSES = Obstacle("this is the vision or audio part of a model, not a model", "Open the model beside it.")
_NO_MODELS = {
    "adapter": Obstacle("this is a LoRA adapter, not a model", "Open the model that it was made for."),
    "imatrix": Obstacle("this is an importance matrix, not a model", "It is used to make quantizations."),
    "mmproj": _SENSES,
    "clip-vision": _SENSES,
}
"""By `general.type`."""

_EMBEDDING = Obstacle("this is an embedding model, which turns text into vectors and writes none")
_RERANKER = Obstacle("this is a reranker, an embedding model that rates texts and writes none")
_ENCODER_DECODER = Obstacle("this is an encoder-decoder model, which is not supported")
_ENCODER = Obstacle("this is the encoder of an encoder-decoder model, which writes no text")
_DIFFUSION = Obstacle("this is a diffusion model, which does not write token by token and is not supported")
_SPEECH = Obstacle("this is a part of a speech model, which writes no text")
_DRAFT = Obstacle("this is a draft model, which only speeds up another model", "Open the model that it was made for.")
_NO_DECODERS: Mapping[str, Obstacle] = {
    **dict.fromkeys(
        (
            "bert", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "llama-embed", "modern-bert",
            "neo-bert", "nomic-bert", "nomic-bert-moe",
        ),
        _EMBEDDING,
    ),
    **dict.fromkeys(("dream", "llada", "llada-moe", "rnd1"), _DIFFUSION),
    **dict.fromkeys(("dflash", "eagle3", "gemma4-assistant"), _DRAFT),
    **dict.fromkeys(("pockettts", "qwen3tts", "wavtokenizer-dec"), _SPEECH),
    "t5": _ENCODER_DECODER,
    "t5encoder": _ENCODER,
}  # fmt: skip
"""By architecture."""
_POOLING_OF_EMBEDDINGS, _POOLING_OF_RERANKERS = frozenset({1, 2, 3}), 4
"""Values of `pooling_type`: mean, first token and last token; rank."""

DECODERS = frozenset(
    {
        "afmoe", "apertus", "arcee", "arctic", "arwkv7", "baichuan", "bailingmoe", "bailingmoe2", "bailingmoe3",
        "bitnet", "bloom", "chameleon", "chatglm", "codeshell", "cogvlm", "cohere2", "cohere2moe", "command-r", "dbrx",
        "deci", "deepseek", "deepseek2", "deepseek2-ocr", "deepseek32", "deepseek4", "dots1", "dots3note", "ernie4_5",
        "ernie4_5-moe", "exaone", "exaone-moe", "exaone4", "falcon", "falcon-h1", "gemma", "gemma2", "gemma3",
        "gemma3n", "gemma4", "glm-dsa", "glm4", "glm4moe", "glm5-next", "gpt-oss", "gpt2", "gptj", "gptneox",
        "granite", "granite_swa", "granitehybrid", "granitemoe", "graniteswitch", "grok", "grovemoe", "hrm_text",
        "hunyuan-dense", "hunyuan-moe", "hunyuan_vl", "hy_v3", "hy_v4", "internlm2", "jais", "jais2", "jamba",
        "kimi-k3", "kimi-linear", "laguna", "lfm2", "lfm2moe", "llama", "llama4", "maincoder", "mamba", "mamba2",
        "maple", "mellum", "mimo2", "minicpm", "minicpm3", "minimax-01", "minimax-m2", "minimax-m3", "mistral3",
        "mistral4", "mpt", "muse-glimmer", "nanbeige", "nemotron", "nemotron_h", "nemotron_h_moe", "olmo", "olmo2",
        "olmoe", "openelm", "orion", "paddleocr", "pangu-embedded", "phi2", "phi3", "phimoe", "plamo", "plamo2",
        "plamo3", "plm", "qwen", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen35", "qwen35moe", "qwen3moe",
        "qwen3next", "qwen3vl", "qwen3vlmoe", "qwen4exp", "refact", "rwkv6", "rwkv6qwen2", "rwkv7", "seed_oss",
        "smallthinker", "smollm3", "spark2_5", "stablelm", "starcoder", "starcoder2", "step35", "talkie", "xverse",
    }
)  # fmt: skip
"""The other architectures of llama.cpp, whose models generate text."""
_LONGEST_NAME = 64
"""Characters; no architecture has a longer name."""
_OLLAMA = "Get the GGUF that was made for llama.cpp, or use the Ollama server."
_LAYER = re.compile(r"blk\.(\d{1,4})\.")
_SENSES_BEGIN = ("v.", "a.", "s.", "mm.")
"""How the names of the tensors of picture and audio encoders begin, which llama.cpp expects in a file of their own."""


def why_not_loadable(metadata: Mapping[str, object], tensors: Iterable[TensorInfo]) -> Obstacle | None:
    """Why llama.cpp cannot load a file as a model; None where nothing is known against it."""
    architecture = get_text(metadata, "general.architecture") or ""
    if architecture == "clip":
        return _SENSES
    if (other := _NO_MODELS.get(get_text(metadata, "general.type") or "")) is not None:
        return other
    if architecture and not _is_known(architecture):
        return Obstacle(
            f"llama.cpp does not know its architecture {architecture[:40]!r}",
            f"It may be made for Ollama's own engine, or be newer than this llama.cpp. {_OLLAMA}",
        )
    tensors = tuple(tensors)
    if _is_head(metadata, architecture, tensors):
        return _DRAFT
    if any(tensor.name.startswith(_SENSES_BEGIN) for tensor in tensors):
        return Obstacle(
            "the tensors of its picture or audio encoder are in the same file, as Ollama's own engine needs them",
            _OLLAMA,
        )
    return None


def _is_head(metadata: Mapping[str, object], architecture: str, tensors: Iterable[TensorInfo]) -> bool:
    """Whether a file has the layers of a model that predict the tokens after the next (MTP), and no others."""
    heads = get_int(metadata, f"{architecture}.nextn_predict_layers") or 0
    first = (get_int(metadata, f"{architecture}.block_count") or 0) - heads
    layers = {int(match[1]) for tensor in tensors if (match := _LAYER.match(tensor.name))}
    return heads > 0 <= first and bool(layers) and min(layers) >= first


def why_no_text(metadata: Mapping[str, object]) -> Obstacle | None:
    """Why a model that llama.cpp loads does not answer in text; None for a decoder."""
    architecture = get_text(metadata, "general.architecture") or ""
    if architecture in _NO_DECODERS:
        return _NO_DECODERS[architecture]
    pooling = get_int(metadata, f"{architecture}.pooling_type")
    if pooling == _POOLING_OF_RERANKERS:
        return _RERANKER
    if pooling in _POOLING_OF_EMBEDDINGS or metadata.get(f"{architecture}.attention.causal") is False:
        return _EMBEDDING
    return None


def _is_known(architecture: str) -> bool:
    return (
        architecture in DECODERS
        or architecture in _NO_DECODERS
        or (len(architecture) <= _LONGEST_NAME and _is_in_library(architecture))
    )


@lru_cache(256)
def _is_in_library(architecture: str) -> bool:
    """Whether the binary of the installed llama.cpp, which may be newer than the lists above, has such a name."""
    name = architecture.encode("utf-8", "replace") + b"\0"
    try:
        spec = find_spec("llama_cpp")
        folders = [Path(folder) / "lib" for folder in (spec and spec.submodule_search_locations) or ()]
        if named := os.environ.get("LLAMA_CPP_LIB_PATH"):
            folders.insert(0, Path(named))
        for path in (path for folder in folders for path in folder.glob("*llama.*")):
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as binary:
                if binary.find(name) >= 0:
                    return True
    except (ImportError, OSError, ValueError):
        return False
    return False
