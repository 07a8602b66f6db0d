"""The parameters that a user can set: names, types, ranges and defaults.

The names are those of Ollama's Modelfile; `type_k`, `type_v`, `flash_attn` and `swa_full` are llama.cpp's. One table
serves the settings panel, `--set NAME=VALUE`, the config file and the Modelfile export.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from workbench.core.errors import ParameterError, did_you_mean
from workbench.core.formats import format_value
from workbench.core.load_settings import KV_TYPES as KV_TYPES
from workbench.core.load_settings import LoadSettings as LoadSettings
from workbench.core.load_settings import load_parameters
from workbench.core.parameter import INT32 as INT32
from workbench.core.parameter import Parameter as Parameter
from workbench.core.parameter import Value as Value

SAMPLERS = ("penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature")
"""The samplers in llama.cpp's order, by its names (`common/sampling.cpp`)."""
OTHER_NAMES = {"temp": "temperature", "typical": "typ_p", "typical_p": "typ_p", "nucleus": "top_p"}
"""Further names of samplers."""
THINK = ("default", "on", "off", "low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen, and when an answer ends; all of it may change between answers."""

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_n_sigma: float = -1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = 64
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    adaptive_target: float = -1.0
    adaptive_decay: float = 0.9
    logit_bias: tuple[str, ...] = ()
    samplers: tuple[str, ...] = SAMPLERS
    seed: int = -1
    num_predict: int = -1
    stop: tuple[str, ...] = ()
    think: str = "default"
    think_budget: int = -1
    format: str = ""


def _table() -> dict[str, Parameter]:
    sampling = Sampling()
    # fmt: off
    rows = [
        Parameter("temperature", "Temperature", "float", sampling.temperature,
                  "0 is greedy: always the likeliest token. Higher is more varied.", 0, 100),
        Parameter("top_k", "Top-k", "int", sampling.top_k, "Keep the k likeliest tokens; 0 keeps all.", 0, INT32),
        Parameter("top_p", "Top-p", "float", sampling.top_p,
                  "Keep the likeliest tokens that together have this probability; 1 keeps all.", 0, 1),
        Parameter("min_p", "Min-p", "float", sampling.min_p,
                  "Drop tokens less likely than this share of the likeliest one; 0 drops none.", 0, 1),
        Parameter("typical_p", "Typical-p", "float", sampling.typical_p, "Locally typical sampling; 1 is off.", 0, 1),
        Parameter("repeat_last_n", "Repeat window", "int", sampling.repeat_last_n,
                  "How many of the last tokens the penalties consider; 0 is off, -1 is the whole context.", -1, INT32),
        Parameter("repeat_penalty", "Repeat penalty", "float", sampling.repeat_penalty,
                  "Divides the logits of tokens already seen; 1 is off.", 0, 100),
        Parameter("presence_penalty", "Presence penalty", "float", sampling.presence_penalty,
                  "Subtracted from the logits of tokens already seen; 0 is off.", -100, 100),
        Parameter("frequency_penalty", "Frequency penalty", "float", sampling.frequency_penalty,
                  "Subtracted once for each time that a token was seen; 0 is off.", -100, 100),
        Parameter("top_n_sigma", "Top-n-sigma", "float", sampling.top_n_sigma,
                  "Keep tokens whose logit is within n sigma of the highest; -1 is off.", -1, 100, in_modelfile=False),
        Parameter("xtc_probability", "XTC probability", "float", sampling.xtc_probability,
                  "How often the likeliest tokens are dropped; 0 is off.", 0, 1, in_modelfile=False),
        Parameter("xtc_threshold", "XTC threshold", "float", sampling.xtc_threshold,
                  "XTC drops all tokens of at least this probability but the least likely of them; above 0.5 is off.",
                  0, 1, in_modelfile=False),
        Parameter("dry_multiplier", "DRY multiplier", "float", sampling.dry_multiplier,
                  "The strength of DRY, which penalizes tokens that would repeat a sequence; 0 is off.",
                  0, 100, in_modelfile=False),
        Parameter("dry_base", "DRY base", "float", sampling.dry_base,
                  "The DRY penalty grows by this factor with each further token of a repeated sequence.",
                  1, 100, in_modelfile=False),
        Parameter("dry_allowed_length", "DRY allowed length", "int", sampling.dry_allowed_length,
                  "Sequences up to this many tokens may be repeated without a DRY penalty.",
                  0, INT32, in_modelfile=False),
        Parameter("dry_penalty_last_n", "DRY window", "int", sampling.dry_penalty_last_n,
                  "How many of the last tokens DRY considers; 0 is off, -1 is all.", -1, INT32, in_modelfile=False),
        Parameter("dry_sequence_breakers", "DRY breakers", "strings", sampling.dry_sequence_breakers,
                  "Texts at which a repeated sequence ends for DRY.", in_modelfile=False),
        Parameter("mirostat", "Mirostat", "int", sampling.mirostat,
                  "1 or 2 keeps the surprise of the answer constant; only the temperature applies beside it. 0 is off.",
                  0, 2, in_modelfile=False),
        Parameter("mirostat_tau", "Mirostat tau", "float", sampling.mirostat_tau,
                  "The surprise that Mirostat aims at, in bits per token; lower is more focused.",
                  0, 100, in_modelfile=False),
        Parameter("mirostat_eta", "Mirostat eta", "float", sampling.mirostat_eta,
                  "How fast Mirostat corrects itself.", 0, 1, in_modelfile=False),
        Parameter("adaptive_target", "Adaptive-p target", "float", sampling.adaptive_target,
                  "Prefer tokens of about this probability, corrected by those chosen before; -1 is off.",
                  -1, 1, in_modelfile=False),
        Parameter("adaptive_decay", "Adaptive-p decay", "float", sampling.adaptive_decay,
                  "How slowly adaptive-p forgets the tokens chosen before.", 0, 0.99, in_modelfile=False),
        Parameter("logit_bias", "Logit bias", "strings", sampling.logit_bias,
                  "Added to the logits of tokens, as TOKEN=BIAS with the id of the token; -inf never writes it.",
                  form=r"[0-9]{1,9}=(-inf|[+-]?[0-9]{1,6}(\.[0-9]{1,6})?)",
                  form_text="TOKEN=BIAS, such as 15043=-5 or 2=-inf", in_modelfile=False),
        Parameter("samplers", "Sampler order", "strings", sampling.samplers,
                  "The samplers in the order in which they apply; one that is left out does not.",
                  choices=SAMPLERS, in_modelfile=False),
        Parameter("seed", "Seed", "int", sampling.seed, "-1 draws a random one for each answer.", -1, 2**32 - 2),
        Parameter("num_predict", "Max tokens", "int", sampling.num_predict,
                  "The longest answer, in tokens; -1 is until the model ends it or the context is full.", -1, INT32),
        Parameter("stop", "Stop strings", "strings", sampling.stop, "The answer ends before any of these strings."),
        Parameter("think", "Thinking", "choice", sampling.think,
                  "Whether the model thinks before it answers, or how much; default leaves it to the model's template.",
                  choices=THINK, in_modelfile=False),
        Parameter("think_budget", "Thinking budget", "int", sampling.think_budget,
                  "The most tokens of thoughts, after which the answer begins; -1 is no limit.", -1, INT32,
                  in_modelfile=False),
        Parameter("format", "Answer format", "format", sampling.format,
                  "The form of the answer, which the model cannot leave; thoughts before it are free.",
                  form_text="json, the file of a JSON schema or a GBNF grammar, or off", in_modelfile=False),
        *load_parameters(),
    ]
    # fmt: on
    return {row.name: row for row in rows}


PARAMETERS: Mapping[str, Parameter] = _table()
"""Every parameter by its name, in the order in which the screen shows them."""

_TRUE = frozenset({"1", "t", "true", "on", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "no"})


def find_parameter(name: str) -> Parameter:
    """The parameter called `name`.

    Raises:
        ParameterError: There is none; the nearest names are in the hint.
    """
    if name not in PARAMETERS:
        raise ParameterError(f"There is no parameter {name!r}.", did_you_mean(name, PARAMETERS))
    return PARAMETERS[name]


def _refuse(parameter: Parameter, value: object) -> ParameterError:
    return ParameterError(f"{parameter.name} cannot be {value!r}.", f"It takes {parameter.range_text}.")


def check_value(name: str, value: object) -> Value:
    """`value` in the type of the parameter `name`, if it is in range.

    Raises:
        ParameterError: The name is unknown, or the value is of a wrong type or out of range.
    """
    parameter = find_parameter(name)
    match parameter.kind, value:
        case "bool", bool():
            return value
        case "strings", str():
            return check_value(name, (value,))
        case "strings", list() | tuple() if all(isinstance(item, str) and _fits(parameter, item) for item in value):
            return tuple(value)
        case "choice", str() if value in parameter.choices:
            return value
        case "name", str() if re.fullmatch(parameter.form, value):
            return value
        case "format", str():
            return format_value(value.strip())
        case "int", int() if not isinstance(value, bool) and parameter.low <= value <= parameter.high:
            return value
        case "float", int() | float() if (
            not isinstance(value, bool) and math.isfinite(value) and parameter.low <= value <= parameter.high
        ):
            return float(value)
    raise _refuse(parameter, value)


def _fits(parameter: Parameter, text: str) -> bool:
    """Whether `text` may be one of the texts of a parameter."""
    if parameter.choices:
        return text in parameter.choices
    if parameter.regex:
        try:
            re.compile(text.partition("=")[0])
        except re.error:
            return False
    return not parameter.form or re.fullmatch(parameter.form, text) is not None


def _full_name(parameter: Parameter, text: str) -> str:
    """A name as `parameter.choices` has it, also from llama.cpp's other names for it."""
    if not parameter.choices:
        return text
    name = text.casefold().replace("-", "_")
    return OTHER_NAMES.get(name, name)


def _listed_texts(text: str) -> tuple[str, ...]:
    """The texts of a JSON list, such as `["</s>", "User:"]`; empty where `text` is something else."""
    if not text.lstrip().startswith("["):
        return ()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    return tuple(found) if all(isinstance(each, str) for each in found) else ()


def parse_value(name: str, text: str) -> Value:
    """The value that `text` stands for, as typed by a user. Several free texts, such as stop strings, are a JSON list.

    Raises:
        ParameterError: The name is unknown, or the text is not of its type or out of range.
    """
    parameter = find_parameter(name)
    try:
        match parameter.kind:
            case "int":
                return check_value(name, int(text))
            case "float":
                return check_value(name, float(text))
            case "bool":
                word = text.strip().casefold()
                if word not in _TRUE | _FALSE:
                    raise _refuse(parameter, text)
                return word in _TRUE
            case "choice":
                return check_value(name, text.strip().casefold())
            case "format":
                return check_value(name, text)
            case "name":
                return check_value(name, text.strip())
            case _ if parameter.choices or parameter.form:
                # Names and numbers, unlike texts, contain no separators.
                items = re.split(rf"[\s{re.escape(parameter.separators)}]+", text)
                return check_value(name, [_full_name(parameter, item) for item in items if item])
            case _:
                return _listed_texts(text) or (text,)
    except ValueError:
        raise _refuse(parameter, text) from None


SAMPLING_NAMES = frozenset(field.name for field in fields(Sampling))


def with_values(sampling: Sampling, load: LoadSettings, values: Mapping[str, object]) -> tuple[Sampling, LoadSettings]:
    """Both settings with `values` (by parameter name) applied.

    Raises:
        ParameterError: A name is unknown, or a value is of a wrong type or out of range.
    """
    for name, value in values.items():
        change: dict[str, Any] = {name: check_value(name, value)}
        if name in SAMPLING_NAMES:
            sampling = replace(sampling, **change)
        else:
            load = replace(load, **change)
    return sampling, load


def changed_values(sampling: Sampling, load: LoadSettings) -> dict[str, Value]:
    """The values that differ from the defaults, by parameter name and in the table's order."""
    return {
        parameter.name: value
        for parameter in PARAMETERS.values()
        if (value := get_value(sampling, load, parameter.name)) != parameter.default
    }


def get_value(sampling: Sampling, load: LoadSettings, name: str) -> Value:
    """The value that the parameter `name` has in these settings."""
    value: Value = getattr(sampling if name in SAMPLING_NAMES else load, name)
    return value
