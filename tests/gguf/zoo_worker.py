"""Loads toy models with llama.cpp in a process of its own, which may abort. Reads a JSON object a line, writes one."""

from __future__ import annotations

import json
import re
import sys

import llama_cpp as api

KINDS = {"f32": 0, "f16": 1, "q8_0": 8, "q4_0": 2}
_BUFFER = re.compile(r"(model|KV|RS|compute|output) buffer size\s*=\s*([\d.]+) MiB")


def main() -> None:
    """Answer until the input ends."""
    lines: list[str] = []
    callback = api.llama_log_callback(lambda level, text, _: lines.append(text.decode("utf-8", "replace")))
    api.llama_log_set(callback, None)
    for line in sys.stdin:
        case = json.loads(line)
        lines.clear()
        params = api.llama_model_default_params()
        params.load_mode = 1
        model = api.llama_model_load_from_file(case["path"].encode(), params)
        answer: dict[str, object] = {}
        if not model:
            found = [text for text in lines if "error loading model" in text or "failed" in text]
            answer["error"] = (found or lines[-1:] or ["no reason"])[0]
        for settings in case["settings"] if model else ():
            kept = len(lines)
            answer.setdefault("sizes", []).append(_measure(model, settings, lines))  # type: ignore[attr-defined]
            del lines[kept:]
        if model:
            answer["model"] = _sizes(lines)
            api.llama_model_free(model)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _measure(model: object, settings: dict[str, object], lines: list[str]) -> dict[str, float]:
    params = api.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = settings["n_ctx"], 512, settings["ubatch"]
    params.n_seq_max = 1
    params.type_k = params.type_v = KINDS[str(settings["type"])]
    params.swa_full = settings["full_window"]
    params.flash_attn_type = 1 if settings["flash_attention"] else 0
    params.n_threads = params.n_threads_batch = 1
    kept = len(lines)
    context = api.llama_init_from_model(model, params)
    if not context:
        return {}
    api.llama_free(context)
    return _sizes(lines[kept:])


def _sizes(lines: list[str]) -> dict[str, float]:
    sizes: dict[str, float] = {}
    for kind, size in _BUFFER.findall("".join(lines)):
        sizes[kind] = sizes.get(kind, 0.0) + float(size)
    return sizes


if __name__ == "__main__":
    main()
