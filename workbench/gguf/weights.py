"""The bytes of a model's weights: by layer, in the memory of the host, and read for each decoded token."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from workbench.gguf.header import Header, TensorInfo
from workbench.gguf.layers import layer_count
from workbench.gguf.model import get_int, get_text

_LAYER = re.compile(r"blk\.(\d+)\.")
_LOOKED_UP = ("token_embd", "per_layer_token_embd", "position_embd", "token_types")
"""Tables of which a token reads one row, by the beginning of their names."""
_OF_FIRST_LAYER = ("per_layer_model_proj", "per_layer_proj_norm")
"""Tensors of no layer that are where the first layer is."""
_ROWS = 8
"""Rows that are interleaved; llama.cpp does not repack a tensor whose rows are not a multiple of it."""


def _is_tied(tensors: Iterable[TensorInfo]) -> bool:
    """Whether the output layer has no matrix of its own, and multiplies by the token embeddings."""
    return all(tensor.name != "output.weight" for tensor in tensors)


@dataclass(frozen=True, slots=True)
class PlacedTensor:
    """A tensor in its place in the model."""

    name: str
    layer: int
    """From 0; `INPUT` for the token embeddings, and the number of layers for the output."""
    size_bytes: int
    part: int = -1
    """The part of the model in whose file it is; -1 for the adapter, and for the copy of a tied output."""
    offset: int = 0
    """Where it is there."""


INPUT = -1
"""The place of the token embeddings, which stay in the memory of the host."""


def place_tensors(headers: Sequence[Header], adapter: Header | None = None) -> tuple[PlacedTensor, ...]:
    """The tensors of a model by layer; the matrices of a LoRA adapter belong to the tensors they change."""
    metadata = headers[0].metadata
    count = layer_count(metadata, get_text(metadata, "general.architecture") or "")
    tensors = [(tensor, part) for part, header in enumerate(headers) for tensor in header.tensors]
    # With a tied output, the device of the output layer gets a copy of the token embeddings.
    tied = _is_tied(tensor for tensor, _ in tensors)
    found = []
    for tensor, part in (*tensors, *((tensor, -1) for tensor in (adapter.tensors if adapter is not None else ()))):
        match, name, size = _LAYER.match(tensor.name), tensor.name, tensor.size_bytes
        layer = count
        if match is not None and int(match[1]) < count:
            layer = int(match[1])
        elif name.startswith(_LOOKED_UP):
            layer = INPUT
        elif name.startswith(_OF_FIRST_LAYER):
            layer = 0
        found.append(PlacedTensor(name, layer, size, part, tensor.offset))
        if layer == INPUT and tied and name == "token_embd.weight":
            found.append(PlacedTensor(name, count, size))
    return tuple(found)


def host_weights_bytes(headers: Sequence[Header], repacked: Container[str], *, mapped: bool = True) -> int:
    """Bytes of the weights in the memory of the host, where no layer is on a GPU.

    `repacked` are the tensor types that llama.cpp repacks for this CPU; pages of a mapped file stay beside the copies.
    """
    tied = _is_tied(tensor for header in headers for tensor in header.tensors)
    total = 0
    for header in headers:
        begin, end = header.file_size, 0
        for tensor in header.tensors:
            copied = is_repacked(tensor, repacked, tied=tied)
            stays = not copied or tensor.name.startswith(_LOOKED_UP)
            total += tensor.size_bytes if copied or not mapped else 0
            if copied and stays and not mapped:
                total += tensor.size_bytes
            if stays:
                begin, end = min(begin, tensor.offset), max(end, tensor.offset + tensor.size_bytes)
        # The mapping is kept from the first to the last byte that is still needed.
        total += max(0, end - begin) if mapped else 0
    return total


def mapped_extent(tensors: Iterable[PlacedTensor]) -> int:
    """Bytes of the mapping that is kept for tensors on the host: from the first to the last one in each file."""
    begin, end, copied = dict[int, int](), dict[int, int](), 0
    for tensor in tensors:
        part, last = tensor.part, tensor.offset + tensor.size_bytes
        if part < 0:
            copied += tensor.size_bytes
            continue
        begin[part], end[part] = min(begin.get(part, last), tensor.offset), max(end.get(part, 0), last)
    return copied + sum(end[part] - begin[part] for part in begin)


def is_repacked(tensor: TensorInfo, repacked: Container[str], *, tied: bool) -> bool:
    """Whether llama.cpp makes a repacked copy of `tensor`; with a tied output also of the token embeddings."""
    if tensor.type.name not in repacked or not 2 <= len(tensor.shape) <= 3 or tensor.shape[1] % _ROWS:
        return False
    return not tensor.name.startswith(_LOOKED_UP) or (tied and tensor.name == "token_embd.weight")


def decode_bytes(headers: Sequence[Header]) -> int:
    """Bytes of weights read for one decoded token; of a mixture of experts, those of the experts used."""
    metadata = headers[0].metadata
    architecture = get_text(metadata, "general.architecture")
    experts = get_int(metadata, f"{architecture}.expert_count") or 0
    used = get_int(metadata, f"{architecture}.expert_used_count") or 0
    tensors = [tensor for header in headers for tensor in header.tensors]
    tied = _is_tied(tensors)
    total = 0
    for tensor in tensors:
        if tensor.name.startswith(_LOOKED_UP) and not (tied and tensor.name == "token_embd.weight"):
            continue
        some = "_exps." in tensor.name and 0 < used <= experts
        total += tensor.size_bytes * used // experts if some else tensor.size_bytes
    return total
