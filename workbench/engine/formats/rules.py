"""The rules of a grammar, and the mistakes in them that no reader sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from workbench.core.errors import FormatError

ROOT = "root"
"""The rule that is the whole text."""


@dataclass(frozen=True, slots=True)
class Characters:
    """One character out of a set, in the notation of a regular expression."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Reference:
    """The text of another rule."""

    rule: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """An item, `least` to `most` times; None is without end."""

    item: Item
    least: int
    most: int | None


Item = Characters | Reference | Repeat
Alternative = tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: one of its alternatives. A group is a rule without a name of its own."""

    name: str
    line: int
    alternatives: tuple[Alternative, ...]


Grammar = Mapping[str, Rule]


def mistake(name: str, line: int, what: str, hint: str = "") -> FormatError:
    """The error for a mistake in a grammar."""
    return FormatError(f"The grammar {name}, line {line}: {what}.", hint)


def check(rules: Grammar, name: str) -> None:
    """Check that all rules are there, and that none begins with itself.

    Raises:
        FormatError: There is a mistake.
    """
    if ROOT not in rules:
        raise FormatError(f"The grammar {name} has no rule {ROOT!r}.", "The rule of that name is the whole answer.")
    for rule in rules.values():
        for item in all_items(rule):
            if isinstance(item, Reference) and item.rule not in rules:
                raise mistake(name, rule.line, f"there is no rule {item.rule!r}")
    loop = _left_recursive(rules)
    if loop is not None:
        which = "a group" if loop.name.startswith("(") else repr(loop.name)
        hint = "Write the repetition with * or +, or put what follows first."
        raise mistake(name, loop.line, f"{which} begins with itself (left recursion)", hint)


def all_items(rule: Rule) -> Iterator[Item]:
    """The characters and references of a rule, without the repetitions around them."""
    for item in (item for alternative in rule.alternatives for item in alternative):
        while isinstance(item, Repeat):
            item = item.item
        yield item


def _may_be_empty(item: Item, empty: set[str]) -> bool:
    if isinstance(item, Repeat):
        return item.least == 0 or _may_be_empty(item.item, empty)
    return isinstance(item, Reference) and item.rule in empty


def _left_recursive(rules: Grammar) -> Rule | None:
    """A rule that can begin with itself; None where there is none."""
    empty: set[str] = set()
    grown = True
    while grown:
        more = {
            name
            for name, rule in rules.items()
            if any(all(_may_be_empty(item, empty) for item in alternative) for alternative in rule.alternatives)
        }
        grown, empty = more != empty, more
    firsts = {name: _firsts(rule, empty) for name, rule in rules.items()}
    done: set[str] = set()
    for start in rules:
        # Depth first, without recursion: `path` is the way to the rule that is looked at.
        path, ways = [start], [iter(firsts[start])]
        while path:
            following = next(ways[-1], None)
            if following is None:
                done.add(path.pop())
                ways.pop()
            elif following in path:
                return rules[following]
            elif following not in done:
                path.append(following)
                ways.append(iter(firsts[following]))
    return None


def _firsts(rule: Rule, empty: set[str]) -> list[str]:
    """The rules that a rule can begin with."""
    found: dict[str, None] = {}
    for alternative in rule.alternatives:
        for item in alternative:
            inner = item
            while isinstance(inner, Repeat):
                inner = inner.item
            if isinstance(inner, Reference):
                found[inner.rule] = None
            if not _may_be_empty(item, empty):
                break
        # A repetition whose item may be empty begins with itself only through that item.
    return list(found)
