"""Which model files are quantizations of one base model.

The file's own shape (layers, widths, experts) tells models of different sizes apart, whatever they are called; the
words of their names tell apart an instruction-tuned model, its base and other models of the same shape. Names are
written in many ways (`Meta-Llama-3.1-8B-Instruct`, `llama-3.1-8b-instruct`, `Llama 3.1 8B Instruct`), so that only
their words are compared, without those that say who made the file, or how.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workbench.gguf.names import parse_name

GENERIC_NAMES = frozenset({"model", "ggml-model", "gguf", "ggml", "unsloth", "consolidated", "unsloth.gguf"})
"""File names that many models have; the name inside the file says more."""

_HASH = re.compile(r"(?:sha256[-:])?(?:[0-9a-f]{64}|[0-9a-f]{40})(?:\.incomplete|-partial)?", re.IGNORECASE)
_SEPARATOR = re.compile(r"(?<!\d)\.|\.(?!\d)|[^\w.]|_")
_NUMBERED = re.compile(r"(?P<word>[^\W\d_]{3,})(?P<number>\d+(?:\.\d+)*)")
_VERSION = re.compile(r"v(?P<number>\d+(?:\.\d+)*)")
_SIZE = re.compile(r"(?:\d+x)?\d+(?:\.\d+)?[kmbt]")
_HOW = re.compile(r"i?q\d+|i\d|(?:int|mxfp|nvfp|fp|bf|f)\d+|\d+bits?|[0-9a-f]{40,64}")
"""Quantizations as people abbreviate them, and the names of blobs."""
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
"""What a model was trained for: two models of one shape that differ in such a word are never quantizations of one."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a model file says of which model it is. What it does not say is empty or 0."""

    architecture: str = ""
    name: str = ""
    basename: str = ""
    size_label: str = ""
    finetune: str = ""
    version: str = ""
    organization: str = ""
    shape: tuple[int, ...] = ()
    """What quantizing leaves as it is: layers, widths, experts."""

    @property
    def words(self) -> tuple[str, ...]:
        """The words of its name, by the metadata."""
        parts = (self.basename, self.size_label, self.finetune, self.version) if self.basename else (self.name,)
        found: list[str] = []
        for part in parts:
            found += [word for word in words_of(part) if word not in found]
        return tuple(found)


def is_generic(base: str) -> bool:
    """Whether the name of a file, without its quantization, does not tell which model it is."""
    is_quant = parse_name(base).quant == base.upper()
    return is_quant or base.casefold() in GENERIC_NAMES or bool(_HASH.fullmatch(base)) or not words_of(base)


def group_of(base: str, identity: Identity, alias: str = "") -> str:
    """What the quantizations of one base model have in common, and no two models should have.

    Args:
        base: The name of the file without the quantization; empty where the file has no name of its own.
        identity: What the file says of itself.
        alias: What a store calls it, such as `llama3.2:3b`, or the name of its folder. It counts where neither the
            name of the file nor the file itself says which model it is.
    """
    inside = identity.words
    if not base or is_generic(base):
        words = inside or words_of(alias) or words_of(base)
    else:
        words = words_of(_without_maker(base, identity.organization))
        # A file may have been given a shorter name; a size and a purpose that it left out still count.
        sized = any(map(_SIZE.fullmatch, words))
        words += tuple(
            word for word in inside if word not in words and (word in _KINDS or (not sized and _SIZE.fullmatch(word)))
        )
    shape = "x".join(map(str, identity.shape))
    return "/".join((" ".join(sorted(words)), identity.architecture, shape))


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name that tell which model it is, in small letters."""
    found: list[str] = []
    for token in _SEPARATOR.split(name.lower()):
        for word in _split(token):
            is_noise = not word or word in _SAYS_NOTHING or word in _MAKERS or _HOW.fullmatch(word)
            if not is_noise and (word not in found or not word.isalpha()):
                found.append(word)
    return tuple(found)


def _split(token: str) -> Iterable[str]:
    """A word and the number that is glued to it: `llama3.2` and `Llama-3.2` are the same."""
    if (match := _VERSION.fullmatch(token)) is not None:
        return (_trimmed(match["number"]),)
    if (match := _NUMBERED.fullmatch(token)) is not None:
        return (match["word"], _trimmed(match["number"])) if not _HOW.fullmatch(token) else ()
    return (_SYNONYMS.get(token, token),)


def _trimmed(number: str) -> str:
    return number.removesuffix(".0")


def _without_maker(base: str, organization: str) -> str:
    """`base` without what some put before it: the maker (`Qwen_Qwen3-8B`), llama.cpp's cache the whole repository."""
    base = base.rpartition("-GGUF_")[2] or base
    maker, found, rest = base.partition("_")
    return rest if found and rest and organization and _plain(maker) == _plain(organization) else base


def _plain(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def shape_of(numbers: Sequence[int | None]) -> tuple[int, ...]:
    """Numbers that quantizing leaves as they are; empty where the file gives none of them."""
    return tuple(number or 0 for number in numbers) if any(numbers) else ()
