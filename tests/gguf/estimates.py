"""The memory of whole models, from the arithmetic by layer."""

from __future__ import annotations

from workbench.core.models import MemoryUse
from workbench.gguf.compute import graph_widths
from workbench.gguf.memory import cache_bytes_by_layer


def kv_bytes(metadata, settings):
    """Bytes of all caches."""
    return sum(cache_bytes_by_layer(metadata, settings))


def compute_bytes(metadata, settings):
    """Bytes of the compute buffer."""
    return graph_widths(metadata).bytes(settings)


def estimate(headers, settings):
    """What the model in `headers` takes, without repacked copies of its weights."""
    metadata = headers[0].metadata
    weights = sum(header.tensor_bytes for header in headers)
    tensors = [tensor for header in headers for tensor in header.tensors]
    return MemoryUse(weights, kv_bytes(metadata, settings), graph_widths(metadata, tensors).bytes(settings))
