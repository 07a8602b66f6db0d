"""Write `sample_modelfiles/random-lora.gguf`: a LoRA of small random numbers for the demo model.

It changes the query matrices of two layers with rank 1. The numbers come from a fixed seed, so that the file is always
the same.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

TARGET = Path(__file__).parents[1] / "sample_modelfiles" / "random-lora.gguf"
WIDTH = 576
"""Rows and columns of the query matrices of SmolLM2-135M."""
LAYERS = (10, 20)
STRENGTH = 0.08
"""Standard deviation of the numbers: large enough to change an answer, too small to spoil it."""


def main() -> None:
    """Write the file."""
    random = np.random.default_rng(135)
    writer = gguf.GGUFWriter(TARGET, "llama")
    writer.add_type("adapter")
    writer.add_name("Random numbers")
    writer.add_description("Shows how an adapter is put onto a model; it teaches nothing.")
    writer.add_license("cc0-1.0")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 1.0)
    for layer in LAYERS:
        for half, shape in (("lora_a", (1, WIDTH)), ("lora_b", (WIDTH, 1))):
            numbers = random.standard_normal(shape, np.float32) * STRENGTH
            writer.add_tensor(f"blk.{layer}.attn_q.weight.{half}", numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
