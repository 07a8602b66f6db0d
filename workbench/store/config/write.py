"""Changing the config file: only what was asked for changes, and nothing that the user typed is lost.

A file that is there is edited in place, line by line, and what comes out is parsed again before it is written. Where
that does not give just the change (a table written in one line, a key that is something else), the file is written
anew and the old one is kept beside it.
"""

from __future__ import annotations

import math
import stat
import textwrap
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

from workbench.core.config import ServerSetting
from workbench.core.errors import ConfigError, ParameterError, did_you_mean
from workbench.core.parameters import PARAMETERS, LoadSettings, Sampling, check_value
from workbench.store.config.edit import edits, toml_key, toml_value
from workbench.store.config.fields import DEFAULTS, KEYS, SETTINGS, TABLE_KEYS, TABLES, home_of
from workbench.store.config.read import UnreadableError, parse_text, read_text
from workbench.store.config.servers import BadValueError, server_value
from workbench.store.files import replace_file, write_new_file

Keys = tuple[str, ...]

_SAVING = threading.Lock()
_COMMENT_WIDTH = 100
_TOP = """\
The configuration of workbench. A line that begins with "#" is a comment; what stands in comments below are the
defaults. Take the "#" away to change one."""


def save_config(path: Path, changes: Mapping[str, object]) -> None:
    """Set keys in the config file and leave the rest of it as it is.

    Args:
        path: The file; it is made where it is missing.
        changes: Values by key: `theme`, `sampling.temperature`, or a whole table, which is merged. Of settings as a
            whole (`Sampling`, `LoadSettings`) what is a default and does not stand in the file is left out of it.

    Raises:
        ConfigError: A key or a value is wrong, or the file cannot be read or written; it is as it was.
    """
    wanted = dict(_checked(changes))
    whole = {name for name, value in changes.items() if isinstance(value, Sampling | LoadSettings)}
    with _SAVING:
        try:
            _save(path, wanted, whole)
        except UnreadableError as error:
            place = f" (line {error.problem.line})" if error.problem.line else ""
            raise ConfigError(
                f"{path} was not changed{place}: {error.problem.message}",
                "Correct it, or move it away and a new one is written.",
            ) from error
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be written: {error.strerror or error}.", "See who may write there, and the disk."
            ) from error


def default_text() -> str:
    """A config file that sets nothing and explains everything."""
    return _rendered({})


def _checked(changes: Mapping[str, object]) -> Iterator[tuple[Keys, object]]:
    """The changes as key paths with values that the file can hold."""
    for name, value in changes.items():
        table, _, key = name.partition(".")
        if table in TABLES and not key:
            inner = asdict(value) if isinstance(value, Sampling | LoadSettings) else value
            if not isinstance(inner, Mapping):
                raise ConfigError(f"{name} is a table and cannot be {value!r}.")
            yield from (((table, str(each)), _table_value(table, str(each), given)) for each, given in inner.items())
        elif table in TABLES:
            yield (table, key), _table_value(table, key, value)
        elif name in SETTINGS:
            try:
                yield (name,), _plain(SETTINGS[name].check(value))
            except BadValueError as error:
                raise ConfigError(str(error)) from error
        else:
            home = home_of(name)
            hint = f"Did you mean {f'{home}.{name}'!r}?" if home else did_you_mean(name, KEYS)
            raise ConfigError(f"There is no key {name!r} in the config file.", hint)


def _table_value(table: str, key: str, value: object) -> object:
    if table == "keymap":
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{key} cannot be {value!r}.", 'It takes a key: "ctrl+t".')
        return value
    if key not in TABLE_KEYS[table]:
        raise ConfigError(f"There is no {key!r} in [{table}].", did_you_mean(key, TABLE_KEYS[table]))
    try:
        return _plain(check_value(key, value))
    except ParameterError as error:
        raise ConfigError(error.message, error.hint) from error


