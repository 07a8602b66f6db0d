"""The kinds of layers of a model by their cache: full attention, sliding window, recurrent, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from workbench.gguf.header import Array, Value
from workbench.gguf.model import get_int, get_per_layer, layer_values

MAX_LAYERS = 512
"""The most layers that llama.cpp supports."""


class LayerKind(Enum):
    """The memory of a layer for previous tokens."""

    FULL = "full"
    """Keys and values of the whole context."""
    WINDOW = "window"
    """Keys and values of a sliding window."""
    RECURRENT = "recurrent"
    """A state of fixed size."""
    BOTH = "both"
    """Keys and values of the whole context, and a state."""
    NONE = "none"
    """None of its own."""


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """The layers of a model by kind."""

    kinds: tuple[LayerKind, ...]
    window: int = 0
    """The width of the sliding window in tokens; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class CacheWidths:
    """Values that each layer stores for a token."""

    key: tuple[int, ...]
    value: tuple[int, ...]
    index_key: tuple[int, ...]
    """The index key of sparse attention; 0 in layers without an indexer."""
    index_value: int = 0
    """Width of a value beside it."""


@dataclass(frozen=True, slots=True)
class _Windowed:
    """The pattern of windowed and full layers of an architecture."""

    period: int = 0
    """One in so many layers sees the whole context; 0 where the file lists the layers."""
    dense_first: bool = False
    """Whether the full layer is the first of each period instead of the last."""
    window: int = 0
    """The default width; 0 where the file must state it."""
    fixed: int = 0
    """The width regardless of the file; 0 where the file decides."""


_WINDOWED: Mapping[str, _Windowed] = {
    "afmoe": _Windowed(4),
    "cohere2": _Windowed(4),
    "cohere2moe": _Windowed(4, dense_first=True),
    "deepseek4": _Windowed(),
    "dots3note": _Windowed(),
    "exaone-moe": _Windowed(4),
    "exaone4": _Windowed(4, window=4096),
    "gemma2": _Windowed(2, window=4096),
    "gemma3": _Windowed(6),
    "gemma3n": _Windowed(5),
    "gemma4": _Windowed(),
    "gpt-oss": _Windowed(2),
    "granite_swa": _Windowed(),
    "laguna": _Windowed(4, dense_first=True),
    "llama4": _Windowed(4, window=8192, fixed=8192),
    "maple": _Windowed(),
    "mellum": _Windowed(4),
    "mimo2": _Windowed(),
    "muse-glimmer": _Windowed(4),
    "olmo2": _Windowed(4),
    "plamo3": _Windowed(8),
    "smallthinker": _Windowed(4, dense_first=True, fixed=4096),
    "spark2_5": _Windowed(),
    "step35": _Windowed(),
}
_CACHELESS = frozenset(
    {
        "bert", "dream", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "llada", "llada-moe",
        "modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe", "rnd1", "wavtokenizer-dec",
    }
)  # fmt: skip
"""Encoders and diffusion models, which keep nothing between calls."""
_RECURRENT = frozenset({"arwkv7", "mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7"})
_HYBRID_BY_HEADS = frozenset(
    {
        "bailingmoe3", "glm5-next", "granitehybrid", "jamba", "kimi-k3", "kimi-linear", "lfm2", "lfm2moe", "nemotron_h",
        "nemotron_h_moe", "plamo2",
    }
)  # fmt: skip
"""Architectures whose layers without key and value heads are recurrent."""
_HYBRID_BY_INTERVAL: Mapping[str, int] = {"minimax-01": 8, "qwen35": 4, "qwen35moe": 4, "qwen3next": 4, "qwen4exp": 4}
"""One in so many layers has attention, where the file does not state it."""
_GEMMA3N_OWN_KV = 20
_SHARED_INDEXERS = frozenset({"dots3note", "glm-dsa", "glm5-next", "hy_v4"})
"""Architectures of which some layers have no indexer of their own."""
_GLM_5_2_CONTEXT = 2**20


def layer_count(metadata: Mapping[str, Value], architecture: str) -> int:
    """All layers of the model, including next-token prediction layers; 0 where the file states no valid number."""
    count = get_int(metadata, f"{architecture}.block_count") or 0
    return count if 0 < count <= MAX_LAYERS else 0


