"""Settings as options of llama-server, and back.

The options are those of llama.cpp's `common/arg.cpp`. `--load-mode` takes the place of `--no-mmap` and `--mlock`, which
later versions refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from workbench.core.errors import ParameterError
from workbench.core.parameters import PARAMETERS, LoadSettings, Sampling, Value, get_value, parse_value
from workbench.core.speculation import NGRAM, draft_model

SAMPLING_OPTIONS: Mapping[str, str] = {
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
"""The option of each parameter. All are written, because llama-server's defaults differ."""
FURTHER_OPTIONS: Mapping[str, str] = {
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
LOAD_OPTIONS: Mapping[str, str] = {
    "num_ctx": "--ctx-size",
    "num_batch": "--batch-size",
    "num_ubatch": "--ubatch-size",
    "num_gpu": "--n-gpu-layers",
    "num_cpu_moe": "--n-cpu-moe",
    "split_mode": "--split-mode",
    "main_gpu": "--main-gpu",
    "num_thread": "--threads",
    "num_thread_batch": "--threads-batch",
    "type_k": "--cache-type-k",
    "type_v": "--cache-type-v",
    "flash_attn": "--flash-attn",
}
"""The same for load settings; automatic ones are left out."""
LOAD_LISTS: Mapping[str, str] = {
    "override_tensor": "--override-tensor", "tensor_split": "--tensor-split", "devices": "--device",
}  # fmt: skip
"""The same for those that are lists."""
SAMPLER_LETTERS: Mapping[str, str] = {
    "penalties": "e", "dry": "d", "top_n_sigma": "s", "top_k": "k", "typ_p": "y", "top_p": "p", "min_p": "m",
    "xtc": "x", "temperature": "t", "adaptive_p": "a",
}  # fmt: skip
"""The letters of `--sampler-seq`."""

_OTHER_NAMES: Mapping[str, str] = {
    "m": "model", "c": "ctx-size", "b": "batch-size", "ub": "ubatch-size", "ngl": "n-gpu-layers",
    "gpu-layers": "n-gpu-layers", "np": "parallel", "t": "threads", "tb": "threads-batch", "ctk": "cache-type-k",
    "ctv": "cache-type-v", "fa": "flash-attn", "sm": "split-mode", "mg": "main-gpu", "ts": "tensor-split",
    "dev": "device", "ot": "override-tensor", "lm": "load-mode", "ncmoe": "n-cpu-moe", "cmoe": "cpu-moe",
    "nkvo": "no-kv-offload", "kvo": "kv-offload", "s": "seed", "n": "predict", "n-predict": "predict",
    "temperature": "temp", "typical-p": "typical", "l": "logit-bias", "sampling-seq": "sampler-seq",
    "top-nsigma": "top-n-sigma",
}  # fmt: skip
"""Other names of options, without dashes."""
_BY_OPTION: Mapping[str, str] = {
    option.removeprefix("--"): name
    for table in (SAMPLING_OPTIONS, FURTHER_OPTIONS, LOAD_OPTIONS, LOAD_LISTS)
    for name, option in table.items()
}
_FLAGS: Mapping[str, tuple[str, Value, Value]] = {
    "cpu-moe": ("num_cpu_moe", -1, 0),
    "kv-offload": ("offload_kqv", True, False),
    "no-kv-offload": ("offload_kqv", False, True),
    "swa-full": ("swa_full", True, False),
}
"""The parameter of each flag, and its values where the flag is on and off."""
_TRUE = frozenset({"1", "true", "on", "yes", "enabled"})


@dataclass(frozen=True, slots=True)
class ServerOption:
    """One option and its value; None for a flag."""

    name: str
    value: str | None = None


def server_options(sampling: Sampling, load: LoadSettings) -> Iterator[ServerOption]:
    """The options for these settings, but for the model."""
    for name, option in LOAD_OPTIONS.items():
        value = get_value(sampling, load, name)
        if name == "num_cpu_moe" and load.num_cpu_moe < 0:
            yield ServerOption("--cpu-moe")
        elif value != get_value(Sampling(), LoadSettings(), name):
            # llama-server divides the context among its slots.
            yield ServerOption(option, _text(load.num_ctx * load.num_parallel if name == "num_ctx" else value))
    yield ServerOption("--parallel", str(load.num_parallel))
    yield from _placement(load)
    for name, option in SAMPLING_OPTIONS.items():
        yield ServerOption(option, _text(get_value(sampling, load, name)))
    for name, option in FURTHER_OPTIONS.items():
        value = get_value(sampling, load, name)
        if value != get_value(Sampling(), load, name):
            yield ServerOption(option, _text(value))
    yield from _lists(sampling)


def _placement(load: LoadSettings) -> Iterator[ServerOption]:
    """The options of how the file is read, and where its tensors go."""
    if load.reading != LoadSettings().reading:
        yield ServerOption("--load-mode", load.reading)
    if not load.offload_kqv:
        yield ServerOption("--no-kv-offload")
    if load.swa_full:
        yield ServerOption("--swa-full")
    if load.speculation == NGRAM:
        yield ServerOption("--spec-type", "ngram-simple")
    elif named := draft_model(load.speculation):
        yield ServerOption("--spec-draft-model", named)
    for name, option in LOAD_LISTS.items():
        if texts := getattr(load, name):
            yield ServerOption(option, ",".join(texts))


def _lists(sampling: Sampling) -> Iterator[ServerOption]:
    """The options of the parameters that are lists."""
    # It applies adaptive-p where the order names it.
    order = (*sampling.samplers, *(("adaptive_p",) if sampling.adaptive_target >= 0 else ()))
    if order != Sampling().samplers:
        yield ServerOption("--sampler-seq", "".join(SAMPLER_LETTERS[name] for name in order))
    if sampling.dry_multiplier:
        for text in sampling.dry_sequence_breakers or ("none",):
            # It reads escapes.
            escaped = text.replace("\\", r"\\").replace("\n", r"\n").replace("\t", r"\t")
            yield ServerOption("--dry-sequence-breaker", escaped)
    for text in sampling.logit_bias:
        token, _, bias = text.partition("=")
        yield ServerOption("--logit-bias", token + (bias if bias.startswith(("+", "-")) else f"+{bias}"))


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings_of(options: Mapping[str, str]) -> tuple[dict[str, Value], tuple[str, ...]]:
    """The values of options, by parameter name, and the options that mean nothing here.

    The keys are names of options without dashes, long or short, or those of their environment variables.

    Raises:
        ParameterError: A value is out of range.
    """
    values: dict[str, Value] = {}
    unknown = []
    parallel = 1
    for key, text in options.items():
        name = key.removeprefix("LLAMA_ARG_").casefold().replace("_", "-") if key.isupper() else key
        name = {"n-parallel": "parallel", "batch": "batch-size", "ubatch": "ubatch-size"}.get(name, name)
        name = _OTHER_NAMES.get(name, name)
        if name == "parallel":
            parallel = int(text) if text.isdecimal() and int(text) > 0 else 1
        elif (value := _read(name, text.strip())) is not None:
            values |= value
        else:
            unknown.append(key)
    if parallel > 1:
        values["num_parallel"] = parse_value("num_parallel", str(parallel))
        if isinstance(context := values.get("num_ctx"), int):
            values["num_ctx"] = context // parallel
    return values, tuple(unknown)


def _read(name: str, text: str) -> dict[str, Value] | None:
    """The values of one option; None where it means nothing here."""
    if (flag := _FLAGS.get(name)) is not None:
        parameter, on, off = flag
        return {parameter: on if text.casefold() in _TRUE else off}
    if name == "spec-draft-model":
        return {"speculation": text}
    if name == "sampler-seq":
        names = {letter: sampler for sampler, letter in SAMPLER_LETTERS.items()}
        return {"samplers": tuple(names[each] for each in text if each in names and each != "a")}
    if name == "logit-bias":
        found = re.fullmatch(r"(\d+)([+-].+)", text)
        return {"logit_bias": (f"{found[1]}={found[2]}",)} if found else None
    parameter = "load_mode" if name == "load-mode" else _BY_OPTION.get(name, "")
    if not parameter:
        return None
    if name == "n-gpu-layers":
        text = {"auto": "-1", "all": "999"}.get(text, text)
    with suppress(ParameterError):
        return {parameter: parse_value(parameter, text)}
    raise ParameterError(f"{name} = {text[:60]} is no value here.", f"It takes {PARAMETERS[parameter].range_text}.")
