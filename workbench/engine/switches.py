"""The variables by which chat templates control thinking."""

from __future__ import annotations

import re

EFFORTS = ("low", "medium", "high")

_SWITCHES = ("enable_thinking", "thinking", "reasoning")
_NO_EFFORT = ("no_think", "none", "minimal")
"""The words for no thinking that templates have for `reasoning_effort`, in order of preference."""


def think_values(source: str, think: str, budget: int) -> dict[str, object]:
    """The variables by which a chat template controls thinking; only those that it reads.

    A family without a level gets the next higher one; one that always thinks gets the lowest.
    """
    reads = set(re.findall(r"\w+", source))
    values: dict[str, object] = {}
    if think != "default":
        on = think != "off"
        values = {name: on for name in _SWITCHES if name in reads}
        if "thinking_mode" in reads:
            values["thinking_mode"] = "enabled" if on else "disabled"
        if not on and "reasoning_effort" in reads:
            quoted = (word for word in _NO_EFFORT if re.search(rf"['\"]{word}['\"]", source))
            values["reasoning_effort"] = next(quoted, "low")
    if think in EFFORTS:
        # Hy3 and Kimi K3 have no level in the middle, and refuse others.
        few = "no_think" in reads or "thinking_effort" in reads
        level = "high" if few and think == "medium" else think
        values |= {name: level for name in ("reasoning_effort", "thinking_effort") if name in reads}
    if "thinking_budget" in reads and (think == "off" or budget >= 0):
        values["thinking_budget"] = 0 if think == "off" else budget
    return values
