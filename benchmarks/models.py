"""Variants of the freely available demo model, made once and cached."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.common import cache_folder, log
from scripts.gpu_model import write
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
"""A model of 1.1 billion random weights in Q8_0, which changes no speed."""


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
        write(target.with_suffix(".part"), large=True)
        return target.with_suffix(".part").rename(target)
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
