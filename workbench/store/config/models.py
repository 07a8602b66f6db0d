"""The file of the settings that the user keeps for models: `models.toml`, beside the config file.

A table a model, with the names of `[sampling]` and `[load]` and `system`:

    ["Qwen3-8B"]
    temperature = 0.6

    ["Qwen3-8B:Q4_K_M"]
    num_ctx = 32768
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from typing_extensions import override

from workbench.core.config import ConfigProblem
from workbench.core.errors import ConfigError, ParameterError, did_you_mean
from workbench.core.kept import SYSTEM, KeptSettings
from workbench.core.models import ModelEntry
from workbench.core.parameters import PARAMETERS, Value, check_value
from workbench.store.config.read import UnreadableError, parse_text, read_text
from workbench.store.files import make_folder, replace_file
from workbench.store.locks import changing

_TOP = """\
# The settings that are kept for models: a table for each name, and NAME:QUANT for one quantization alone.
# `system` is the system prompt; the other keys are those of [sampling] and [load] in config.toml.
"""


class ModelSettingsFile(KeptSettings):
    """Keeps settings by the name of a model, for all its quantizations; `NAME:QUANT` in the file is for one of them.

    The file is read again each time, since others may have changed it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @override
    def of(self, model: ModelEntry) -> Mapping[str, Value]:
        try:
            tables = self._tables()
        except UnreadableError:
            return {}
        found: dict[str, Value] = {}
        for name in _names(model):
            found |= _valid(name, tables.get(name, {}))[0]
        return found

    @override
    def keep(self, model: ModelEntry, values: Mapping[str, Value]) -> str:
        try:
            checked = {name: _checked(name, value) for name, value in values.items()}
        except ParameterError as error:
            raise ConfigError(error.message, error.hint) from error

        def change(document: dict[str, Any]) -> None:
            general, *special = _names(model)
            for name, value in checked.items():
                # The value of a quantization would win over that of its model.
                table = next((each for each in special if name in document.get(each, {})), general)
                if not isinstance(document.get(table), Mapping):
                    document[table] = {}
                document[table][name] = list(value) if isinstance(value, tuple) else value

        self._change(change)
        return model.name

    @override
    def forget(self, model: ModelEntry, names: Iterable[str] | None = None) -> tuple[str, ...]:
        kept = self.of(model)
        wanted = [name for name in kept if names is None or name in set(names)]

        def change(document: dict[str, Any]) -> None:
            for table in _names(model):
                for name in wanted:
                    document.get(table, {}).pop(name, None)
                if table in document and not document[table]:
                    del document[table]

        if wanted:
            self._change(change)
        return tuple(wanted)

    def problems(self) -> tuple[ConfigProblem, ...]:
        """What is wrong in the file; the rest of it applies."""
        try:
            tables = self._tables()
        except UnreadableError as error:
            return (ConfigProblem(error.problem.message, line=error.problem.line, file=str(self._path)),)
        found = [problem for name, table in tables.items() for problem in _valid(name, table)[1]]
        return tuple(ConfigProblem(message, file=str(self._path)) for message in found)

    def _tables(self) -> dict[str, Any]:
        try:
            return parse_text(read_text(self._path).removeprefix("\ufeff"))
        except FileNotFoundError:
            return {}

    def _change(self, change: Callable[[dict[str, Any]], None]) -> None:
        import tomlkit  # late: it takes a tenth of a second, which most runs never need

        try:
            make_folder(self._path.parent)
            with changing(self._path.parent):
                text = read_text(self._path).removeprefix("\ufeff") if self._path.exists() else _TOP
                parse_text(text)
                document = tomlkit.parse(text)
                change(document)
                replace_file(self._path, tomlkit.dumps(document).encode())
        except UnreadableError as error:
            place = f" (line {error.problem.line})" if error.problem.line else ""
            raise ConfigError(f"{self._path} was not changed{place}: {error.problem.message}", "Correct it.") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"{self._path} cannot be written: {reason}.", "Check its permissions.") from error


def _names(model: ModelEntry) -> tuple[str, ...]:
    """The tables of a model, the more special one last."""
    return (model.name, f"{model.name}:{model.quant}") if model.quant else (model.name,)


def _checked(name: str, value: object) -> Value:
    if name != SYSTEM:
        return check_value(name, value)
    if not isinstance(value, str):
        raise ParameterError(f"{SYSTEM} cannot be {value!r}.", "It takes text in quotes.")
    return value


def _valid(model: str, table: object) -> tuple[dict[str, Value], list[str]]:
    """The values of a table, and what is wrong with the others."""
    if not isinstance(table, Mapping):
        return {}, [f"{model} is no table: write [{model!r}], and its values below."]
    values: dict[str, Value] = {}
    problems = []
    for name, value in table.items():
        try:
            values[name] = _checked(name, value)
        except ParameterError as error:
            hint = did_you_mean(name, [*PARAMETERS, SYSTEM]) if name not in PARAMETERS else error.hint
            problems.append(f"[{model!r}] {error.message} {hint}".rstrip())
    return values, problems
