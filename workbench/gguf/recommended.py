"""The sampling parameters that the author of a model recommends in its file."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.core.errors import ParameterError
from workbench.core.parameters import Value, parse_value
from workbench.gguf.header import Array
from workbench.gguf.header import Value as Metadata

PREFIX = "general.sampling."
NAMES: Mapping[str, str] = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_last_n": "repeat_last_n",
    "penalty_repeat": "repeat_penalty",
    "xtc_probability": "xtc_probability",
    "xtc_threshold": "xtc_threshold",
    "mirostat": "mirostat",
    "mirostat_tau": "mirostat_tau",
    "mirostat_eta": "mirostat_eta",
    "sequence": "samplers",
}
"""The parameters by their keys below `general.sampling`: those of llama.cpp's `gguf-py/gguf/constants.py`."""


def recommended_sampling(metadata: Mapping[str, Metadata]) -> tuple[tuple[tuple[str, Value], ...], tuple[str, ...]]:
    """The recommended values by parameter name, and a sentence for each one that cannot be used.

    Like llama.cpp, this reads any type of number, and texts of numbers.
    """
    found: list[tuple[str, Value]] = []
    problems = []
    for key, name in NAMES.items():
        if (value := metadata.get(PREFIX + key)) is None:
            continue
        try:
            found.append((name, _read(name, value)))
        except ParameterError as error:
            problems.append(f"The file's {PREFIX}{key} is not used: {error}")
    return tuple(found), tuple(problems)


def _read(name: str, value: Metadata) -> Value:
    if isinstance(value, Array):
        raise ParameterError(f"{name} cannot be a list.")
    if name == "samplers" and isinstance(value, str):
        # Adaptive-p applies by its target alone; infill is for code completion.
        value = ";".join(item for item in value.split(";") if item.strip() not in ("adaptive_p", "infill"))
    if isinstance(value, float):
        # As many digits as llama.cpp keeps: 0.7 in 32 bits is 0.699999988.
        value = round(value, 6)
        if value.is_integer():
            value = int(value)
    return parse_value(name, str(value))
