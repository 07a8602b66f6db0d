"""Write a model of a real size with random weights: its speed and its memory are real, its words are not."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np


def write(path: Path, *, large: bool) -> None:
    """Write a llama in Q8_0: with 1.1 billion weights where it is `large`, else with 2 million."""
    width, layers, heads, feed, vocab = (2048, 16, 32, 8192, 32000) if large else (256, 4, 8, 1024, 4096)
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("random weights")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_block_count(layers)
    writer.add_context_length(8192)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(feed)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads // 4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    letters = [chr(byte if byte in plain else next(others)) for byte in range(256)]
    tokens = ["<|end|>", *letters]
    tokens += [f"Ġword{number}" for number in range(vocab - len(tokens))]
    writer.add_token_list(tokens)
    writer.add_token_types([3, *[1] * (vocab - 1)])
    writer.add_token_merges(["Ġ t"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)

    def add(name: str, rows: int, columns: int) -> None:
        blocks = np.zeros((rows, columns // 32), np.dtype([("scale", "<f2"), ("values", "i1", 32)]))
        blocks["scale"] = 0.02 / 127
        blocks["values"] = random.integers(-127, 128, (rows, columns // 32, 32), np.int8)
        data = blocks.view(np.uint8).reshape(rows, -1)
        writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType.Q8_0)

    add("token_embd.weight", vocab, width)
    add("output.weight", vocab, width)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for layer in range(layers):
        block = f"blk.{layer}."
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{block}{norm}.weight", np.ones(width, np.float32))
        for name, rows, columns in (
            ("attn_q", width, width), ("attn_k", width // 4, width), ("attn_v", width // 4, width),
            ("attn_output", width, width), ("ffn_gate", feed, width), ("ffn_up", feed, width),
            ("ffn_down", width, feed),
        ):  # fmt: skip
            add(f"{block}{name}.weight", rows, columns)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
