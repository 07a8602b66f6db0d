"""Search for values that are not finite in the tensors of a file: the weights, or the scales of quantized blocks.

One such scale makes every answer garbage. Layouts of the blocks as in ggml-common.h.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from workbench.gguf.header import Header

_STEP = 16 * 2**20
_F16, _BF16 = 0x7C00, 0x7F80
"""The bits of the exponent, all of which are set in NaN and infinity; for F32 those of its upper half."""
_SCALES: Mapping[str, tuple[tuple[int, ...], int]] = {
    "F32": ((1,), _BF16),
    "BF16": ((0,), _BF16),
    "Q2_K": ((40, 41), _F16),
    "Q3_K": ((54,), _F16),
    "Q6_K": ((104,), _F16),
    "TQ1_0": ((26,), _F16),
    "TQ2_0": ((32,), _F16),
    **dict.fromkeys(("Q4_1", "Q5_1", "Q4_K", "Q5_K"), ((0, 1), _F16)),
    **dict.fromkeys(
        (
            "F16", "Q4_0", "Q5_0", "Q8_0", "IQ4_NL", "IQ4_XS", "IQ1_S", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS",
            "IQ3_S",
        ),
        ((0,), _F16),
    ),
}  # fmt: skip
"""The 16-bit words of a block that are floating-point numbers, and the bits of their exponent."""


def not_finite(header: Header, stopped: Callable[[int], object]) -> Iterator[str]:
    """The tensors with NaN or infinity among their scales; `stopped` is called with the bytes read, and may raise.

    Raises:
        OSError: The file cannot be read.
    """
    import numpy as np

    with Path(header.path).open("rb") as file:
        for tensor in header.tensors:
            if tensor.type.name not in _SCALES:
                continue
            columns, mask = _SCALES[tensor.type.name]
            file.seek(header.data_offset + tensor.offset)
            left, bad = tensor.size_bytes, 0
            step = _STEP // tensor.type.block_bytes * tensor.type.block_bytes
            while left > 0 and (data := file.read(min(step, left))):
                left -= len(data)
                whole = len(data) // tensor.type.block_bytes * tensor.type.block_bytes
                words = np.frombuffer(data[:whole], "<u2").reshape(-1, tensor.type.block_bytes // 2)
                bad += sum(int(np.count_nonzero((words[:, column] & mask) == mask)) for column in columns)
                stopped(len(data))
            if bad:
                yield f"{tensor.name} ({tensor.type.name}) has {bad:,} scales or weights that are NaN or infinite"
