"""Sizes of the KV cache and of recurrent state, calculated from the metadata of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.gguf.header import Array, Value
from workbench.gguf.layers import CacheWidths, LayerKind, cache_widths, layer_count, plan_layers
from workbench.gguf.model import get_int, get_per_layer, get_text, layer_values
from workbench.gguf.types import TENSOR_TYPES_BY_NAME

_ATTENTION = frozenset({LayerKind.FULL, LayerKind.WINDOW, LayerKind.BOTH})
INDEXED_RATIO = 4
"""The ratio of compressed layers that have an indexer."""
CELL_PADDING = 256
"""llama.cpp rounds the context up to a multiple of this."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """The settings that determine the size of the caches."""

    n_ctx: int
    """Context length in tokens, over all sequences."""
    type_k: str = "f16"
    type_v: str = "f16"
    sequences: int = 1
    unified: bool = True
    """Whether all sequences share one buffer of cells."""
    ubatch: int = 512
    """Tokens computed at once."""
    full_window: bool = False
    """Whether layers with a sliding window keep the whole context."""
    flash_attention: bool = True

    @property
    def cells(self) -> int:
        """Cells of each buffer."""
        padded = _padded(self.n_ctx)
        return padded if self.unified else _padded(padded // max(1, self.sequences))

    @property
    def streams(self) -> int:
        """Buffers of cells."""
        return 1 if self.unified else self.sequences

    def compressed_cells(self, ratio: int) -> int:
        """Cells of a layer that keeps one compressed key for `ratio` tokens."""
        return _padded(self.cells // ratio)

    def window_cells(self, window: int) -> int:
        """Cells of a layer with a sliding window of `window` tokens."""
        if self.full_window:
            return self.cells
        return _padded(min(self.cells, window * (self.sequences if self.unified else 1) + self.ubatch))


def _padded(cells: int) -> int:
    return -(-cells // CELL_PADDING) * CELL_PADDING


def row_bytes(type_name: str, elements: int) -> int:
    """Bytes of `elements` values of the cache type `type_name`, such as `q8_0`."""
    return TENSOR_TYPES_BY_NAME[type_name.upper()].row_bytes(elements)


def cache_bytes_by_layer(metadata: Mapping[str, Value], settings: CacheSettings) -> tuple[int, ...]:
    """Bytes of the cache of each layer: keys, values and recurrent state."""
    architecture = get_text(metadata, "general.architecture") or ""
    plan = plan_layers(metadata, architecture)
    widths = cache_widths(metadata, architecture, plan)
    states = state_bytes_by_layer(metadata, settings.sequences)
    compressed = _ratios(metadata, architecture, len(plan.kinds))
    sizes = []
    for layer, (kind, size) in enumerate(zip(plan.kinds, states, strict=True)):
        if kind in {LayerKind.FULL, LayerKind.BOTH}:
            size += settings.streams * settings.cells * _key_value_bytes(widths, layer, settings)
        elif kind is LayerKind.WINDOW:
            size += settings.streams * settings.window_cells(plan.window) * _key_value_bytes(widths, layer, settings)
        if kind in _ATTENTION and not any(compressed):
            # The indexer sees the whole context, whatever the layer does.
            size += settings.streams * settings.cells * _index_bytes(widths, layer, settings)
        if compressed[layer] > 0:
            cells = settings.compressed_cells(compressed[layer])
            index = widths.index_key[layer] if compressed[layer] == INDEXED_RATIO else 0
            size += settings.streams * cells * row_bytes(settings.type_k, widths.key[layer])
            size += settings.streams * cells * row_bytes(settings.type_k, index)
        sizes.append(size)
    if architecture == "graniteswitch" and sizes:
        # Its router is one more layer, with one head.
        heads = (get_per_layer(metadata, f"{architecture}.attention.head_count_kv", len(sizes)) or (1,))[0] or 1
        width = widths.key[0] // heads
        value = width if settings.flash_attention else max(widths.value)
        cell = row_bytes(settings.type_k, width) + row_bytes(settings.type_v, value)
        sizes[-1] += settings.streams * settings.cells * cell
    return tuple(sizes)


def state_bytes_by_layer(metadata: Mapping[str, Value], sequences: int = 1) -> tuple[int, ...]:
    """Bytes of the state of each layer: of its recurrence, or of the compression of its keys; 0 where it has none."""
    architecture = get_text(metadata, "general.architecture") or ""
    state = _state_bytes(metadata, architecture, sequences)
    plan = plan_layers(metadata, architecture)
    widths = cache_widths(metadata, architecture, plan)
    ratios = _ratios(metadata, architecture, len(plan.kinds))
    return tuple(
        state if kind in {LayerKind.RECURRENT, LayerKind.BOTH} else sequences * _compressor_bytes(ratio, widths, layer)
        for layer, (kind, ratio) in enumerate(zip(plan.kinds, ratios, strict=True))
    )


def _compressor_bytes(ratio: int, widths: CacheWidths, layer: int) -> int:
    """Bytes of the values and scores of the tokens that are not compressed yet, in F32 (`llama_dsv4_comp_state`)."""
    if ratio == INDEXED_RATIO:
        # Twice as many of twice the width, since the groups overlap.
        return 2 * 4 * 2 * ratio * 2 * (widths.key[layer] + widths.index_key[layer])
    return 2 * 4 * ratio * widths.key[layer]


def _ratios(metadata: Mapping[str, Value], architecture: str, count: int) -> Sequence[int]:
    """Of how many tokens each layer keeps one compressed key beside those of its window; 0 for none (DeepSeek 4)."""
    ratios = metadata.get(f"{architecture}.attention.compress_ratios") if architecture == "deepseek4" else None
    listed = (layer_values(ratios, ratios.length) or ()) if isinstance(ratios, Array) else ()
    found = [ratio if isinstance(ratio, int) else 0 for ratio in listed[:count]]
    return [*found, *[0] * (count - len(found))]


def _index_bytes(widths: CacheWidths, layer: int, settings: CacheSettings) -> int:
    """Bytes of one token in the cache of the indexer of `layer`; 0 where it has none."""
    key = widths.index_key[layer]
    return row_bytes(settings.type_k, key) + row_bytes(settings.type_v, widths.index_value if key else 0)


def _key_value_bytes(widths: CacheWidths, layer: int, settings: CacheSettings) -> int:
    # Without flash attention, values are stored transposed, in rows of the same width for all layers.
    value = widths.value[layer] if settings.flash_attention else max(widths.value, default=0)
    return row_bytes(settings.type_k, widths.key[layer]) + row_bytes(settings.type_v, value)


def _state_bytes(metadata: Mapping[str, Value], architecture: str, sequences: int) -> int:
    """Bytes of the state of one recurrent layer: of its convolution and of its recurrence, in F32."""

    def number(key: str) -> int:
        return get_int(metadata, f"{architecture}.{key}") or 0

    embedding = number("embedding_length")
    count = layer_count(metadata, architecture)
    heads = (get_per_layer(metadata, f"{architecture}.attention.head_count", count) or (0,))[0] if count else 0
    kernel = number("ssm.conv_kernel")
    inner, state = number("ssm.inner_size"), number("ssm.state_size")
    if wkv := number("wkv.head_size"):
        shifts = get_int(metadata, f"{architecture}.token_shift_count")
        convolution, recurrence = (2 if shifts is None else shifts) * embedding, embedding * wkv
    elif short := number("shortconv.l_cache"):
        convolution, recurrence = embedding * (short - 1), 0
    elif kda := number("kda.head_dim"):
        convolution, recurrence = 3 * (kernel - 1 if kernel else 3) * heads * kda, heads * kda * kda
    elif architecture == "minimax-01":
        width = number("attention.key_length") or (embedding // heads if heads else 0)
        convolution, recurrence = 0, width * width * heads
    else:
        convolution = (kernel - 1 if kernel else 0) * (inner + 2 * number("ssm.group_count") * state)
        recurrence = state * inner
    return 4 * max(1, sequences) * (convolution + recurrence)
