"""Shell commands that start the model of a session in llama-server or Ollama.

The options are those of llama.cpp's `common/arg.cpp`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from workbench.core.errors import SessionError
from workbench.core.parameters import LoadSettings, Sampling, Value, get_value
from workbench.core.session import Session

SAMPLING_OPTIONS = {
    "temperature": "--temp",
    "top_k": "--top-k",
    "top_p": "--top-p",
    "min_p": "--min-p",
    "typical_p": "--typical",
    "repeat_last_n": "--repeat-last-n",
    "repeat_penalty": "--repeat-penalty",
    "presence_penalty": "--presence-penalty",
    "frequency_penalty": "--frequency-penalty",
    "seed": "--seed",
    "num_predict": "--predict",
}
"""The llama-server option of each parameter. All are written, because its defaults differ."""
FURTHER_OPTIONS = {
    "top_n_sigma": "--top-n-sigma",
    "xtc_probability": "--xtc-probability",
    "xtc_threshold": "--xtc-threshold",
    "dry_multiplier": "--dry-multiplier",
    "dry_base": "--dry-base",
    "dry_allowed_length": "--dry-allowed-length",
    "dry_penalty_last_n": "--dry-penalty-last-n",
    "mirostat": "--mirostat",
    "mirostat_tau": "--mirostat-ent",
    "mirostat_eta": "--mirostat-lr",
    "adaptive_target": "--adaptive-target",
    "adaptive_decay": "--adaptive-decay",
}
"""The same for samplers that are off by default; only changed values are written."""
LOAD_OPTIONS = {
    "num_ctx": "--ctx-size",
    "num_batch": "--batch-size",
    "num_ubatch": "--ubatch-size",
    "num_gpu": "--n-gpu-layers",
    "split_mode": "--split-mode",
    "main_gpu": "--main-gpu",
    "num_thread": "--threads",
    "num_thread_batch": "--threads-batch",
    "type_k": "--cache-type-k",
    "type_v": "--cache-type-v",
    "flash_attn": "--flash-attn",
}
"""The same for load settings; automatic ones are left out."""
LOAD_LISTS = {"override_tensor": "--override-tensor", "tensor_split": "--tensor-split", "devices": "--device"}
"""The same for those that are lists."""


def start_commands(session: Session, modelfile: str) -> str:
    """A shell script with the commands; `modelfile` is the session as a Modelfile, for Ollama.

    Raises:
        SessionError: The session has no model file.
    """
    if not session.model_path:
        raise SessionError(
            "The commands need a model file, and this session has none.", "Open a model file first, then export."
        )
    name = re.sub(r"[^a-z0-9]+", "-", session.title.casefold()).strip("-")[:40].strip("-") or "session"
    end = _unused("MODELFILE", modelfile)
    lines = [
        "#!/bin/sh",
        "# Each of these two starts the model of a conversation with its settings. Remove the other one.",
        "",
        "# llama-server: the system prompt, the messages and the stop strings are part of each request.",
        f"llama-server --model {shlex.quote(session.model_path)}{''.join(_options(session.sampling, session.load))}",
        "",
        "# Ollama",
        f"cat > {name}.Modelfile <<'{end}'",
        modelfile.rstrip("\n"),
        end,
        f"ollama create {name} --file {name}.Modelfile",
        f"ollama run {name}",
    ]
    return "\n".join(lines) + "\n"


def _options(sampling: Sampling, load: LoadSettings) -> Iterator[str]:
    for name, option in LOAD_OPTIONS.items():
        value = get_value(sampling, load, name)
        if value != get_value(Sampling(), LoadSettings(), name):
            # llama-server divides the context among its slots.
            yield _option(option, load.num_ctx * load.num_parallel if name == "num_ctx" else value)
    yield _option("--parallel", load.num_parallel)
    yield from _placement(load)
    for name, option in SAMPLING_OPTIONS.items():
        yield _option(option, get_value(sampling, load, name))
    for name, option in FURTHER_OPTIONS.items():
        value = get_value(sampling, load, name)
        if value != get_value(Sampling(), load, name):
            yield _option(option, value)
    yield from _lists(sampling)


def _placement(load: LoadSettings) -> Iterator[str]:
    """The options of how the file is read, and where its tensors go."""
    if load.reading == "none":
        yield " \\\n  --no-mmap"
    elif load.reading != LoadSettings().reading:
        yield _option("--load-mode", load.reading)
    if load.num_cpu_moe:
        yield " \\\n  --cpu-moe" if load.num_cpu_moe < 0 else _option("--n-cpu-moe", load.num_cpu_moe)
    if not load.offload_kqv:
        yield " \\\n  --no-kv-offload"
    if load.swa_full:
        yield " \\\n  --swa-full"
    for name, option in LOAD_LISTS.items():
        if texts := getattr(load, name):
            yield _option(option, ",".join(texts))


def _lists(sampling: Sampling) -> Iterator[str]:
    """The options of the parameters that are lists."""
    # It applies adaptive-p where the order names it.
    adaptive = ("adaptive_p",) if sampling.adaptive_target >= 0 else ()
    if (*sampling.samplers, *adaptive) != Sampling().samplers:
        yield _option("--samplers", ";".join((*sampling.samplers, *adaptive)))
    if sampling.dry_multiplier:
        for text in sampling.dry_sequence_breakers or ("none",):
            # It reads escapes.
            yield _option("--dry-sequence-breaker", text.replace("\\", r"\\").replace("\n", r"\n").replace("\t", r"\t"))
    for text in sampling.logit_bias:
        token, _, bias = text.partition("=")
        yield _option("--logit-bias", token + (bias if bias.startswith(("+", "-")) else f"+{bias}"))


def _option(option: str, value: Value) -> str:
    return f" \\\n  {option} {shlex.quote(f'{value:g}' if isinstance(value, float) else str(value))}"


def _unused(word: str, text: str) -> str:
    """`word`, extended until no line of `text` equals it."""
    lines = set(text.splitlines())
    while word in lines:
        word += "_"
    return word
