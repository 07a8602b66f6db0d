"""Read the config file. Entries with errors are reported and ignored, and the program starts with the rest."""

from __future__ import annotations

import os
import re
import shlex
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.core.config import Config, ConfigProblem
from workbench.core.engine_hosts import BUILD_NAME, CHILD, PROCESS
from workbench.core.errors import ParameterError, did_you_mean
from workbench.core.kept import SYSTEM
from workbench.core.origins import Origin, from_origin
from workbench.core.parameters import LoadSettings, Sampling, with_values
from workbench.store.config.fields import DEFAULTS, FREE_TABLES, KEYS, SETTINGS, TABLE_KEYS, TABLES, home_of, shown
from workbench.store.config.servers import BadValueError
from workbench.store.config.toml_scan import scan

LARGEST_BYTES = 1 << 20
"""The size above which a file is refused: no config file is as large."""

_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")


class UnreadableError(Exception):
    """A config file that cannot be read or parsed."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.problem = ConfigProblem(message, line=line)


def read_text(path: Path) -> str:
    """The text of the config file.

    Raises:
        UnreadableError: It cannot be read, or is not text.
        FileNotFoundError: It does not exist.
    """
    try:
        status = path.stat()
        # Reading a pipe would block, and a device may never end.
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise UnreadableError(f"{path} is {kind}, so the defaults apply.")
        if status.st_size > LARGEST_BYTES:
            raise UnreadableError(f"{path} is too large for a config file, so the defaults apply.")
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableError(f"{path} cannot be read, so the defaults apply: {reason}.") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableError(f"{path} is not UTF-8 text, so the defaults apply.", line) from error


def parse_text(text: str) -> dict[str, Any]:
    """The values in a TOML text.

    Raises:
        UnreadableError: It is not valid TOML; the problem has line and column.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise _no_toml("it nests too deeply", None) from error
    except ValueError as error:
        message = str(error)
        place = _PLACE.search(message)
        reason = _PLACE.sub("", message)
        if place is None:
            raise _no_toml(reason, None) from error
        if place["line"]:
            raise _no_toml(f"{reason} at column {place['column']}", int(place["line"])) from error
        # The end of the text is its last line that is not blank.
        raise _no_toml(f"{reason} at the end", text.rstrip().count("\n") + 1) from error


def _no_toml(reason: str, line: int | None) -> UnreadableError:
    return UnreadableError(f"The config file is not valid TOML, so the defaults apply: {reason}.", line)


def load_config(path: Path) -> tuple[Config, tuple[ConfigProblem, ...]]:
    """The configuration in a file, and the problems in it. A missing file is no problem."""
    try:
        text = read_text(path).removeprefix("\ufeff").replace("\r\n", "\n")
        values = parse_text(text)
    except FileNotFoundError:
        return DEFAULTS, ()
    except UnreadableError as error:
        return DEFAULTS, (error.problem,)
    reader = _ConfigReader({statement.keys: statement.line for statement in reversed(scan(text))})
    config = reader.config(values)
    if any(server.key is not None for server in config.servers) and not is_private(path):
        reader.note(
            ("servers",),
            f"Other users may read this file, so the keys in it are not used. Type: chmod 600 {shlex.quote(str(path))}",
        )
        config = replace(config, servers=tuple(replace(server, key=None) for server in config.servers))
    if config.huggingface_token is not None and not is_private(path):
        reader.note(
            ("huggingface_token",),
            f"Other users may read this file, so the token is not used. Type: chmod 600 {shlex.quote(str(path))}",
        )
        config = replace(config, huggingface_token=None)
    return config, tuple(reader.problems)


def is_private(path: Path) -> bool:
    """Whether only its owner may read a file; always true on Windows, where the folder decides."""
    return os.name == "nt" or not path.stat().st_mode & 0o077


class _ConfigReader:
    """Reads the values that are valid, and notes the rest; `lines` has the line of each key."""

    def __init__(self, lines: Mapping[tuple[str, ...], int]) -> None:
        self._lines = lines
        self.problems: list[ConfigProblem] = []

    def config(self, values: Mapping[str, Any]) -> Config:
        taken: dict[str, Any] = {}
        settings = DEFAULTS.sampling, DEFAULTS.load
        keymap: dict[str, str] = {}
        builds: dict[str, str] = {}
        origins: dict[str, Origin] = {}
        for key, value in values.items():
            if key in SETTINGS:
                try:
                    taken[key] = SETTINGS[key].check(value)
                    origins |= from_origin([SYSTEM] if key == SYSTEM else [], "config")
                except BadValueError as error:
                    self.note((key,), str(error))
            elif key not in TABLES:
                self.note((key,), _unknown(key, "", KEYS))
            elif not isinstance(value, dict):
                self.note((key,), f"{key} cannot be {shown(value)}. It is a table: write [{key}], and its keys below.")
            elif key == "keymap":
                self._keymap(value, keymap, ("keymap",))
            elif key == "builds":
                builds |= self._builds(value)
            else:
                settings = self._parameters(key, value, *settings, origins)
        return Config(**taken, sampling=settings[0], load=settings[1], keymap=keymap, builds=builds, origins=origins)

    def _parameters(
        self,
        table: str,
        values: Mapping[str, Any],
        sampling: Sampling,
        load: LoadSettings,
        origins: dict[str, Origin],
    ) -> tuple[Sampling, LoadSettings]:
        for name, value in values.items():
            if name not in TABLE_KEYS[table]:
                self.note((table, name), _unknown(name, table, TABLE_KEYS[table]))
                continue
            try:
                sampling, load = with_values(sampling, load, {name: value})
                origins[name] = "config"
            except ParameterError as error:
                self.note((table, name), str(error))
        return sampling, load

    def _keymap(self, values: Mapping[str, Any], keymap: dict[str, str], above: tuple[str, ...]) -> None:
        for name, keys in values.items():
            path = (*above, name)
            binding = ".".join(path[1:])
            if isinstance(keys, dict):
                # An id with a dot in it, written without quotes.
                self._keymap(keys, keymap, path)
            elif isinstance(keys, list) and keys and all(isinstance(key, str) for key in keys):
                keymap[binding] = ",".join(keys)
            elif isinstance(keys, str) and keys:
                keymap[binding] = keys
            else:
                self.note(path, f"{binding} cannot be {shown(keys)}. It takes {FREE_TABLES['keymap']}.")

    def _builds(self, values: Mapping[str, Any]) -> Mapping[str, str]:
        found = {}
        for name, folder in values.items():
            if name in (PROCESS, CHILD) or not re.fullmatch(BUILD_NAME, name):
                self.note(("builds", name), f"A build cannot be named {name!r}: use letters, digits, dots and dashes.")
            elif not isinstance(folder, str) or not folder:
                self.note(("builds", name), f"{name} cannot be {shown(folder)}. It takes {FREE_TABLES['builds']}.")
            else:
                found[name] = folder
        return found

    def note(self, keys: tuple[str, ...], message: str) -> None:
        line = next(
            (self._lines[keys[:count]] for count in range(len(keys), 0, -1) if keys[:count] in self._lines), None
        )
        self.problems.append(ConfigProblem(message, ".".join(keys), line))


def _unknown(key: str, table: str, known: tuple[str, ...]) -> str:
    home = home_of(key)
    if home:
        return f"{key} belongs in the table [{home}]."
    if table and key in KEYS:
        return f"{key} belongs above all tables."
    place = f"in [{table}]" if table else "in the config file"
    return f"There is no {key!r} {place}. {did_you_mean(key, known)}".rstrip()