def _plain(value: object) -> object:
    if isinstance(value, ServerSetting):
        return server_value(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _is_needless(keys: Keys, value: object, old: Mapping[str, Any]) -> bool:
    """Whether a parameter has its default and the file says nothing of it."""
    table = old.get(keys[0])
    return not (isinstance(table, dict) and keys[1] in table) and value == _plain(PARAMETERS[keys[1]].default)


def _save(path: Path, wanted: Mapping[Keys, object], whole: Collection[str]) -> None:
    try:
        raw = read_text(path)
    except FileNotFoundError:
        raw = ""
    text = raw.removeprefix("\ufeff")
    mark = raw[: len(raw) - len(text)]
    old = parse_text(text)
    changes = {
        keys: value for keys, value in wanted.items() if not (keys[0] in whole and _is_needless(keys, value, old))
    }
    new = _merged(old, changes)
    if text.strip():
        if same(old, new):
            return
        edited = _edited(text, changes, old, new)
    else:
        edited = None
    if edited is None:
        edited = _rendered(new)
        if not same(_without_empty(parse_text(edited)), _without_empty(new)):
            raise ConfigError(f"{path} was not changed: its values cannot be written again.", "Edit it by hand.")
        if text.strip():
            write_new_file(path.with_name(f"{path.name}.bak"), raw.encode(), stat.S_IMODE(path.stat().st_mode))
    try:
        data = (mark + edited).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{path} was not changed: a value is not valid Unicode.") from error
    replace_file(path, data)


def _merged(old: Mapping[str, Any], changes: Mapping[Keys, object]) -> dict[str, Any]:
    new = dict(old)
    for keys, value in changes.items():
        if len(keys) == 1:
            new[keys[0]] = value
        else:
            before = new.get(keys[0])
            new[keys[0]] = {**(before if isinstance(before, dict) else {}), keys[1]: value}
    return new


def _edited(text: str, changes: Mapping[Keys, object], old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """`text` with the changes made in place; None where that does not come out right."""
    made = old
    for keys, value in changes.items():
        made = _merged(made, {keys: value})
        for edit in edits(text, keys, value):
            try:
                if same(parse_text(edit), made):
                    text = edit
                    break
            except UnreadableError:
                continue
        else:
            return None
    return text


def same(one: object, other: object) -> bool:
    """Whether two TOML values are equal and of the same types."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return one == other


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without those of our tables that are empty: in a new file their headers always stand."""
    return {key: value for key, value in values.items() if key not in TABLES or value != {}}


def _comment(text: str) -> str:
    return textwrap.fill(text, _COMMENT_WIDTH, initial_indent="# ", subsequent_indent="# ")


def _entry(name: str, values: Mapping[str, Any], default: object, explanation: str) -> str:
    line = f"{toml_key(name)} = {toml_value(values.get(name, default))}"
    if name not in values:
        line = textwrap.indent(line, "# ")
    return f"{_comment(explanation)}\n{line}\n"


def _split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is written as `key = value`, and what gets a header of its own and so must come after all of that."""
    headed = {key for key, value in values.items() if tomli_w.dumps({key: value}).startswith("[")}
    plain = {key: value for key, value in values.items() if key not in headed}
    return plain, {key: value for key, value in values.items() if key in headed}


def _rendered(values: Mapping[str, Any]) -> str:
    """A config file with these values, in which every key is explained."""
    plain, headed = _split(values)
    parts = [_comment(_TOP.replace("\n", " ")) + "\n"]
    parts += [
        _entry(setting.name, plain, _plain(getattr(DEFAULTS, setting.name)), setting.help)
        for setting in SETTINGS.values()
        if setting.name not in headed
    ]
    if unknown := {key: value for key, value in plain.items() if key not in SETTINGS}:
        parts.append(tomli_w.dumps(unknown))
    ours = {name: values.get(name, {}) for name in TABLES if isinstance(values.get(name, {}), dict)}
    parts += [_table(name, inner) for name, inner in ours.items()]
    if others := {key: value for key, value in headed.items() if key not in ours}:
        parts.append(tomli_w.dumps(others))
    return "\n".join(parts)


def _table(name: str, values: Mapping[str, Any]) -> str:
    plain, headed = _split(values)
    known = [key for key in TABLE_KEYS.get(name, ()) if key not in headed]
    entries = [_entry(key, plain, _plain(PARAMETERS[key].default), PARAMETERS[key].help) for key in known]
    others = {key: value for key, value in plain.items() if key not in known}
    text = f"{_comment(TABLES[name])}\n[{name}]\n" + "".join(entries) + tomli_w.dumps(others)
    return text + ("\n" + tomli_w.dumps({name: headed}) if headed else "")
