"""What llama.cpp's graphs of some families assert: latent attention (MLA) after DeepSeek-V2, RWKV, and experts."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from workbench.gguf.header import Value
from workbench.gguf.layers import is_latent
from workbench.gguf.model import get_int, get_per_layer

_LATENT = frozenset({"deepseek2", "deepseek32", "glm-dsa", "mistral4"})
_RWKV = frozenset({"arwkv7", "rwkv6", "rwkv6qwen2", "rwkv7"})
_TWO_SHIFTS = frozenset({"rwkv6", "rwkv7"})
"""Kinds of RWKV that keep the previous token for both halves of a layer."""
_GATES = range(1, 5)
"""llama.cpp's numbers of the functions from the scores of experts to their weights; 0 is for none named."""
_NAMES_GATE = frozenset(
    {
        "bailingmoe2", "bailingmoe3", "deepseek32", "deepseek4", "dots1", "dots3note", "exaone-moe", "hy_v4", "kimi-k3",
        "kimi-linear", "lfm2moe", "minimax-m2", "minimax-m3", "smallthinker",
    }
)  # fmt: skip
"""Architectures that have no such function of their own."""


class _Family:
    """The numbers of a model, and the names of its tensors."""

    def __init__(self, metadata: Mapping[str, Value], architecture: str, names: Collection[str]) -> None:
        self._metadata = metadata
        self._architecture = architecture
        self._names = names
        self._layers = self._int("block_count")
        prefix = f"{architecture}.attention.head_count"
        self._heads = get_per_layer(metadata, prefix, self._layers) or (0,)
        self._kv_heads = get_per_layer(metadata, f"{prefix}_kv", self._layers) or self._heads

    def _int(self, key: str, default: int = 0) -> int:
        value = get_int(self._metadata, f"{self._architecture}.{key}")
        return default if value is None else value

    def fault(self) -> str | None:
        """The first fault."""
        return (
            (self._rwkv() if self._architecture in _RWKV else None)
            or (self._latent() if self._architecture in _LATENT else None)
            or (self._gate() if self._int("expert_count") else None)
        )

    def _rwkv(self) -> str | None:
        embedding, width = self._int("embedding_length"), get_int(self._metadata, f"{self._architecture}.wkv.head_size")
        if self._architecture in _TWO_SHIFTS and (shifts := self._int("token_shift_count", 2)) != 2:
            return f"the metadata key '{self._architecture}.token_shift_count' is {shifts} instead of 2"
        if width is None:
            return None  # llama.cpp refuses it.
        if width <= 0 or embedding % width:
            return f"its embeddings of {embedding} dimensions are no whole number of heads of {width}"
        own = embedding // width
        for each in self._kv_heads:
            # All keys of rwkv6 are as wide as its embeddings; rwkv6qwen2 has the grouped ones of Qwen.
            grouped = self._architecture == "rwkv6qwen2" and each > 0 and own % each == 0
            if each not in {0, own} and not grouped and self._architecture in {"rwkv6", "rwkv6qwen2"}:
                return f"it has {own} heads, and {each} KV heads"
        for layer in range(self._layers if self._architecture == "rwkv6" else 0):
            lerp = f"blk.{layer}.time_mix_lerp_"
            if f"{lerp}fused.weight" not in self._names and any(
                f"{lerp}{x}.weight" not in self._names for x in "wkvrg"
            ):
                return f"layer {layer} does not have all tensors 'time_mix_lerp'"
        return None

    def _latent(self) -> str | None:
        heads = self._heads[0]
        key = self._int("attention.key_length", self._int("embedding_length") // heads if heads else 0)
        turned, rank = self._int("rope.dimension_count", key), self._int("attention.kv_lora_rank")
        latent = is_latent(self._metadata, self._architecture)
        whole = self._int("attention.key_length_mla") if latent else key
        if turned >= whole:
            return f"RoPE rotates {turned} of the {whole} dimensions of its keys, and leaves none as they are"
        if latent and key != rank + turned:
            return f"its latent keys have {key} dimensions instead of {rank} and the {turned} that RoPE rotates"
        if latent and any(each != 1 for each in self._kv_heads):
            return f"its latent attention has {max(self._kv_heads)} KV heads instead of 1"
        scaled = self._metadata.get(f"{self._architecture}.attention.temperature_scale")
        if scaled and not self._int("attention.temperature_length"):
            return "the temperature of its attention has a scale, and no length"
        return None

    def _gate(self) -> str | None:
        gate = get_int(self._metadata, f"{self._architecture}.expert_gating_func")
        if gate is None or gate in _GATES or (gate == 0 and self._architecture not in _NAMES_GATE):
            return None
        return f"the function that weighs its experts is number {gate}; llama.cpp knows 1 to {_GATES[-1]}"


def family_fault(metadata: Mapping[str, Value], architecture: str, names: Collection[str]) -> str | None:
    """What would make llama.cpp abort while it builds the graph; None where nothing would.

    `names` are those of the tensors.
    """
    return _Family(metadata, architecture, names).fault()
