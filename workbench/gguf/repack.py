"""The copies of weights that llama.cpp rearranges for the processor, and keeps beside the mapped file."""

from __future__ import annotations

from collections.abc import Container, Sequence

from workbench.gguf.header import Header, TensorInfo

_ROWS = 8
"""Rows that are woven into one; a tensor with a rest is left alone."""
_LOOKED_UP = ("token_embd.weight", "per_layer_token_embd.weight", "position_embd.weight", "token_types.weight")
"""Tensors whose rows are picked and not multiplied."""


def host_weights_bytes(headers: Sequence[Header], repacked: Container[str], *, mapped: bool = True) -> int:
    """What the weights take in the memory of the host where nothing is on a GPU.

    Args:
        headers: The file, one header for each of its parts.
        repacked: Tensor types that this processor computes faster in another order.
        mapped: Whether the file is mapped: its pages stay beside the rearranged copies.
    """
    tied = all(tensor.name != "output.weight" for header in headers for tensor in header.tensors)
    total = 0
    for header in headers:
        begin, end = header.file_size, 0
        for tensor in header.tensors:
            copied = is_repacked(tensor, repacked, tied=tied)
            stays = not copied or tensor.name in _LOOKED_UP
            total += tensor.size_bytes if copied or not mapped else 0
            if copied and stays and not mapped:
                total += tensor.size_bytes
            if stays:
                begin, end = min(begin, tensor.offset), max(end, tensor.offset + tensor.size_bytes)
        # The mapping is kept from the first byte to the last one that is still needed.
        total += max(0, end - begin) if mapped else 0
    return total


def is_repacked(tensor: TensorInfo, repacked: Container[str], *, tied: bool) -> bool:
    """Whether llama.cpp makes a rearranged copy of `tensor`.

    Args:
        tensor: A tensor of a model.
        repacked: Tensor types that this processor computes faster in another order.
        tied: Whether the output has no matrix of its own, so that the token embeddings are multiplied as well.
    """
    if tensor.type.name not in repacked or not 2 <= len(tensor.shape) <= 3 or tensor.shape[1] % _ROWS:
        return False
    return tensor.name not in _LOOKED_UP or (tied and tensor.name == "token_embd.weight")
