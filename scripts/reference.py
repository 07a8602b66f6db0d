"""Generate the parts of docs/ that come from the program: keys, parameters and configuration.

    python scripts/reference.py            writes them
    python scripts/reference.py --check    reports by its exit status whether they are up to date

On a page they are between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from workbench.core.parameters import PARAMETERS
from workbench.store.config.write import default_text
from workbench.ui.bindings import key_groups
from workbench.ui.themes import COLOURS, NUMBERS, OWN_VARIABLES

DOCS = Path(__file__).resolve().parent.parent / "docs"
_PART = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def config() -> str:
    """A config file that sets nothing and explains every key."""
    return f"```toml\n{default_text().rstrip()}\n```\n"


def parameters() -> str:
    """Every parameter."""
    rows = (
        (
            f"`{one.name}`",
            one.label,
            f"`{one.default}`" if one.default != () else "none",
            one.range_text,
            "after a reload" if one.reload else "with the next answer",
        )
        for one in PARAMETERS.values()
    )
    return table(("name", "on the screen", "default", "values", "takes effect"), rows)


def theme_keys() -> str:
    """The keys of a theme file."""
    quoted = {name: ", ".join(f"`{key}`" for key in keys) for name, keys in _THEME_KEYS.items()}
    return table(("keys", "value"), [(keys, name) for name, keys in quoted.items()])


_THEME_KEYS = {
    "a colour": COLOURS,
    "a number": NUMBERS,
    "`true` or `false`": ("dark",),
    "a colour, in `[variables]`": OWN_VARIABLES,
}


def key_name(key: str) -> str:
    """A key by its name on keyboards."""
    short = {
        "escape": "Esc", "pageup": "Page Up", "pagedown": "Page Down", "slash": "/", "plus": "+", "minus": "-",
        "equals_sign": "=", "left_square_bracket": "[", "right_square_bracket": "]",
    }  # fmt: skip
    if len(key) == 1 and key.isupper():
        return f"Shift+{key}"
    return "+".join(short.get(part, part.capitalize()) for part in key.strip().split("+"))


def keys() -> str:
    """Every binding, grouped by where it works."""
    parts = []
    for group in key_groups():
        rows = (
            (
                ", ".join(map(key_name, binding.key.split(","))),
                binding.tooltip or binding.description,
                f"`{binding.id}`",
            )
            for binding in group.bindings
        )
        parts.append(f"## {group.title}\n\n" + table(("key", "what it does", "id"), rows))
    return "\n".join(parts)


PARTS: dict[str, Callable[[], str]] = {
    "config": config,
    "keys": keys,
    "parameters": parameters,
    "theme-keys": theme_keys,
}


def main() -> int:
    """Write or check the pages; gives the exit status."""
    stale = []
    for page in sorted(DOCS.glob("*.md")):
        old = page.read_text(encoding="utf-8")
        new = _PART.sub(lambda part: f"{part[1]}{PARTS[part['name']]()}{part[3]}", old)
        if new != old:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(new, encoding="utf-8")
    if stale:
        print(f"{'stale' if '--check' in sys.argv else 'written'}: {', '.join(stale)}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
