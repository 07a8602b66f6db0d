"""Size of llama.cpp's compute buffer, by the widest part of the graph.

The parts of a graph are computed one after the other in the same memory. The tensors alive at once in each part were
determined from llama.cpp's own log for a model of every architecture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workbench.gguf.header import TensorInfo, Value
from workbench.gguf.layers import LayerKind, LayerPlan, cache_widths, is_causal, layer_count, plan_layers
from workbench.gguf.memory import CacheSettings
from workbench.gguf.model import get_int, get_per_layer, get_text, vocab_size

_F32 = 4
NO_FLASH_ATTENTION = frozenset({"grok"})
"""Architectures for which llama.cpp turns flash attention off, without a word."""
DELTA_NETS = frozenset({"qwen35", "qwen35moe", "qwen4exp"})
"""Architectures with gated delta nets as recurrent layers."""
_STREAMS: Mapping[str, int] = {"gemma3n": 11}
"""Further streams as wide as the embedding that are alive in the whole graph (alternating updates)."""
_RECURRENT: Mapping[str, int] = {
    "arwkv7": 16, "falcon-h1": 2, "granitehybrid": 2, "minimax-01": 7, "plamo2": 3, "rwkv6": 14, "rwkv6qwen2": 14,
    "rwkv7": 16,
}  # fmt: skip
"""Values alive in a recurrent layer, in widths of the embedding, beside those of a state space."""


@dataclass(frozen=True, slots=True)
class GraphWidths:
    """The widths of a model's graph: values per token in each part, at most."""

    plan: LayerPlan
    causal: bool
    """Whether it has a cache; otherwise tokens see only those of their batch."""
    vocab: int
    embedding: int
    feed_forward: int
    """The values alive in the feed-forward network, its input and output included."""
    attention: int
    """The values alive in the attention, its input and output and the queries included."""
    key: int
    value: int
    heads: int
    recurrent: int
    """The values alive in a recurrent layer."""
    square: int
    """Values for each other token of the batch in a recurrent layer."""
    index: int
    """Values for each two cells of sparse attention, by scores of an indexer; 0 for none."""
    flash: bool
    """Whether flash attention is possible."""
    streams: int
    """Values that are alive in the whole graph."""

    def bytes(self, settings: CacheSettings, *, output: bool = True) -> int:
        """Bytes of the compute buffer for batches of `ubatch` tokens.

        Without `output`, of a device that computes layers, but not the logits.
        """
        embedding = self.embedding
        if not embedding:
            return 0
        tokens = min(settings.ubatch, settings.cells)
        flash = settings.flash_attention and self.flash
        cells, scores = self._cells(settings, tokens), 0
        # The mask is F16 with flash attention.
        inputs = sum(cells) // 2 if flash else sum(cells)
        if cells and not flash:
            # The target index of each value takes eight bytes, as the cache holds values transposed.
            inputs += 2 * self.value
            scores = self.heads * max(cells)
        if self.index and cells:
            scores += max(cells) * (self.index + (not flash)) // 2
        attention = self.attention + self.key + self.value + scores if cells else 0
        recurrent = self.recurrent + self.square * tokens
        # After the last attention its inputs are no longer needed.
        kept = inputs if len(self.plan.kinds) > 1 else 0
        layers = max(inputs + attention, kept + self.feed_forward, kept + recurrent) + self.streams
        logits = self.vocab + 2 * embedding if output else 0
        return _F32 * (tokens * max(layers, logits) + self.vocab)

    def host_bytes(self, settings: CacheSettings) -> int:
        """Bytes on the host with all layers on GPUs: embeddings, masks and logits."""
        tokens = min(settings.ubatch, settings.cells)
        return _F32 * (tokens * (self.embedding + sum(self._cells(settings, tokens))) + self.vocab)

    def _cells(self, settings: CacheSettings, tokens: int) -> Sequence[int]:
        """The widths of the attention masks."""
        if not self.causal:
            return (tokens,)
        kinds = set(self.plan.kinds)
        full = (settings.cells,) if kinds & {LayerKind.FULL, LayerKind.BOTH} else ()
        return (*full, settings.window_cells(self.plan.window)) if LayerKind.WINDOW in kinds else full


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
    others = 3 * bool(caches.index_key)
    network = max(_feed_forward(tensors, embedding, used), default=0)
    # Where attention and feed-forward network see the same input, it stays for both.
    norms = ("ffn_norm", "post_attention_norm", "attn_post_norm", "attn_output_norm")
    parallel = bool(network) and not any(
        tensor.name.startswith(tuple(f"blk.0.{norm}" for norm in norms)) for tensor in tensors
    )
    return GraphWidths(
        plan=plan,
        causal=is_causal(architecture),
        vocab=vocab_size(metadata, architecture) or 0,
        embedding=embedding,
        feed_forward=network if tensors else 3 * embedding + 3 * widest("feed_forward_length"),
        attention=(3 + others) * embedding + heads * head,
        key=max(caches.key, default=0),
        value=max(caches.value, default=0),
        heads=heads,
        recurrent=recurrent,
        square=3 * heads if architecture == "minimax-01" else 0,
        # Block-sparse attention has scores for each group of heads.
        index=(3 * number("attention.indexer.head_count") + 4 if caches.index_value else 3) * bool(caches.index_key),
        flash=architecture not in NO_FLASH_ATTENTION,
        streams=(_STREAMS.get(architecture, 0) + parallel + number("hyper_connection.count") * 5 // 2) * embedding
        + 2 * count * number("embedding_length_per_layer_input"),
    )


def _feed_forward(tensors: Iterable[TensorInfo], embedding: int, used: int) -> Iterable[int]:
    """The values alive in each kind of feed-forward network that the tensors make."""
    rows: dict[str, int] = {}
    for tensor in tensors:
        name = tensor.name.partition(".ffn_")[2].removesuffix(".weight")
        if name and len(tensor.shape) > 1:
            # The down projection has the width of the network as its input.
            width = tensor.shape[0] if name.startswith("down") else tensor.shape[1]
            rows[name] = max(rows.get(name, 0), width)
    if width := rows.get("down", 0):
        up = rows.get("up", 0)
        gated = "gate" in rows or up == 2 * width
        yield 3 * embedding + 3 * width if gated else 7 * embedding // 4 + 2 * width
    if width := rows.get("down_shexp", 0):
        yield 4 * embedding + 3 * width
    if width := rows.get("down_exps", 0):
        experts = used * width
        # The output of every expert follows at the end, where it does not fit into the place of gates and ups.
        yield 3 * embedding + embedding // 3 + 3 * experts + (used * embedding if used * embedding > 2 * experts else 0)