def plan_layers(metadata: Mapping[str, Value], architecture: str) -> LayerPlan:
    """The kind of each layer, as llama.cpp allocates its caches."""
    count = layer_count(metadata, architecture)
    nextn = get_int(metadata, f"{architecture}.nextn_predict_layers") or 0
    # Next-token prediction layers have a cache only in a model that has no other layers.
    trunk = count - nextn if 0 < nextn < count else count
    window, windowed = _window(metadata, architecture, trunk)
    recurrent = _recurrent_layers(metadata, architecture, trunk)
    own = trunk
    if architecture == "gemma3n":
        own = min(trunk, _GEMMA3N_OWN_KV)
    elif architecture == "gemma4":
        own -= get_int(metadata, "gemma4.attention.shared_kv_layers") or 0
    kv_heads = _kv_heads(metadata, architecture, count)
    widths = get_per_layer(metadata, f"{architecture}.feed_forward_length", count)
    kinds = []
    for layer in range(count):
        if layer >= own or architecture in _CACHELESS:
            kind = LayerKind.NONE
        elif architecture == "falcon-h1":
            kind = LayerKind.BOTH
        elif layer in recurrent:
            kind = LayerKind.RECURRENT
        elif architecture.startswith("nemotron_h") and widths and widths[layer]:
            # A layer with a feed-forward network has no other function.
            kind = LayerKind.NONE
        elif kv_heads and kv_heads[layer] == 0:
            kind = LayerKind.NONE
        else:
            kind = LayerKind.WINDOW if layer in windowed else LayerKind.FULL
        kinds.append(kind)
    return LayerPlan(tuple(kinds), window)


def is_causal(architecture: str) -> bool:
    """Whether tokens see those before them, in a cache; otherwise they see those of their batch."""
    return architecture not in _CACHELESS | {"llama-embed"}


def is_hybrid(architecture: str) -> bool:
    """Whether the architecture has recurrent layers, alone or in addition to attention."""
    return architecture in _RECURRENT | _HYBRID_BY_HEADS | set(_HYBRID_BY_INTERVAL) | {"falcon-h1"}


def _kv_heads(metadata: Mapping[str, Value], architecture: str, count: int) -> tuple[int, ...] | None:
    kv_heads = get_per_layer(metadata, f"{architecture}.attention.head_count_kv", count)
    return kv_heads or get_per_layer(metadata, f"{architecture}.attention.head_count", count)


def _window(metadata: Mapping[str, Value], architecture: str, trunk: int) -> tuple[int, frozenset[int]]:
    """The width of the sliding window, and the layers that use it."""
    window = get_int(metadata, f"{architecture}.attention.sliding_window")
    if architecture in {"lfm2", "lfm2moe"}:
        return (window, frozenset(range(trunk))) if window else (0, frozenset())
    rule = _WINDOWED.get(architecture)
    if rule is None or (architecture == "exaone4" and trunk != 64):
        return 0, frozenset()
    width = rule.window if window is None else window
    if width and rule.fixed:
        width = rule.fixed
    if not width:
        return 0, frozenset()
    pattern = metadata.get(f"{architecture}.attention.sliding_window_pattern")
    if isinstance(pattern, Array):
        return width, _flagged(pattern, trunk)
    period = rule.period if not isinstance(pattern, int) or isinstance(pattern, bool) else pattern
    if period <= 0:
        return width, frozenset(range(trunk))
    full = 0 if rule.dense_first else period - 1
    return width, frozenset(layer for layer in range(trunk) if layer % period != full)


def _flagged(flags: Array, trunk: int) -> frozenset[int]:
    values = layer_values(flags, flags.length) or ()
    return frozenset(layer for layer, flag in enumerate(values[:trunk]) if flag)


