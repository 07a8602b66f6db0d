"""Size of llama.cpp's compute buffer, by the widest part of the graph.

The parts of a graph are computed one after the other in the same memory. The tensors alive at once in each part were
determined from llama.cpp's own log for a model of every architecture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workbench.gguf.header import TensorInfo, Value
from workbench.gguf.layers import LayerKind, cache_widths, is_causal, layer_count, plan_layers
from workbench.gguf.memory import INDEXED_RATIO, CacheSettings
from workbench.gguf.model import get_int, get_per_layer, get_text, vocab_size

_F32 = 4
NO_FLASH_ATTENTION = frozenset({"grok", "plm"})
"""Architectures without flash attention: llama.cpp turns it off without a word, or fails an assertion (plm)."""
DELTA_NETS = frozenset({"qwen35", "qwen35moe", "qwen4exp"})
"""Architectures with gated delta nets as recurrent layers."""
_OUTPUTS: Mapping[str, int] = {"chameleon": 2}
"""Copies of the logits, where there is more than one."""
_BEFORE_LOGITS: Mapping[str, int] = {"nemotron_h": 4, "nemotron_h_moe": 3}
"""Values before the logits, in widths of the embedding; otherwise 2, or 6 with shared experts."""
_MASKS_STAY = frozenset({"chameleon", "kimi-k3", "nemotron_h", "plamo"})
"""Architectures whose graph ends above the place of the masks, which the logits do not fit into."""
_GATED_AND_NORMED = frozenset({"afmoe"})
"""Architectures whose mixture of experts follows a gate of the attention, and has norms on both sides."""
_OTHER_INDEXERS: Mapping[str, int] = {"deepseek4": 0, "glm5-next": 5, "qwen4exp": 0}
"""Bytes of each cell and token in sparse attention that has no second set of queries as wide as the embedding; 0 where
they are calculated otherwise."""
_STREAMS_APART = frozenset({"deepseek4", "glm5-next"})
"""Architectures with hyper-connections whose attention sees one set of streams, and whose networks see two."""
_FAR_RATIO = 128
"""The ratio of compressed layers without an indexer."""
_FORWARD = re.compile(r"blk\.(\d+)\.ffn_(.+)")
_STREAMS: Mapping[str, int] = {"gemma3n": 11}
"""Further streams as wide as the embedding that are alive in the whole graph (alternating updates)."""
_RECURRENT: Mapping[str, int] = {
    "arwkv7": 16, "falcon-h1": 2, "granitehybrid": 2, "minimax-01": 7, "plamo2": 3, "rwkv6": 14, "rwkv6qwen2": 14,
    "rwkv7": 19,
}  # fmt: skip
"""Values alive in a recurrent layer, in widths of the embedding, beside those of a state space."""


@dataclass(frozen=True, slots=True)
class _GraphPart:
    """A part of the graph whose tensors are alive at once."""

    values: int
    """Values per token, beside those of masks and scores."""
    full: bool = False
    """Whether the mask of the whole context is still needed."""
    window: bool = False
    """Whether the mask of the sliding window is still needed."""
    scores: LayerKind = LayerKind.NONE
    """The kind of attention that is computed."""
    recurrent: bool = False


@dataclass(frozen=True, slots=True)
class GraphWidths:
    """The widths of a model's graph: values per token in each part, at most."""

    parts: frozenset[_GraphPart]
    window: int
    """The width of the sliding window in tokens."""
    causal: bool
    """Whether it has a cache; otherwise tokens see only those of their batch."""
    vocab: int
    embedding: int
    value: int
    heads: int
    square: int
    """Values for each other token of the batch in a recurrent layer."""
    index: int
    """Bytes for each cell and token in sparse attention, by scores of an indexer; 0 for none."""
    compressed: bool
    """Whether layers have a cache of compressed keys beside that of their window (DeepSeek 4)."""
    flash: bool
    """Whether flash attention is possible."""
    streams: int
    """Values that are alive in the whole graph."""
    logits: int
    """The values alive at the end: the logits, and what is before them in the memory."""
    last: int
    """The logits alone, and what they are computed from."""
    masks_stay: bool
    """Whether the masks are before the logits too, which do not fit into their place."""

    def bytes(self, settings: CacheSettings, *, output: bool = True) -> int:
        """Bytes of the compute buffer for batches of `ubatch` tokens, where the processor computes.

        Without `output`, where it computes layers, but not the logits.
        """
        if not self.embedding:
            return 0
        tokens = min(settings.ubatch, settings.cells)
        logits = self._with_logits(settings, tokens) if output else 0
        return _F32 * (tokens * max(self._layers(settings, tokens), logits) + self.vocab)

    def device_bytes(
        self, settings: CacheSettings, *, layers: bool, output: bool, copies: int = 1, weights: int = 0, cache: int = 0
    ) -> int:
        """Bytes on a GPU that computes layers or the logits, of which the host has another copy.

        `copies` are those of its inputs. For layers on the host it has copies of a tensor of `weights` bytes, and of
        the `cache` of a layer.
        """
        tokens = min(settings.ubatch, settings.cells)
        masks, more = self._inputs(settings, tokens), copies - 1
        needed, behind = 0, 0
        if layers:
            needed = _F32 * tokens * (self._layers(settings, tokens) + more * (masks + self.embedding)) + weights
            behind = copies * (masks + self._places(settings)) if more else 0
        if output:
            logits = (self._with_logits(settings, tokens) if layers else self.last) + more * self.embedding + behind
            needed = max(needed, _F32 * tokens * logits)
        return max(needed, _F32 * tokens * (masks + 3 * self.embedding) + cache) if cache else needed

    def host_bytes(self, settings: CacheSettings, copies: int = 1) -> int:
        """Bytes on the host where GPUs compute: embeddings, masks and places in the cache, and the logits."""
        tokens = min(settings.ubatch, settings.cells)
        inputs = self._inputs(settings, tokens) + self._places(settings)
        return _F32 * (tokens * (copies * inputs + (copies + 1) * self.embedding) + self.vocab)

    def _layers(self, settings: CacheSettings, tokens: int) -> int:
        """Values per token in the widest layer."""
        return max((self._alive(part, settings, tokens) for part in self.parts), default=0) + self.streams

    def _with_logits(self, settings: CacheSettings, tokens: int) -> int:
        """Values per token at the end of the graph."""
        stay = self._masks(settings, tokens)[0] // (2 if settings.flash_attention else 1) if self.masks_stay else 0
        return self.logits + stay

    def _inputs(self, settings: CacheSettings, tokens: int) -> int:
        """Values of the masks for each token."""
        full, window = self._masks(settings, tokens)
        masks = full * any(part.full for part in self.parts) + window * any(part.window for part in self.parts)
        return masks // 2 if settings.flash_attention and self.flash else masks

    def _places(self, settings: CacheSettings) -> int:
        """Values for the places of a token in the cache, which holds its values transposed without flash attention."""
        return 0 if settings.flash_attention and self.flash else 2 * self.value

    def _masks(self, settings: CacheSettings, tokens: int) -> tuple[int, int]:
        """The cells of the whole context, and of a sliding window."""
        return (settings.cells if self.causal else tokens), settings.window_cells(self.window)

    def _alive(self, part: _GraphPart, settings: CacheSettings, tokens: int) -> int:
        """The values per token in a part of the graph."""
        flash = settings.flash_attention and self.flash
        full, window = self._masks(settings, tokens)
        masks = full * part.full + window * part.window
        cells = {LayerKind.NONE: 0, LayerKind.WINDOW: window}.get(part.scores, full)
        pairs = self.index * full if part.scores is not LayerKind.WINDOW else 0
        if self.compressed and part.window:
            # One mask for the indexer and one each for the two ratios; the layer has the window and one of them.
            indexed = settings.compressed_cells(INDEXED_RATIO)
            masks += 2 * indexed + settings.compressed_cells(_FAR_RATIO)
            cells, pairs = window + indexed, 8 * indexed
        # The mask is F16 with flash attention.
        alive = part.values + (masks // 2 if flash else masks)
        if not flash and (part.full or part.window):
            # The target index of each value takes eight bytes, as the cache holds values transposed.
            alive += 2 * self.value
        if part.scores is not LayerKind.NONE:
            alive += pairs // _F32 + (0 if flash else self.heads * cells + bool(pairs) * full)
        return alive + self.square * tokens * part.recurrent


def graph_widths(metadata: Mapping[str, Value], tensors: Iterable[TensorInfo] = ()) -> GraphWidths:
    """The widths of the graph for a model with this metadata, and with these tensors where they are known."""
    architecture = get_text(metadata, "general.architecture") or ""
    count = layer_count(metadata, architecture)
    plan = plan_layers(metadata, architecture)
    caches = cache_widths(metadata, architecture, plan)

    def number(key: str) -> int:
        return get_int(metadata, f"{architecture}.{key}") or 0

    def widest(key: str) -> int:
        return max(get_per_layer(metadata, f"{architecture}.{key}", count) or (0,), default=0)

    tensors = tuple(tensors)
    embedding, heads = number("embedding_length"), widest("attention.head_count")
    head = number("attention.key_length") or (embedding // heads if heads else 0)
    used = widest("expert_used_count") if number("expert_count") else 0
    inner, kda = number("ssm.inner_size"), number("kda.head_dim")
    recurrent = _RECURRENT.get(architecture, 0) * embedding
    if inner:
        recurrent += (
            (3 if architecture in DELTA_NETS else 5) * inner
            + 6 * number("ssm.group_count") * number("ssm.state_size")
            + 3 * embedding
        )
    elif kda:
        recurrent += 7 * heads * kda + 3 * embedding
    # Indexed attention has a second set of queries.
    compressed = architecture == "deepseek4"
    per_cell = _OTHER_INDEXERS.get(architecture, 6)
    if architecture == "qwen4exp":
        per_cell = 2 * number("attention.indexer.head_count") + 1
    second = 3 * (any(caches.index_key) and architecture not in _OTHER_INDEXERS)
    queries = heads * max(head, number("attention.key_length_mla"))
    fused = any(tensor.name == "blk.0.attn_qkv.weight" for tensor in tensors)
    apart = architecture in _STREAMS_APART
    hyper = number("hyper_connection.count") * embedding
    if tensors:
        networks = _networks(tensors, count, embedding, used)
    else:
        networks = [3 * embedding + 3 * widest("feed_forward_length")] * count
    if architecture in _GATED_AND_NORMED:
        networks = [each + 8 * embedding // 3 for each in networks]
    if apart:
        # The streams before and after the network are alive together.
        networks = [each + hyper * 5 // 8 for each in networks]
    # Where attention and feed-forward network see the same input, it stays for both.
    norms = ("ffn_norm", "post_attention_norm", "attn_post_norm", "attn_output_norm")
    parallel = any(networks) and not any(
        tensor.name.startswith(tuple(f"blk.0.{norm}" for norm in norms)) for tensor in tensors
    )
    causal, vocab = is_causal(architecture), vocab_size(metadata, architecture) or 0
    # The sum of shared and chosen experts ends at a place that is higher in the memory.
    before = _BEFORE_LOGITS.get(architecture, 6 if any("_shexp" in tensor.name for tensor in tensors) else 2)
    # A fused projection stays until its values are stored, beside the keys that are made of it.
    attention = (3 + second) * embedding + queries
    widths = [attention + key + value + key * fused for key, value in zip(caches.key, caches.value, strict=True)]
    return GraphWidths(
        parts=_parts(plan.kinds if causal else (LayerKind.FULL,) * count, widths, networks, recurrent),
        window=plan.window,
        causal=causal,
        vocab=vocab,
        embedding=embedding,
        value=max(caches.value, default=0),
        heads=0 if caches.index_value else heads,
        square=3 * heads if architecture == "minimax-01" else 0,
        # Block-sparse attention has scores for each group of heads.
        index=(8 * number("attention.indexer.head_count") + 4 if caches.index_value else per_cell)
        * any(caches.index_key),
        compressed=compressed,
        flash=architecture not in NO_FLASH_ATTENTION,
        streams=(_STREAMS.get(architecture, 0) + parallel) * embedding
        + (hyper if apart else hyper * 5 // 2)
        + 2 * count * number("embedding_length_per_layer_input"),
        logits=_OUTPUTS.get(architecture, 1) * vocab + before * embedding,
        last=_OUTPUTS.get(architecture, 1) * vocab + embedding,
        masks_stay=architecture in _MASKS_STAY,
    )


def _parts(
    kinds: Sequence[LayerKind], attention: Sequence[int], networks: Sequence[int], recurrent: int
) -> frozenset[_GraphPart]:
    """The different parts of the layers, with the masks that they or later layers need."""
    whole = {LayerKind.FULL, LayerKind.BOTH}
    last_full = max((layer for layer, kind in enumerate(kinds) if kind in whole), default=-1)
    last_window = max((layer for layer, kind in enumerate(kinds) if kind is LayerKind.WINDOW), default=-1)
    found = set()
    for layer, kind in enumerate(kinds):
        full, window = layer <= last_full, layer <= last_window
        if kind in whole or kind is LayerKind.WINDOW:
            found.add(_GraphPart(attention[layer], full, window, kind))
        if kind in {LayerKind.RECURRENT, LayerKind.BOTH}:
            found.add(_GraphPart(recurrent, full, window, recurrent=True))
        found.add(_GraphPart(networks[layer], layer < last_full, layer < last_window))
    return frozenset(found)


def _networks(tensors: Iterable[TensorInfo], count: int, embedding: int, used: int) -> Sequence[int]:
    """The values alive in the feed-forward network of each layer."""
    rows: list[dict[str, int]] = [{} for _ in range(count)]
    for tensor in tensors:
        match = _FORWARD.match(tensor.name)
        if match is not None and len(tensor.shape) > 1 and int(match[1]) < count:
            # The down projection has the width of the network as its input.
            name = match[2].removesuffix(".weight")
            width = tensor.shape[0] if name.startswith("down") else tensor.shape[1]
            rows[int(match[1])][name] = width
    return [max(_feed_forward(each, embedding, used), default=0) for each in rows]


def _feed_forward(rows: Mapping[str, int], embedding: int, used: int) -> Iterable[int]:
    """The values alive in each kind of network of a layer, by the widths of its tensors."""
    if width := rows.get("down", 0):
        up = rows.get("up", 0)
        gated = "gate" in rows or up == 2 * width
        yield 3 * embedding + 3 * width if gated else 7 * embedding // 4 + 2 * width
    if width := rows.get("down_shexp", 0):
        yield 4 * embedding + 3 * width
    if width := rows.get("down_exps", 0):
        experts = used * width
        if "gate_exps" not in rows and "gate_up_exps" not in rows:
            yield 4 * embedding + experts + used * embedding
            return
        # The output of every expert follows at the end, where it does not fit into the place of gates and ups.
        yield 3 * embedding + embedding // 3 + 3 * experts + (used * embedding if used * embedding > 2 * experts else 0)
