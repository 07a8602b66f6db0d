"""Sections of llama-server's presets.ini (`--models-preset`): a model with its options under a name.

The format is that of llama.cpp's `common/preset.cpp`: `[name]`, lines of `option = value` without dashes, and `[*]` for
all models. There are no quotes, and `;` or `#` ends a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.core.errors import ModelfileError, ParameterError, did_you_mean
from workbench.core.parameters import LoadSettings, Sampling, Value
from workbench.core.user_path import user_path
from workbench.modelfile.server_options import ServerOption, server_options, settings_of

_LINE = re.compile(r"\[[ \t]*(?P<name>[^\]]+)\]|(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*(?P<value>.*)")
_GLOBAL = "*"
MOST_BYTES = 2**20
"""The largest file that is read."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One section."""

    name: str
    model: str
    """The path of the model file, or `USER/REPOSITORY:QUANT`; empty where the name of the section is that."""
    values: Mapping[str, Value]
    """By parameter name."""
    unknown: tuple[str, ...] = ()
    """Options that mean nothing here."""


def preset_text(name: str, model: str, sampling: Sampling, load: LoadSettings) -> str:
    """A section for a model file with its settings.

    Raises:
        ModelfileError: The path of the model cannot be written there.
    """
    if re.search(r"[;#\r\n]", model) or model != model.strip():
        raise ModelfileError(
            f"{model}: a section of presets.ini cannot hold this path.", "Give the file a name without ; and #."
        )
    options = [ServerOption("--model", model), *server_options(sampling, load)]
    return "\n".join(_lines(name, options)) + "\n"


def _lines(name: str, options: list[ServerOption]) -> Iterator[str]:
    yield "; llama-server --models-preset THIS_FILE. The system prompt and the stop strings are part of each request."
    yield f"[{name}]"
    count = {option.name: sum(each.name == option.name for each in options) for option in options}
    left_out = set()
    for option in options:
        value = "true" if option.value is None else option.value
        # A key has one value, and a repeated one replaces it.
        if count[option.name] > 1 or re.search(r"[;#\r\n]", value) or value != value.strip():
            left_out.add(option.name.removeprefix("--"))
        else:
            yield f"{option.name.removeprefix('--')} = {value}"
    for each in sorted(left_out):
        yield f"; left out, because a section cannot hold it: {each}"


def read_presets(text: str) -> dict[str, Preset]:
    """The sections of a file, by name, with what `[*]` says under each.

    Raises:
        ModelfileError: A line is neither a section nor an option, or a value is out of range.
    """
    sections: dict[str, dict[str, str]] = {}
    current = sections.setdefault(_GLOBAL, {})
    for number, line in enumerate(text.splitlines(), 1):
        plain = re.split(r"[ \t]*[;#]", line, maxsplit=1)[0].rstrip()
        if not plain:
            continue
        found = _LINE.fullmatch(plain)
        if found is None:
            raise ModelfileError(
                f"Line {number} is no section and no option: {plain[:60]}.", "Write [NAME], or OPTION = VALUE."
            )
        if found["name"] is not None:
            # A repeated section drops the earlier one.
            current = sections[found["name"].strip()] = {}
        elif found["key"] != "version":
            current[found["key"]] = found["value"]
    everywhere = sections.pop(_GLOBAL)
    return {name: _preset(name, everywhere | options) for name, options in sections.items()}


def _preset(name: str, options: dict[str, str]) -> Preset:
    model = ""
    for key in ("hf-repo", "hf", "hfr", "LLAMA_ARG_HF_REPO", "model", "m", "LLAMA_ARG_MODEL"):
        model = options.pop(key, model)
    try:
        values, unknown = settings_of(options)
    except ParameterError as error:
        raise ModelfileError(f"[{name}]: {error.message}", error.hint) from None
    return Preset(name, model or name, values, unknown)


def is_presets(ref: str) -> bool:
    """Whether a reference names a section: `FILE.ini#NAME`, or `FILE.ini` where there is one."""
    return ref.partition("#")[0].casefold().endswith(".ini")


def open_preset(ref: str) -> tuple[Path, Preset]:
    """The file and the section that a reference names.

    Raises:
        ModelfileError: It cannot be read, or has no such section.
    """
    file, _, name = ref.partition("#")
    path = user_path(file)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ModelfileError(f"{path} has more than {MOST_BYTES:,} bytes.", "Name a presets.ini.")
        presets = read_presets(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ModelfileError(f"{path} cannot be read: {reason}.", "Name a presets.ini.") from None
    except ModelfileError as error:
        raise ModelfileError(f"{path}: {error.message}", error.hint) from None
    if not name and len(presets) == 1:
        [name] = presets
    if name not in presets:
        known = ", ".join(f"{file}#{each}" for each in presets)
        problem = f"has no section {name!r}" if name else "has no section" if not presets else "has several sections"
        raise ModelfileError(f"{path} {problem}.", did_you_mean(name, presets) or f"Name one: {known}.")
    return path, presets[name]
