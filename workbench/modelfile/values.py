"""The values of PARAMETER, from Ollama's text to typed values and back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

from workbench.core.errors import ModelfileError, ParameterError, did_you_mean
from workbench.core.parameters import PARAMETERS, Value, check_value

Kind = Literal["int", "float", "bool", "strings"]

ONLY_OLLAMA: Mapping[str, Kind] = {"num_keep": "int", "draft_num_predict": "int"}
"""Parameters of Ollama that this program ignores."""

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
"""Parameters of older versions, which Ollama ignores."""

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
    """The type of a parameter in Ollama.

    Raises:
        ModelfileError: Ollama has no such parameter.
    """
    if name in ONLY_OLLAMA:
        return ONLY_OLLAMA[name]
    parameter = PARAMETERS.get(name)
    kind = None if parameter is None or not parameter.in_modelfile else parameter.kind
    # mypy narrows no tuple of kinds.
    if kind is None or kind == "choice" or kind == "format" or kind == "name":  # noqa: PLR1714
        known = [*ONLY_OLLAMA, *(known.name for known in PARAMETERS.values() if known.in_modelfile)]
        raise ModelfileError(f"unknown parameter '{name}'", did_you_mean(name, known))
    return kind


def read_value(name: str, text: str) -> tuple[Value, str]:
    """The value of a parameter, and a remark if Ollama is stricter.

    Raises:
        ModelfileError: The name is unknown, or the text is not valid.
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
    """The result of Go's ParseFloat with 32 bits; None for an error."""
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
"""Parameters for which Ollama or llama.cpp treat all values below a bound alike, and our value for those."""

SHORTEST_CONTEXT = 4
"""Ollama raises a shorter context to this, in tokens."""


def as_used(name: str, value: Value) -> Value:
    """The equivalent of Ollama's `value` in this program."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if name in _FLOORS and value < _FLOORS[name][0]:
        return _FLOORS[name][1]
    if name == "num_ctx" and 0 < value < SHORTEST_CONTEXT:
        return SHORTEST_CONTEXT
    if name in ("top_p", "typical_p") and value > 1:
        return 1.0
    # Go passes the seed on as an unsigned 32-bit integer.
    return int(value) % 2**32 if name == "seed" and -(2**31) <= value < -1 else value


def used_values(values: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    """The equivalents of Ollama's parameters in this program, without unused ones."""
    used = {name: as_used(name, value) for name, value in values.items() if not out_of_range(name, value)}
    # In Ollama main_gpu means that everything goes to that GPU.
    return (*used.items(), *((("split_mode", "none"),) if "main_gpu" in used else ()))


def out_of_range(name: str, value: Value) -> str:
    """Why this program does not use a value that Ollama accepts; empty if it does."""
    if name in ONLY_OLLAMA:
        return f"{name} has no meaning here"
    try:
        check_value(name, as_used(name, value))
    except ParameterError as error:
        return f"{error.message} {error.hint}"
    return ""


def written_value(value: Value) -> str:
    """A value in the syntax of Ollama: whole numbers in plain digits."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        return repr(value) if math.isfinite(value) else str(value)
    return str(value)
