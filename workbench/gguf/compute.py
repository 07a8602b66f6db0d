"""Size of llama.cpp's compute buffer, by the widest part of the graph.

The parts of a graph are computed one after the other in the same memory. The tensors alive at once in each part were
determined from llama.cpp's own log for models of many shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.gguf.header import Value
from workbench.gguf.layers import cache_widths, layer_count, plan_layers
from workbench.gguf.model import get_int, get_per_layer, get_text, vocab_size

_F32 = 4


@dataclass(frozen=True, slots=True)
class GraphWidths:
    """The widths of a model's graph: values per token in each part, at most."""

    layers: int
    vocab: int
    embedding: int
    feed_forward: int
    """The feed-forward network; of a mixture of experts, all experts used by a token."""
    query: int
    key: int
    value: int
    heads: int
    masks: int
    """Attention masks: a second one where some layers have a sliding window."""
    experts: bool

    def bytes(self, tokens: int, cells: int, *, flash_attention: bool, output: bool = True) -> int:
        """Bytes of the compute buffer for batches of `tokens` and a cache of `cells`.

        Without `output`, of a device that computes layers, but not the logits.
        """
        embedding = self.embedding
        if not embedding:
            return 0
        if flash_attention:
            # The mask is F16 then.
            inputs, scores = self.masks * cells // 2, 0
        else:
            # The target index of each value takes eight bytes, as the cache holds values transposed.
            inputs, scores = self.masks * cells + 2 * self.value, self.heads * cells
        attention = inputs + 3 * embedding + self.query + self.key + self.value + scores
        # After the last attention its inputs are no longer needed.
        kept = inputs if self.layers > 1 else 0
        feed_forward = kept + 3 * self.feed_forward + (4 if self.experts else 3) * embedding
        logits = self.vocab + 2 * embedding if output else 0
        return _F32 * (tokens * max(attention, feed_forward, logits) + self.vocab)

    def host_bytes(self, tokens: int, cells: int) -> int:
        """Bytes on the host with all layers on GPUs: embeddings, masks and logits."""
        return _F32 * (tokens * (self.embedding + self.masks * cells) + self.vocab)


def graph_widths(metadata: Mapping[str, Value]) -> GraphWidths:
    """The widths of the graph for a model with this metadata."""
    architecture = get_text(metadata, "general.architecture") or ""
    count = layer_count(metadata, architecture)
    plan = plan_layers(metadata, architecture)
    caches = cache_widths(metadata, architecture, plan)

    def number(key: str) -> int:
        return get_int(metadata, f"{architecture}.{key}") or 0

    def widest(key: str) -> int:
        return max(get_per_layer(metadata, f"{architecture}.{key}", count) or (0,), default=0)

    embedding, heads = number("embedding_length"), widest("attention.head_count")
    head = number("attention.key_length") or (embedding // heads if heads else 0)
    used = widest("expert_used_count") if number("expert_count") else 0
    experts = used * (number("expert_feed_forward_length") or widest("feed_forward_length"))
    return GraphWidths(
        layers=count,
        vocab=vocab_size(metadata, architecture) or 0,
        embedding=embedding,
        feed_forward=experts or widest("feed_forward_length"),
        query=heads * head,
        key=max(caches.key, default=0),
        value=max(caches.value, default=0),
        heads=heads,
        masks=2 if plan.window and len(set(plan.kinds)) > 1 else 1,
        experts=bool(used),
    )
