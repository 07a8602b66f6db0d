"""Grammars in llguidance's variant of Lark.

Every terminal is one character: llguidance's lexer takes the longest match, and among terminals of one character it has
no choice to make, so the language stays that of the grammar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench.engine.formats.rules import ROOT, Characters, Grammar, Item, Reference, Repeat, all_items


def to_lark(rules: Grammar) -> str:
    """The grammar in llguidance's variant of Lark, with the same language.

    A rule that ends with itself becomes a repetition: llguidance would look back at every round of it.
    """
    names = {name: f"r{index}" for index, name in enumerate(_reachable(rules))}
    lines = [f"start: {names[ROOT]}"]
    for name, own in names.items():
        alternatives = rules[name].alternatives
        again = [alternative[:-1] for alternative in alternatives if alternative[-1:] == (Reference(name),)]
        ends = [alternative for alternative in alternatives if alternative[-1:] != (Reference(name),)]
        if again and ends:
            rounds = " | ".join(_written(each, names) for each in again if each)
            prefix = f"({rounds})* " if rounds else ""
            lines.append(f"{own}: {prefix}({' | '.join(_written(each, names) for each in ends)})")
        else:
            lines.append(f"{own}: {' | '.join(_written(each, names) for each in alternatives)}")
    return "\n".join(lines) + "\n"


def _reachable(rules: Grammar) -> list[str]:
    found, todo = {ROOT: None}, [ROOT]
    while todo:
        for item in all_items(rules[todo.pop()]):
            if isinstance(item, Reference) and item.rule not in found:
                found[item.rule] = None
                todo.append(item.rule)
    return list(found)


def _written(items: Sequence[Item], names: Mapping[str, str]) -> str:
    return " ".join(_written_item(item, names) for item in items) or '""'


def _written_item(item: Item, names: Mapping[str, str]) -> str:
    if isinstance(item, Characters):
        return f"/{item.pattern}/"
    if isinstance(item, Reference):
        return names[item.rule]
    inner = _written_item(item.item, names)
    if isinstance(item.item, Repeat):
        inner = f"({inner})"
    if item.most is None:
        return f"{inner}{'*' if item.least == 0 else '+' if item.least == 1 else f'{{{item.least},}}'}"
    return f"{inner}?" if (item.least, item.most) == (0, 1) else f"{inner}{{{item.least},{item.most}}}"
