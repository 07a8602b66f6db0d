"""Facts of a tokenizer from the header of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.gguf.header import Array, Value
from workbench.gguf.model import get_int, get_text

CONTROL = 3
"""The token type of control tokens."""

_SPECIAL = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "eot": "eot_token_id",
    "eom": "eom_token_id",
    "unknown": "unknown_token_id",
    "separator": "seperator_token_id",
    "padding": "padding_token_id",
    "mask": "mask_token_id",
    "fim_prefix": "fim_pre_token_id",
    "fim_suffix": "fim_suf_token_id",
    "fim_middle": "fim_mid_token_id",
}
_DEFAULTS: Mapping[str, Mapping[str, int]] = {
    "llama": {"bos": 1, "eos": 2, "unknown": 0},
    "gpt2": {"bos": 11, "eos": 11},
    "t5": {"eos": 1, "unknown": 2, "padding": 0},
}
"""llama.cpp's default token ids, by tokenizer."""
_BEGINS_BY_ITSELF = frozenset(
    {
        "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano",
        "tekken", "chameleon",
    }
)  # fmt: skip
"""Pre-tokenizer rules that add a first token by default."""


@dataclass(frozen=True, slots=True)
class SpecialToken:
    """A special token."""

    role: str
    """`bos`, `eos`, `eot`, …"""
    id: int
    text: str | None
    """None where the vocabulary was not read or has no such token."""
    type: int | None
    """The token type in the vocabulary: 1 normal, 2 unknown, 3 control, 4 user-defined, 6 byte."""
    by_default: bool = False
    """Whether it is llama.cpp's default, because the file names none."""


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """A tokenizer as the file describes it."""

    model: str | None
    """`gpt2`, `llama`, …; None where the file has none."""
    rule: str | None
    """The name of the pre-tokenizer rule."""
    vocab_size: int | None
    merges: int | None
    special: tuple[SpecialToken, ...]
    adds_bos: bool
    """Whether every text gets a first token."""
    adds_eos: bool
    adds_by_default: bool
    """Whether `adds_bos` is llama.cpp's default, because the file does not state it."""
    templates: tuple[str, ...]
    """The names of its chat templates; the unnamed one is called `default`."""

    def token(self, role: str) -> SpecialToken | None:
        """The token for `role`; None where there is none."""
        return next((token for token in self.special if token.role == role), None)

    def text(self, role: str) -> str:
        """The text of the token for `role`; empty where there is none."""
        token = self.token(role)
        return token.text or "" if token else ""


def describe_tokenizer(metadata: Mapping[str, Value]) -> TokenizerFacts:
    """The facts of the tokenizer in `metadata`."""
    model, rule = get_text(metadata, "tokenizer.ggml.model"), get_text(metadata, "tokenizer.ggml.pre")
    tokens, merges = metadata.get("tokenizer.ggml.tokens"), metadata.get("tokenizer.ggml.merges")
    special = []
    for role, key in _SPECIAL.items():
        named = get_int(metadata, f"tokenizer.ggml.{key}")
        default = _DEFAULTS.get(model or "", {}).get(role)
        number = default if named is None else named
        if number is not None:
            text, kind = _element(tokens, number), _element(metadata.get("tokenizer.ggml.token_type"), number)
            text = text if isinstance(text, str) else None
            kind = int(kind) if isinstance(kind, int) else None
            special.append(SpecialToken(role, number, text, kind, by_default=named is None))
    adds_bos = metadata.get("tokenizer.ggml.add_bos_token")
    template = "tokenizer.chat_template"
    names = [key.removeprefix(f"{template}.") for key in metadata if key.startswith(f"{template}.")]
    return TokenizerFacts(
        model=model,
        rule=rule,
        vocab_size=tokens.length if isinstance(tokens, Array) else None,
        merges=merges.length if isinstance(merges, Array) else None,
        special=tuple(special),
        adds_bos=adds_bos if isinstance(adds_bos, bool) else model == "llama" or rule in _BEGINS_BY_ITSELF,
        adds_eos=metadata.get("tokenizer.ggml.add_eos_token") is True,
        adds_by_default=not isinstance(adds_bos, bool),
        templates=(*(["default"] if get_text(metadata, template) else []), *names),
    )


def _element(values: Value | None, index: int) -> bool | int | float | str | None:
    if not isinstance(values, Array) or values.values is None or not 0 <= index < values.length:
        return None
    return values.values[index]
