"""Reading packs: TOML, JSON lines, and the forms of promptfoo and lm-eval (`foreign.py`).

A TOML file has `name`, `description`, `system` and `max_tokens` for all cases, and a table `[[cases]]` for each, with
`prompt` or `messages` and `[[cases.checks]]`. A file of JSON lines has one case on each line.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.core.chat import Message
from workbench.core.errors import PackError, did_you_mean
from workbench.core.json_reader import read_json
from workbench.lab.evals.checks import problem_of
from workbench.lab.evals.foreign import RawCase, Unreadable, read_foreign
from workbench.lab.evals.pack import Check, EvalCase, EvalPack, PackProblem

LARGEST = 32 * 2**20
"""Bytes of the largest pack."""
MOST_CASES = 20_000
PACKS = Path(__file__).parent / "packs"
"""The packs that come along."""
SUFFIXES = (".toml", ".jsonl", ".json", ".yaml", ".yml")
_CASE_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*cases[ \t]*\]\]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Fields:
    """A case as it is written."""

    checks: tuple[Check, ...] = ()
    id: str = ""
    prompt: str = ""
    messages: tuple[Message, ...] = ()
    system: str = ""
    tags: tuple[str, ...] = ()
    max_tokens: int | None = None
    raw: bool = False
    answer: str = ""


@dataclass(frozen=True, slots=True)
class _Head:
    """What a pack says about all its cases."""

    name: str = ""
    description: str = ""
    system: str = ""
    max_tokens: int | None = None
    cases: tuple[object, ...] = ()


def shipped_packs() -> list[str]:
    """The names of the packs that come along."""
    return sorted(path.stem for path in PACKS.glob("*.toml"))


def find_pack(name: str) -> EvalPack:
    """The pack in the file `name`, or the one of that name that comes along.

    Raises:
        PackError: There is none, or it cannot be read.
    """
    shipped = PACKS / f"{name}.toml"
    if name in shipped_packs() and not Path(name).exists():
        return read_pack(shipped)
    return read_pack(Path(name))


def read_pack(path: Path) -> EvalPack:
    """Read a pack. Cases that cannot be used are among its `problems`.

    Raises:
        PackError: It cannot be read at all, or has no case that can be used.
    """
    data = _data_of(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PackError(f"{path}, line {line}: it is not UTF-8 text.", "Save it as UTF-8.") from None
    try:
        pack = _checked_pack(path, *_parse(path, text))
    except Unreadable as error:
        place = f"{path}, line {error.line}" if error.line else str(path)
        raise PackError(f"{place}: {error}.", error.hint) from None
    except RecursionError:
        raise PackError(f"{path}: it is nested too deep.") from None
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return replace(pack, path=str(path.absolute()), digest=digest)


def _data_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        hint = did_you_mean(str(path), shipped_packs()) or (
            f"A pack is a .toml, .jsonl, .json or .yaml file, or one that comes along: {', '.join(shipped_packs())}."
        )
        raise PackError(f"{path}: {error.strerror or error}.", hint) from None
    if len(data) > LARGEST:
        raise PackError(f"{path}: it is larger than {LARGEST // 2**20} MiB.", "Divide it into several packs.")
    return data


def _parse(path: Path, text: str) -> tuple[_Head, Iterable[RawCase]]:
    match path.suffix.casefold():
        case ".toml":
            try:
                document = tomllib.loads(text)
            except ValueError as error:
                raise Unreadable(f"it is no TOML: {error}".rstrip(".")) from None
            return _own(document, [text.count("\n", 0, found.start()) + 1 for found in _CASE_HEADER.finditer(text)])
        case ".jsonl":
            return _Head(), _lines_of(text)
        case ".json" | ".yaml" | ".yml" as suffix:
            found, name, cases = read_foreign(text, path.parent, yaml=suffix != ".json")
            return _own(found, ()) if cases is None else (_Head(name=name), cases)
    raise Unreadable(f"a pack is one of {', '.join(SUFFIXES)}", 0, "Rename it, or convert it.")


def _own(document: object, lines: Sequence[int]) -> tuple[_Head, Iterable[RawCase]]:
    """The head and the cases of a document in this program's form."""
    try:
        head = read_json(_Head, document, "the pack", strict=True)
    except ValueError as error:
        raise Unreadable(str(error), 0, "A pack has name, description, system, max_tokens and cases.") from None
    if len(lines) != len(head.cases):
        lines = [0] * len(head.cases)
    return head, [RawCase(line, case) for line, case in zip(lines, head.cases, strict=True)]


def _lines_of(text: str) -> Iterable[RawCase]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield RawCase(number, json.loads(line))
            except json.JSONDecodeError as error:
                yield RawCase(number, None, f"it is no JSON ({error.msg}, column {error.colno})")
            except (ValueError, RecursionError):
                yield RawCase(number, None, "it is no JSON that can be read")


def _checked_pack(path: Path, head: _Head, raw_cases: Iterable[RawCase]) -> EvalPack:
    cases: dict[str, EvalCase] = {}
    problems = []
    for number, raw in enumerate(raw_cases, 1):
        if number > MOST_CASES:
            raise PackError(f"{path}: it has more than {MOST_CASES:,} cases.", "Divide it into several packs.")
        if raw.problem:
            problems.append(PackProblem(raw.line, raw.problem))
            continue
        try:
            case = _case(raw, number, head)
            if case.id in cases:
                raise ValueError(f"the case before it at line {cases[case.id].line} is {case.id!r}, too")
        except ValueError as error:
            problems.append(PackProblem(raw.line, str(error)))
        else:
            cases[case.id] = case
    pack = EvalPack(head.name or path.stem, tuple(cases.values()), tuple(problems), head.description)
    if not pack.cases:
        what = f" {pack.problems[0]}." if pack.problems else ""
        raise PackError(f"{path}: it has no case that can be used.{what}", "A case has a prompt, and checks.")
    return pack


def _case(raw: RawCase, number: int, head: _Head) -> EvalCase:
    """A case; raises ValueError where it cannot be used."""
    place = f"case {number}"
    if isinstance(raw.fields, Mapping) and isinstance(raw.fields.get("id"), str):
        place += f" ({raw.fields['id'][:40]})"
    fields = read_json(_Fields, raw.fields, place, strict=True)
    messages = fields.messages
    if bool(fields.prompt.strip()) == bool(messages):
        raise ValueError(f"{place} needs either a prompt or messages")
    if fields.prompt:
        messages = (Message("user", fields.prompt),)
    elif messages[-1].role != "user":
        raise ValueError(f"the last message of {place} is not the user's")
    system = fields.system or head.system
    if system and not fields.raw and messages[0].role != "system":
        messages = (Message("system", system), *messages)
    for index, check in enumerate(fields.checks, 1):
        if problem := problem_of(check):
            raise ValueError(f"{place}, check {index} ({check.type}): {problem}")
        if check.type == "choice" and len(fields.checks) > 1:
            raise ValueError(f"{place} has checks beside a choice, for which no answer is generated")
    limit = head.max_tokens if fields.max_tokens is None else fields.max_tokens
    if limit is not None and limit < 1:
        raise ValueError(f"'max_tokens' of {place} is less than 1")
    return EvalCase(
        fields.id or f"case-{number}",
        messages,
        fields.checks,
        fields.tags,
        limit,
        raw=fields.raw,
        answer=fields.answer,
        line=raw.line,
    )
