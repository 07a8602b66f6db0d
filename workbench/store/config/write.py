"""Change the config file: only the requested keys change, and nothing that the user typed is lost.

An existing file is edited in place, with its comments, order and style, and the result is parsed again before it is
written. Where an edit would drop something (a table that becomes a value, or the reverse) or does not yield exactly the
change, the file is written anew and the old one is kept beside it.
"""

from __future__ import annotations

import math
import re
import stat
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

from workbench.core.config import ServerSetting
from workbench.core.errors import ConfigError, ParameterError, did_you_mean
from workbench.core.parameters import PARAMETERS, LoadSettings, Sampling, check_value
from workbench.core.secret import Secret
from workbench.store.config.fields import DEFAULTS, FREE_TABLES, KEYS, SETTINGS, TABLE_KEYS, TABLES, home_of
from workbench.store.config.read import UnreadableError, parse_text, read_text
from workbench.store.config.servers import BadValueError, server_value
from workbench.store.config.toml_scan import Statement, scan
from workbench.store.files import make_folder, replace_file, write_new_file
from workbench.store.locks import changing

Keys = tuple[str, ...]

_COMMENT_WIDTH = 100
_TOP = """\
The configuration of workbench. Lines that begin with "#" are comments; the values in comments below are the
defaults. Remove the "#" to change one."""


