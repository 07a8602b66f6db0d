"""How thinking is controlled: the variables of chat templates, and what ends thoughts early."""

from __future__ import annotations

import re

EFFORTS = ("low", "medium", "high")

SHORT_OF_TIME = (
    "\n\nConsidering the limited time by the user, I have to give the solution based on the thinking directly now."
)
"""The closing phrase of a budget: the one that Qwen's models are trained on."""

_SWITCHES = ("enable_thinking", "thinking", "reasoning")
_EFFORT_NAMES = ("reasoning_effort", "reasoning_strength", "thinking_effort")
_NO_EFFORT = ("no_think", "none", "minimal")
"""The words for no thinking that templates have for `reasoning_effort`, in order of preference."""


_TAG = re.compile(r"\{[#%{]")
_END = {"{#": re.compile(r"#\}"), "{%": re.compile(r"%\}"), "{{": re.compile(r"\}\}")}
_INSIDE = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?<![\w.])(?P<name>[a-z]\w*)(?!\w|\s*=[^=])|(?P<end>END)"""
_PIECE = {tag: re.compile(_INSIDE.replace("END", end.pattern), re.DOTALL) for tag, end in _END.items()}


def variables_of(source: str) -> set[str]:
    """The names that a template may read as variables: no attributes, no texts, nothing that it only sets."""
    names: set[str] = set()
    place = 0
    while tag := _TAG.search(source, place):
        pieces = _END["{#"] if tag[0] == "{#" else _PIECE[tag[0]]
        for piece in pieces.finditer(source, tag.end()):
            place = piece.end()
            if tag[0] == "{#" or piece["end"]:
                break
            names.update({piece["name"]} if piece["name"] else ())
        else:
            break
    return names


def think_values(source: str, think: str, budget: int) -> dict[str, object]:
    """The variables by which a chat template controls thinking; only those that it reads.

    A family without a level gets the next higher one; one that always thinks gets the lowest.
    """
    reads = variables_of(source)
    values: dict[str, object] = {}
    # Hy3 and Kimi K3 have no level in the middle, and refuse others.
    few = _quotes(source, "no_think") or "thinking_effort" in reads
    if think != "default":
        on = think != "off"
        values = {name: on for name in _SWITCHES if name in reads}
        if "thinking_mode" in reads:
            values["thinking_mode"] = "enabled" if on else "disabled"
        if not on and "reasoning_effort" in reads:
            values["reasoning_effort"] = next((word for word in _NO_EFFORT if _quotes(source, word)), "low")
        elif think == "on" and "reasoning_effort" in reads and _quotes(source, "no_think"):
            # Hy3 does not think unless it is given a level.
            values["reasoning_effort"] = "high"
    if think in EFFORTS:
        level = "high" if few and think == "medium" else think
        values |= {name: level for name in _EFFORT_NAMES if name in reads}
    if "thinking_budget" in reads and (think == "off" or budget >= 0):
        values["thinking_budget"] = 0 if think == "off" else budget
    return values


def typed_switch(source: str, think: str) -> str:
    """What the user types to switch thinking off, in a template that has no variable for it; empty for nothing."""
    typed = "/no_think"
    return typed if think == "off" and _quotes(source, typed) and not think_values(source, think, -1) else ""


def _quotes(source: str, word: str) -> bool:
    return re.search(rf"['\"]{re.escape(word)}['\"]", source) is not None
