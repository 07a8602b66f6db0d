"""Facts of a model from its header."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.gguf.header import Array, Header
from workbench.gguf.targets import FILE_TYPES, GUESSED_FILE_TYPE


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as its file describes it. Facts that the file does not state are None or empty."""

    architecture: str | None
    name: str | None
    parameters: int
    """All weights: the elements of all tensors."""
    weights_bytes: int
    """Bytes of all tensors."""
    bits_per_weight: float | None
    """Measured: 8 * bytes / weights. None for a file without tensors."""
    label: str | None
    """The quantization that `general.file_type` names; only a label, as tensors may have several types."""
    type_bytes: Mapping[str, int]
    """Bytes by tensor type, in descending order."""
    context_length: int | None
    """The longest context that the model was trained for, in tokens."""
    block_count: int | None
    """Layers."""
    embedding_length: int | None
    feed_forward_length: int | None
    """The maximum of all layers."""
    head_counts: tuple[int, ...]
    """Attention heads of each layer; 0 for a layer without attention."""
    kv_head_counts: tuple[int, ...]
    """Key and value heads of each layer; 0 for a layer without a KV cache."""
    expert_count: int | None
    vocab_size: int | None
    chat_template: str | None

    @property
    def main_type(self) -> str | None:
        """The tensor type with the most bytes."""
        return next(iter(self.type_bytes), None)

    @property
    def quant(self) -> str | None:
        """The quantization: the label, or without one the tensor type with the most bytes."""
        return self.label or self.main_type


def get_int(metadata: Mapping[str, object], key: str) -> int | None:
    """The integer at `key`; None for a missing key or another type."""
    value = metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def get_text(metadata: Mapping[str, object], key: str) -> str | None:
    """The text at `key`; None for a missing key, an empty text or another type."""
    value = metadata.get(key)
    return value if isinstance(value, str) and value else None


def get_per_layer(metadata: Mapping[str, object], key: str, layers: int) -> tuple[int, ...] | None:
    """One number for each layer; the file has either a list of them or one for all."""
    value = metadata.get(key)
    if isinstance(value, Array):
        return layer_values(value, layers)
    number = get_int(metadata, key)
    return None if number is None else (number,) * layers


def layer_values(value: Array, layers: int) -> tuple[int, ...] | None:
    """The elements of `value` as integers, if there is exactly one for each layer."""
    if value.values is None or value.length != layers:
        return None
    numbers = tuple(int(item) for item in value.values if isinstance(item, int))
    return numbers if len(numbers) == layers else None


def vocab_size(metadata: Mapping[str, object], architecture: str | None) -> int | None:
    """The number of tokens of the vocabulary."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    return tokens.length if isinstance(tokens, Array) else get_int(metadata, f"{architecture}.vocab_size")


def describe(header: Header, shards: Sequence[Header] = ()) -> ModelFacts:
    """The facts of a model; the metadata is that of the first shard, whose `header` comes first."""
    meta = header.metadata
    tensors = [tensor for part in (header, *shards) for tensor in part.tensors]
    parameters = sum(tensor.elements for tensor in tensors)
    weights_bytes = sum(tensor.size_bytes for tensor in tensors)
    type_bytes: Counter[str] = Counter()
    for tensor in tensors:
        type_bytes[tensor.type.name] += tensor.size_bytes

    architecture = get_text(meta, "general.architecture")
    file_type = get_int(meta, "general.file_type")
    layers = get_int(meta, f"{architecture}.block_count")
    count = layers if layers is not None and 0 < layers <= 512 else 0
    embedding = get_int(meta, f"{architecture}.embedding_length")
    heads = get_per_layer(meta, f"{architecture}.attention.head_count", count) or (0,) * count
    kv_heads = get_per_layer(meta, f"{architecture}.attention.head_count_kv", count) or heads
    feed_forward = get_per_layer(meta, f"{architecture}.feed_forward_length", count)
    return ModelFacts(
        architecture=architecture,
        name=get_text(meta, "general.name"),
        parameters=parameters,
        weights_bytes=weights_bytes,
        bits_per_weight=8 * weights_bytes / parameters if parameters else None,
        label=None if file_type is None else FILE_TYPES.get(file_type & ~GUESSED_FILE_TYPE),
        type_bytes=dict(type_bytes.most_common()),
        context_length=get_int(meta, f"{architecture}.context_length"),
        block_count=layers,
        embedding_length=embedding,
        feed_forward_length=max(feed_forward, default=None) if feed_forward else None,
        head_counts=heads,
        kv_head_counts=kv_heads,
        expert_count=get_int(meta, f"{architecture}.expert_count"),
        vocab_size=vocab_size(meta, architecture),
        chat_template=get_text(meta, "tokenizer.chat_template"),
    )
