"""The values of PARAMETER: from Ollama's text to a typed value and back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

from workbench.core.errors import ModelfileError, ParameterError, did_you_mean
from workbench.core.parameters import PARAMETERS, Value, check_value

Kind = Literal["int", "float", "bool", "strings"]

ONLY_OLLAMA: Mapping[str, Kind] = {"num_keep": "int", "draft_num_predict": "int"}
"""Parameters that Ollama knows and this program has no use for."""

IGNORED = frozenset(
    {
        "penalize_newline",
        "low_vram",
        "f16_kv",
        "logits_all",
        "vocab_only",
        "use_mlock",
        "mirostat",
        "mirostat_tau",
        "mirostat_eta",
    }
)
"""Parameters of older versions, which Ollama passes over whatever their value."""

_WHOLE = re.compile(r"[+-]?[0-9]+")
_EXPONENT = re.compile(r"-?[0-9](?:\.[0-9]+)?e\+[01][0-9]")
_DIGITS = r"[0-9](?:_?[0-9])*"
_DECIMAL = re.compile(rf"[+-]?(?:{_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?")
_HEXADECIMAL = re.compile(r"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+")
_SPECIAL = re.compile(r"[+-]?inf(?:inity)?|nan", re.IGNORECASE)
_LARGEST_FLOAT32 = 3.4028235677973366e38
_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


def kind_of(name: str) -> Kind:
    """The type that Ollama gives to a parameter.

    Raises:
        ModelfileError: Ollama has none of that name.
    """
    if name in ONLY_OLLAMA:
        return ONLY_OLLAMA[name]
    parameter = PARAMETERS.get(name)
    if parameter is None or not parameter.in_modelfile or parameter.kind == "choice":
        known = [*ONLY_OLLAMA, *(known.name for known in PARAMETERS.values() if known.in_modelfile)]
        raise ModelfileError(f"unknown parameter '{name}'", did_you_mean(name, known))
    return parameter.kind


def read_value(name: str, text: str) -> tuple[Value, str]:
    """The value of a parameter, and a remark where it was read with leniency.

    Raises:
        ModelfileError: The name is unknown, or Ollama would refuse the text.
    """
    match kind_of(name):
        case "strings":
            return (text,), ""
        case "bool" if text in _BOOLS:
            return _BOOLS[text], ""
        case "float" if (number := _float(text)) is not None:
            return number, ""
        case "int" if _WHOLE.fullmatch(text) and len(text) <= 1000 and -(2**63) <= int(text) < 2**63:
            return int(text), ""
        # `ollama show --modelfile` prints large whole numbers in a form that `ollama create` refuses.
        case "int" if _EXPONENT.fullmatch(text) and (large := float(text)).is_integer():
            return int(large), f"{name} {text} is read as {int(large)}, but Ollama refuses it written like that"
        case kind:
            raise ModelfileError(f"invalid {kind} value [{text}]", _range(name))


def _range(name: str) -> str:
    return f"{name} takes {PARAMETERS[name].range_text}." if name in PARAMETERS else ""


def _float(text: str) -> float | None:
    """What Go's ParseFloat makes of `text` at 32 bits."""
    if _SPECIAL.fullmatch(text):
        return float(text)
    if _HEXADECIMAL.fullmatch(text):
        try:
            number = float.fromhex(text)
        except OverflowError:
            return None
    elif _DECIMAL.fullmatch(text):
        number = float(text)
    else:
        return None
    return number if abs(number) < _LARGEST_FLOAT32 else None


_FLOORS: Mapping[str, tuple[float, Value]] = {
    "temperature": (0, 0.0),
    "top_k": (0, 0),
    "num_predict": (-1, -1),
    "num_gpu": (-1, -1),
    "num_thread": (0, 0),
}
"""Parameters of which Ollama or llama.cpp take everything below a bound for the same, and our word for that."""

SHORTEST_CONTEXT = 4
"""Ollama takes a shorter one for this, in tokens."""


def as_used(name: str, value: Value) -> Value:
    """`value` as this program says the same; itself where it has no other word for it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if name in _FLOORS and value < _FLOORS[name][0]:
        return _FLOORS[name][1]
    if name == "num_ctx" and 0 < value < SHORTEST_CONTEXT:
        return SHORTEST_CONTEXT
    if name in ("top_p", "typical_p") and value > 1:
        return 1.0
    # Go hands the seed on in 32 bits without a sign.
    return int(value) % 2**32 if name == "seed" and -(2**31) <= value < -1 else value


def used_values(values: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    """Parameters of Ollama as this program says the same, without those that it does not use."""
    used = {name: as_used(name, value) for name, value in values.items() if not out_of_range(name, value)}
    # Ollama puts everything on that GPU as soon as one is named.
    return (*used.items(), *((("split_mode", "none"),) if "main_gpu" in used else ()))


def out_of_range(name: str, value: Value) -> str:
    """Why this program does not use a value that Ollama takes; empty where it does."""
    if name in ONLY_OLLAMA:
        return f"{name} has no meaning here"
    try:
        check_value(name, as_used(name, value))
    except ParameterError as error:
        return f"{error.message} {error.hint}"
    return ""


def written_value(value: Value) -> str:
    """One value as Ollama reads it: whole numbers in plain digits."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        return repr(value) if math.isfinite(value) else str(value)
    return str(value)
