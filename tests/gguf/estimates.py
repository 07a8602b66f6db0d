"""The memory of whole models, from the arithmetic by layer."""

from __future__ import annotations

from workbench.gguf.compute import graph_widths
from workbench.gguf.memory import MemoryEstimate, cache_bytes_by_layer


def kv_bytes(metadata, settings):
    """Bytes of all caches."""
    return sum(cache_bytes_by_layer(metadata, settings))


def compute_bytes(metadata, settings):
    """Bytes of the compute buffer."""
    tokens = min(settings.ubatch, settings.cells)
    return graph_widths(metadata).bytes(tokens, settings.cells, flash_attention=settings.flash_attention)


def estimate(headers, settings):
    """What the model in `headers` takes, without repacked copies of its weights."""
    metadata = headers[0].metadata
    weights = sum(header.tensor_bytes for header in headers)
    return MemoryEstimate(weights, kv_bytes(metadata, settings), compute_bytes(metadata, settings))
