"""Makes and loads toy models with llama.cpp in a process of its own. Reads a JSON object a line, writes one."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.gguf.zoo import Shape, make
from workbench.engine.llama.bindings import llama_cpp as api

KINDS = {"f32": 0, "f16": 1, "q8_0": 8, "q4_0": 2}
_BUFFER = re.compile(r"(model|KV|RS|state|compute|output) buffer size\s*=\s*([\d.]+) MiB")


class Worker:
    """Answers questions."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._callback = api.llama_log_callback(lambda level, text, _: self._lines.append(text.decode()))
        api.llama_log_set(self._callback, None)

    def answer(self, question: Mapping[str, object]) -> Mapping[str, object]:
        """Make a toy, or measure a file."""
        path = Path(str(question["path"]))
        if "architecture" in question:
            return {"error": make(path, question["architecture"], Shape(**question["shape"]), self._error_of)}
        model = self._load(path, only_compute=bool(question["only_compute"]))
        if not model:
            return {}
        weights = self._sizes()
        found = [self._measure(model, each) for each in question["settings"]]
        api.llama_model_free(model)
        return {"sizes": [each and each | weights for each in found]}

    def _load(self, path: Path, *, only_compute: bool) -> object:
        self._lines.clear()
        params = api.llama_model_default_params()
        # Without memory for weights and caches, the sizes of the compute buffers are still exact.
        params.no_alloc = only_compute
        params.load_mode = 0 if only_compute else 1
        return api.llama_model_load_from_file(str(path).encode(), params)

    def _error_of(self, path: Path) -> str:
        model = self._load(path, only_compute=True)
        if model:
            api.llama_model_free(model)
            return ""
        errors = [text for text in self._lines if "error loading model" in text or "failed" in text]
        return (errors or self._lines[-1:] or ["no reason"])[0]

    def _measure(self, model: object, settings: Mapping[str, object]) -> dict[str, float]:
        params = api.llama_context_default_params()
        params.n_ctx, params.n_ubatch = settings["n_ctx"], settings["ubatch"]
        params.n_batch = max(512, params.n_ubatch)
        params.n_seq_max = 1
        params.type_k, params.type_v = KINDS[settings["type_k"]], KINDS[settings["type_v"]]
        params.swa_full = settings["full_window"]
        params.flash_attn_type = 1 if settings["flash_attention"] else 0
        params.n_threads = params.n_threads_batch = 1
        self._lines.clear()
        context = api.llama_init_from_model(model, params)
        if not context:
            return {}
        sizes = self._sizes()
        api.llama_free(context)
        return sizes

    def _sizes(self) -> dict[str, float]:
        sizes = Counter[str]()
        for kind, size in _BUFFER.findall("".join(self._lines)):
            sizes[kind] += float(size)
        return dict(sizes)


if __name__ == "__main__":
    worker = Worker()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(worker.answer(json.loads(line))) + "\n")
        sys.stdout.flush()
