"""What one more token costs: the bytes of weights that it has to read."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.gguf.header import Header
from workbench.gguf.model import get_int, get_text

_EXPERTS = "_exps."
_INPUTS = ("token_embd", "per_layer_token_embd", "position_embd", "token_types")
"""Tables of which a token reads one row."""


def decode_bytes(headers: Sequence[Header]) -> int:
    """Bytes of weights that the decoding of one token reads; of a mixture of experts, those that are used."""
    metadata = headers[0].metadata
    architecture = get_text(metadata, "general.architecture")
    experts = get_int(metadata, f"{architecture}.expert_count") or 0
    used = get_int(metadata, f"{architecture}.expert_used_count") or 0
    tensors = [tensor for header in headers for tensor in header.tensors]
    tied = all(tensor.name != "output.weight" for tensor in tensors)
    total = 0
    for tensor in tensors:
        if tensor.name.startswith(_INPUTS) and not (tied and tensor.name == "token_embd.weight"):
            continue
        if _EXPERTS in tensor.name and 0 < used <= experts:
            total += tensor.size_bytes * used // experts
        else:
            total += tensor.size_bytes
    return total