class ConfigFile:
    """The config file of a running program, which knows what was in it: others may have changed it since."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._values()

    def _values(self) -> dict[str, Any]:
        try:
            return parse_text(read_text(self._path).removeprefix("\ufeff"))
        except (FileNotFoundError, UnreadableError):
            return {}

    def save(self, changes: Mapping[str, object]) -> tuple[str, ...]:
        """As `save_config`; returns a sentence for each key with a value that another program had stored meanwhile."""
        with changing(self._path.parent):
            stored = self._values()
            save_config(self._path, changes)
            before, self._seen = self._seen, self._values()
        return tuple(
            f"{'.'.join(keys)} was changed outside of this program to {old!r}, and is replaced."
            for keys, _ in _checked(changes)
            if (old := _value_at(stored, keys)) is not None
            and not any(same(old, _value_at(values, keys)) for values in (before, self._seen))
        )


def _value_at(values: object, keys: Keys) -> object:
    """The value at a path of keys; None where there is none."""
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def save_config(path: Path, changes: Mapping[str, object]) -> None:
    """Set keys in the config file and leave the rest of it unchanged.

    `changes` are values by key: `theme`, `sampling.temperature`, or a whole table, which is merged. Settings as a whole
    (`Sampling`, `LoadSettings`) add nothing to the file for parameters at their defaults.

    Raises:
        ConfigError: A key or a value is wrong, or the file cannot be read or written; the file is unchanged.
    """
    wanted = dict(_checked(changes))
    whole = {name for name, value in changes.items() if isinstance(value, Sampling | LoadSettings)}
    _change(path, lambda old: wanted, whole)


def add_server(path: Path, setting: ServerSetting) -> None:
    """Add a server to those in the config file, unless its address is there already.

    Raises:
        ConfigError: As `save_config`.
    """

    def wanted(old: Mapping[str, Any]) -> dict[Keys, object]:
        value = old.get("servers", [])
        listed = value if isinstance(value, list) else [value]
        addresses = [item.get("url") if isinstance(item, dict) else item for item in listed]
        return {} if setting.url in addresses else {("servers",): [*listed, server_value(setting)]}

    _change(path, wanted, ())


def _change(path: Path, wanted: Callable[[Mapping[str, Any]], Mapping[Keys, object]], whole: Collection[str]) -> None:
    try:
        make_folder(path.parent)
        # Another program may change other keys at the same time.
        with changing(path.parent):
            _save(path, wanted, whole)
    except UnreadableError as error:
        place = f" (line {error.problem.line})" if error.problem.line else ""
        raise ConfigError(
            f"{path} was not changed{place}: {error.problem.message}",
            "Correct it, or move it away to start with a new one.",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror or error}.",
            "Check its permissions and the free space.",
        ) from error


def default_text() -> str:
    """A config file that sets nothing and explains every key."""
    return _rendered({})


def _checked(changes: Mapping[str, object]) -> Iterator[tuple[Keys, object]]:
    """The changes as key paths, with values in the types of TOML."""
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
    if table in FREE_TABLES:
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{key} cannot be {value!r}.", f"It takes {FREE_TABLES[table]}.")
        return value
    if key not in TABLE_KEYS[table]:
        raise ConfigError(f"There is no {key!r} in [{table}].", did_you_mean(key, TABLE_KEYS[table]))
    try:
        return _plain(check_value(key, value))
    except ParameterError as error:
        raise ConfigError(error.message, error.hint) from error


def _plain(value: object) -> object:
    if isinstance(value, ServerSetting | Secret | None):
        return server_value(value) if isinstance(value, ServerSetting) else value.reveal() if value else ""
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _is_needless(keys: Keys, value: object, old: Mapping[str, Any]) -> bool:
    """Whether a parameter is at its default and not in the file."""
    table = old.get(keys[0])
    return not (isinstance(table, dict) and keys[1] in table) and value == _plain(PARAMETERS[keys[1]].default)


def _save(path: Path, wanted: Callable[[Mapping[str, Any]], Mapping[Keys, object]], whole: Collection[str]) -> None:
    try:
        raw = read_text(path)
    except FileNotFoundError:
        raw = ""
    text = raw.removeprefix("\ufeff")
    mark = raw[: len(raw) - len(text)]
    old = parse_text(text)
    changes = {
        keys: value
        for keys, value in wanted(old).items()
        if not same(_value_at(old, keys), value) and not (keys[0] in whole and _is_needless(keys, value, old))
    }
    new = _merged(old, changes)
    if text.strip():
        if same(old, new):
            return
        edited = _edited(text, changes, new)
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


def _edited(text: str, changes: Mapping[Keys, object], new: dict[str, Any]) -> str | None:
    """`text` with the changes made in place; None where that is not possible without loss."""
    import tomlkit  # late: it takes a tenth of a second, which most runs never need
    from tomlkit.exceptions import TOMLKitError

    values, statements = parse_text(text), scan(text)
    if any(_is_lossy(values, statements, keys) for keys in changes):
        return None
    try:
        for keys in changes:
            text = _with_placeholder(text, keys)
        document = tomlkit.parse(text)
        for (*tables, key), value in changes.items():
            table: Any = document
            for name in tables:
                table = table.setdefault(name, tomlkit.table())
            table[key] = value
        edited = document.as_string()
        if "\r\n" in text and text.count("\n") == text.count("\r\n"):
            edited = re.sub(r"\r?\n", "\r\n", edited)
        return edited if same(parse_text(edited), new) else None
    except (UnreadableError, TOMLKitError, AttributeError, LookupError, TypeError, ValueError):
        return None


def _is_lossy(values: Mapping[str, Any], statements: list[Statement], keys: Keys) -> bool:
    """Whether setting `keys` would replace a table by a value, or a value by a table."""
    if any(statement.is_header and statement.keys[: len(keys)] == keys for statement in statements):
        return True
    inner: object = values
    for key in keys:
        if not isinstance(inner, dict):
            return True
        if key not in inner:
            return False
        inner = inner[key]
    return isinstance(inner, dict)


def _with_placeholder(text: str, keys: Keys) -> str:
    """`text` with a value for `keys` where a person would put it, if tomlkit would put it elsewhere.

    That is below the comment that shows the key with its default, and else, for a first key above all tables, above the
    comments of the first table.
    """
    statements = scan(text)
    if any(statement.keys == keys for statement in statements):
        return text
    ending = "\r\n" if "\r\n" in text else "\n"
    headers = [statement for statement in statements if statement.is_header]
    ends = [*(header.start for header in headers), len(text)]
    sections = [(header.end, ends[count]) for count, header in enumerate(headers, 1) if header.keys == keys[:-1]]
    if len(keys) == 1:
        sections = [(0, ends[0])]
    value = r"(?:\[[ \t]*\n(?:#[^\n]*\n)*?#[ \t]*\][ \t]*\n|[^\n]*\n)"
    explained = re.compile(rf"^#[ \t]*{re.escape(keys[-1])}[ \t]*=[ \t]*{value}", re.MULTILINE)
    for start, end in sections:
        for match in explained.finditer(text, start, end):
            if not any(each.value_start < match.start() < each.end for each in statements):
                return f"{text[: match.end()]}{_toml_key(keys[-1])} = 0{ending}{text[match.end() :]}"
    if len(keys) == 1 and headers and statements[0].is_header:
        above = re.search(r"(?:^#[^\n]*\n)*[ \t]*\Z", text[: headers[0].start], re.MULTILINE)
        start = above.start() if above else 0
        return f"{text[:start]}{_toml_key(keys[0])} = 0{ending}{ending}{text[start:]}"
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
    """The values without empty tables of ours, whose headers a new file always has."""
    return {key: value for key, value in values.items() if key not in TABLES or value != {}}


def _comment(text: str) -> str:
    return textwrap.fill(text, _COMMENT_WIDTH, initial_indent="# ", subsequent_indent="# ")


def _toml_key(name: str) -> str:
    """A key as TOML, in quotes where it needs them."""
    return tomli_w.dumps({name: 0}).removesuffix(" = 0\n")


def _entry(name: str, values: Mapping[str, Any], default: object, explanation: str) -> str:
    line = tomli_w.dumps({name: values.get(name, default)})
    return f"{_comment(explanation)}\n{line if name in values else textwrap.indent(line, '# ')}"


def _split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is written as `key = value`, and what gets a header of its own and has to follow all of that."""
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
