"""Grouping of model files that are quantizations of one base model.

The shape of a file (layers, widths, experts) distinguishes models of different sizes, regardless of their names; the
words of the names distinguish an instruction-tuned model, its base and other models of the same shape. Names have many
spellings (`Meta-Llama-3.1-8B-Instruct`, `llama-3.1-8b-instruct`, `Llama 3.1 8B Instruct`), so only their words are
compared, without those that state who made the file, or how.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from workbench.gguf.names import parse_name

GENERIC_NAMES = frozenset({"model", "ggml-model", "gguf", "ggml", "unsloth", "consolidated", "unsloth.gguf"})
"""File names that many models share; the name in the metadata is more specific."""

_HASH = re.compile(r"(?:sha256[-:])?(?:[0-9a-f]{64}|[0-9a-f]{40})(?:\.incomplete|-partial)?", re.IGNORECASE)
_SEPARATOR = re.compile(r"(?<!\d)\.|\.(?!\d)|[^\w.]|_")
_NUMBERED = re.compile(r"(?P<word>[^\W\d_]{3,})(?P<number>\d+(?:\.\d+)*)")
_VERSION = re.compile(r"v(?P<number>\d+(?:\.\d+)*)")
_SIZE = re.compile(r"(?:\d+x)?\d+(?:\.\d+)?[kmbt]")
_HOW = re.compile(r"i?q\d+|i\d|(?:int|mxfp|nvfp|fp|bf|f)\d+|\d+bits?|[0-9a-f]{40,64}")
"""Abbreviations of quantizations, and the names of blobs."""
_SAYS_NOTHING = frozenset(
    {"gguf", "ggml", "imat", "imatrix", "hf", "ud", "quant", "quants", "quantized", "latest", "models", "snapshots"}
)
_MAKERS = frozenset(
    {"bartowski", "unsloth", "thebloke", "mradermacher", "lmstudio", "community", "maziyarpanahi", "ggml-org", "meta"}
)
_SYNONYMS = {"it": "instruct", "inst": "instruct"}
_KINDS = frozenset(
    {
        "instruct", "chat", "base", "coder", "code", "math", "vl", "vision", "omni", "audio", "thinking", "reasoning",
        "embedding", "embed", "reranker", "guard", "abliterated", "uncensored", "distill", "draft", "tool", "rag",
    }
)  # fmt: skip
"""Training purposes: models of one shape that differ in such a word are never quantizations of one model."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a model by its metadata. What the file does not state is empty or 0."""

    architecture: str = ""
    name: str = ""
    basename: str = ""
    size_label: str = ""
    finetune: str = ""
    version: str = ""
    organization: str = ""
    shape: tuple[int, ...] = ()
    """Layers, widths and experts, which quantization does not change; empty where the file states none of them."""

    @property
    def words(self) -> tuple[str, ...]:
        """The words of its name in the metadata."""
        parts = (self.basename, self.size_label, self.finetune, self.version) if self.basename else (self.name,)
        found: list[str] = []
        for part in parts:
            found += [word for word in words_of(part) if word not in found]
        return tuple(found)


def is_generic(base: str) -> bool:
    """Whether the name of a file, without its quantization, does not identify a model."""
    is_quant = parse_name(base).quant == base.upper()
    return is_quant or base.casefold() in GENERIC_NAMES or bool(_HASH.fullmatch(base)) or not words_of(base)


def group_of(base: str, identity: Identity, alias: str = "") -> str:
    """A key that the quantizations of one base model share, and different models should not.

    `base` is the name of the file without the quantization, or empty. `alias`, its name in a store or the name of its
    folder, is used where neither the name of the file nor its metadata identifies the model.
    """
    inside = identity.words
    if not base or is_generic(base):
        words = inside or words_of(alias) or words_of(base)
    else:
        words = words_of(_without_maker(base, identity.organization))
        # The name of a file may be shortened; a size and a purpose missing from it still count.
        sized = any(map(_SIZE.fullmatch, words))
        words += tuple(
            word for word in inside if word not in words and (word in _KINDS or (not sized and _SIZE.fullmatch(word)))
        )
    shape = "x".join(map(str, identity.shape))
    return "/".join((" ".join(sorted(words)), identity.architecture, shape))


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name that identify a model, in lower case."""
    found: list[str] = []
    for token in _SEPARATOR.split(name.lower()):
        for word in _split(token):
            is_noise = not word or word in _SAYS_NOTHING or word in _MAKERS or _HOW.fullmatch(word)
            if not is_noise and (word not in found or not word.isalpha()):
                found.append(word)
    return tuple(found)


def _split(token: str) -> Iterable[str]:
    """A word and the number attached to it: `llama3.2` and `Llama-3.2` are equal."""
    if (match := _VERSION.fullmatch(token)) is not None:
        return (match["number"].removesuffix(".0"),)
    if (match := _NUMBERED.fullmatch(token)) is not None:
        return (match["word"], match["number"].removesuffix(".0")) if not _HOW.fullmatch(token) else ()
    return (_SYNONYMS.get(token, token),)


def _without_maker(base: str, organization: str) -> str:
    """`base` without a prefix: the maker (`Qwen_Qwen3-8B`), or in llama.cpp's cache the repository."""
    base = base.rpartition("-GGUF_")[2] or base
    maker, found, rest = base.partition("_")
    return rest if found and rest and organization and _plain(maker) == _plain(organization) else base


def _plain(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())