def _recurrent_layers(metadata: Mapping[str, Value], architecture: str, trunk: int) -> frozenset[int]:
    if architecture in _RECURRENT:
        return frozenset(range(trunk))
    if architecture in _HYBRID_BY_INTERVAL:
        listed = metadata.get(f"{architecture}.attention.recurrent_layers")
        if isinstance(listed, Array):
            return _flagged(listed, trunk)
        interval = get_int(metadata, f"{architecture}.full_attention_interval") or _HYBRID_BY_INTERVAL[architecture]
        return frozenset(layer for layer in range(trunk) if (layer + 1) % interval)
    if architecture not in _HYBRID_BY_HEADS:
        return frozenset()
    count = layer_count(metadata, architecture)
    kv_heads = _kv_heads(metadata, architecture, count) or ()
    layers = frozenset(layer for layer, heads in enumerate(kv_heads[:trunk]) if heads == 0)
    if architecture.startswith("nemotron_h"):
        widths = get_per_layer(metadata, f"{architecture}.feed_forward_length", count) or (0,) * count
        layers = frozenset(layer for layer in layers if widths[layer] == 0)
    return layers


def is_latent(metadata: Mapping[str, Value], architecture: str) -> bool:
    """Whether the model has latent attention (MLA), whose values are part of the stored keys."""
    return all(get_int(metadata, f"{architecture}.attention.{kind}_length_mla") for kind in ("key", "value"))


def head_widths(metadata: Mapping[str, Value], architecture: str, plan: LayerPlan) -> CacheWidths:
    """The widths of one head's keys and values in each layer of `plan`."""
    prefix = f"{architecture}.attention"
    heads = get_per_layer(metadata, f"{prefix}.head_count", len(plan.kinds))
    embedding = get_int(metadata, f"{architecture}.embedding_length") or 0
    width = embedding // heads[0] if heads and heads[0] else 0

    def lengths(kind: str) -> tuple[int, ...]:
        full = _length(metadata, f"{prefix}.{kind}_length", width)
        windowed = _length(metadata, f"{prefix}.{kind}_length_swa", full)
        return tuple(windowed if layer is LayerKind.WINDOW else full for layer in plan.kinds)

    sparse = _length(metadata, f"{prefix}.indexer.key_length", 0)
    if not _length(metadata, f"{prefix}.indexer.head_count", 0):
        sparse = 0
    elif _length(metadata, f"{prefix}.indexer.kpool", 0):
        # Beside the key, what it is pooled from.
        sparse *= 3
    keys = lengths("key")
    indexers = [sparse * has for has in _indexers(metadata, architecture, len(plan.kinds))]
    if architecture == "dots3note":
        # llama.cpp gives the indexer of a windowed layer the width of its keys.
        indexers = [
            width and (key if kind is LayerKind.WINDOW else width)
            for width, key, kind in zip(indexers, keys, plan.kinds, strict=True)
        ]
    return CacheWidths(keys, lengths("value"), tuple(indexers))


def _indexers(metadata: Mapping[str, Value], architecture: str, count: int) -> tuple[bool, ...]:
    """Which layers have an indexer of their own; others use the choice of one before."""
    if architecture in _SHARED_INDEXERS:
        listed = get_per_layer(metadata, f"{architecture}.attention.indexer.types", count)
        if listed is not None:
            return tuple(map(bool, listed))
        # GLM 5.2, which has the longer context, does not list them.
        if architecture == "glm-dsa" and _length(metadata, "glm-dsa.context_length", 0) >= _GLM_5_2_CONTEXT:
            return tuple(layer < 2 or layer % 4 == 2 for layer in range(count))
    return (True,) * count


def _length(metadata: Mapping[str, Value], key: str, default: int) -> int:
    given = get_int(metadata, key)
    return default if given is None else given


def cache_widths(metadata: Mapping[str, Value], architecture: str, plan: LayerPlan) -> CacheWidths:
    """The widths of keys and values of each layer of `plan`."""
    count = len(plan.kinds)
    one = head_widths(metadata, architecture, plan)
    heads = _kv_heads(metadata, architecture, count) or (0,) * count
    values = (0,) * count if is_latent(metadata, architecture) or architecture == "deepseek4" else one.value
    return CacheWidths(
        tuple(width * number for width, number in zip(one.key, heads, strict=True)),
        tuple(width * number for width, number in zip(values, heads, strict=True)),
        one.index_key,
        max(one.value, default=0) if any(one.index_key) and architecture == "minimax-m3" else 0,
    )
