"""Write the parts of docs/ that the program knows best: its keys, its parameters, its configuration.

    python scripts/reference.py            writes them
    python scripts/reference.py --check    tells whether they are as the program has them

In a page they stand between `<!-- generated: NAME -->` and `<!-- end -->`.
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
    """A config file that sets nothing and explains everything."""
    return f"```toml\n{default_text().rstrip()}\n```\n"


def parameters() -> str:
    """Every parameter."""
    rows = (
        (
            f"`{one.name}`",
            one.label,
            f"`{one.default}`" if one.default != () else "none",
            one.range_text,
            "loading" if one.reload else "the next answer",
        )
        for one in PARAMETERS.values()
    )
    return table(("name", "on the screen", "default", "takes", "from"), rows)


def theme_keys() -> str:
    """What a theme file may say."""
    quoted = {name: ", ".join(f"`{key}`" for key in keys) for name, keys in _THEME_KEYS.items()}
    return table(("keys", "what they take"), [(keys, name) for name, keys in quoted.items()])


_THEME_KEYS = {
    "a colour": COLOURS,
    "a number": NUMBERS,
    "`true` or `false`": ("dark",),
    "a colour, in `[variables]`": OWN_VARIABLES,
}


def key_name(key: str) -> str:
    """A key as it stands on keyboards."""
    short = {
        "escape": "Esc", "pageup": "Page Up", "pagedown": "Page Down", "slash": "/", "plus": "+", "minus": "-",
        "equals_sign": "=", "left_square_bracket": "[", "right_square_bracket": "]",
    }  # fmt: skip
    if len(key) == 1 and key.isupper():
        return f"Shift+{key}"
    if len(key) == 1 and key.isupper():
        return f"Shift+{key}"
    return "+".join(short.get(part, part.capitalize()) for part in key.strip().split("+"))


def keys() -> str:
    """Every binding, by the place where it works."""
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
    """Write or check; gives the exit status."""
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
