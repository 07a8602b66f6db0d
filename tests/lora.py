"""A LoRA adapter for any model: small random matrices, written with the `gguf` package."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.gguf_files import finish
from workbench.gguf.reader import read_header

RANK = 4


def write_lora(
    path: Path,
    model: Path,
    *,
    tensors: int = 4,
    strength: float = 0.05,
    architecture: str | None = None,
    kind: str = "lora",
    alpha: float | None = 4.0,
    leave_out: str = "",
    rank: int = RANK,
) -> Path:
    """Write an adapter for some of the attention matrices of the GGUF file `model`.

    Args:
        path: Where to write it.
        model: What it is for.
        tensors: How many matrices it changes.
        strength: How large its numbers are; 0 changes nothing.
        architecture: What it says that it is for; None for the truth.
        kind: Its `adapter.type`.
        alpha: Its `adapter.lora.alpha`; None for none.
        leave_out: The end of the names of tensors that are not written.
        rank: The smaller dimension of its matrices.
    """
    header = read_header(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture or str(header.metadata["general.architecture"]))
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    if alpha is not None:
        writer.add_float32("adapter.lora.alpha", alpha)
    random = np.random.default_rng(7)
    chosen = [tensor for tensor in header.tensors if tensor.name.endswith(("attn_q.weight", "attn_v.weight"))]
    for tensor in chosen[:tensors]:
        columns, rows = tensor.shape
        for name, shape in (("lora_a", (rank, columns)), ("lora_b", (rows, rank))):
            if not (leave_out and name.endswith(leave_out)):
                numbers = random.standard_normal(shape, np.float32) * strength
                writer.add_tensor(f"{tensor.name}.{name}", numbers)
    finish(writer)
    return path
