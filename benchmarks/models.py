"""Variants of the freely available demo model, made once and cached."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.common import cache_folder, log
from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, Request
from workbench.core.events import Failed, Token
from workbench.library.demo import HOW_TO_GET_DEMO, find_demo

_QUANTIZE = """
import os, sys
from llama_cpp import llama_cpp as api
silent = api.llama_log_callback(lambda level, text, data: None)
api.llama_log_set(silent, None)
source, target, kind = sys.argv[1:]
params = api.llama_model_quantize_default_params()
params.ftype = getattr(api, "LLAMA_FTYPE_" + kind)
params.allow_requantize = True
sys.exit(api.llama_model_quantize(os.fsencode(source), os.fsencode(target), params))
"""

FILE_TYPES = {"F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0", "Q4_K_M": "MOSTLY_Q4_K_M", "Q2_K": "MOSTLY_Q2_K"}

LARGE = "1B"
"""A model of 1.1 billion weights in Q4_0 with the demo's vocabulary; they are random, which changes no speed."""
_LAYERS, _WIDTH, _KEYS, _FEED = 16, 2048, 512, 8192


def _write_large(target: Path) -> Path:
    import gguf
    import numpy as np

    writer, demo = gguf.GGUFWriter(target, "llama"), gguf.GGUFReader(demo_model())
    for field in demo.fields.values():
        if field.name.startswith("tokenizer."):
            kinds = [*field.types, None]
            writer.add_key_value(field.name, field.contents(), field.types[0], kinds[1] and kinds[-2])
    writer.add_block_count(_LAYERS)
    writer.add_context_length(4096)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_FEED)
    writer.add_head_count(32)
    writer.add_head_count_kv(8)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocabulary := len(demo.fields["tokenizer.ggml.tokens"].data))
    random = np.random.default_rng(1)

    def add(name: str, rows: int, columns: int) -> None:
        blocks = random.integers(0, 256, (rows, columns // 32, 18), np.uint8)
        blocks[:, :, :2] = np.frombuffer(np.float16(0.1 / columns**0.5).tobytes(), np.uint8)
        writer.add_tensor(name, blocks.reshape(rows, -1), raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    def add_norm(name: str) -> None:
        writer.add_tensor(name, np.ones(_WIDTH, np.float32))

    add("token_embd.weight", vocabulary, _WIDTH)
    add_norm("output_norm.weight")
    for layer in range(_LAYERS):
        for norm in ("attn_norm", "ffn_norm"):
            add_norm(f"blk.{layer}.{norm}.weight")
        for name, rows, columns in (
            ("attn_q", _WIDTH, _WIDTH), ("attn_k", _KEYS, _WIDTH), ("attn_v", _KEYS, _WIDTH),
            ("attn_output", _WIDTH, _WIDTH), ("ffn_gate", _FEED, _WIDTH), ("ffn_up", _FEED, _WIDTH),
            ("ffn_down", _WIDTH, _FEED),
        ):  # fmt: skip
            add(f"blk.{layer}.{name}.weight", rows, columns)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def demo_model() -> Path:
    """The file of the demo model."""
    path = find_demo()
    if path is None:
        raise SystemExit(HOW_TO_GET_DEMO)
    return path


def variant(quant: str) -> Path:
    """The demo model in another quantization, or `LARGE`.

    F16 is made from the demo's own Q4_1, and the others from F16. Their speed and size are those of the type; their
    quality is not, since Q4_1 has lost precision.
    """
    name = "random" if quant == LARGE else "SmolLM2-135M-Instruct"
    target = cache_folder() / "models" / f"{name}.{quant}.gguf"
    if target.exists():
        return target
    target.parent.mkdir(exist_ok=True)
    if quant == LARGE:
        log(f"making {target.name} …")
        return _write_large(target.with_suffix(".part")).rename(target)
    source = demo_model() if quant == "F16" else variant("F16")
    log(f"making {target.name} …")
    unfinished = target.with_suffix(".part")
    command = [sys.executable, "-c", _QUANTIZE, str(source), str(unfinished), FILE_TYPES[quant]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return unfinished.rename(target)


async def token_times(engine: Engine, request: Request) -> list[int]:
    """When each token of an answer was there, in nanoseconds."""
    found = []
    async for batch in engine.generate(request, CancelToken()):
        for event in batch:
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Token):
                found.append(event.at_ns)
    return found
