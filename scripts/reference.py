"""Generate the parts of docs/ that come from the program: keys, parameters, configuration and families of models.

    python scripts/reference.py            writes them
    python scripts/reference.py --check    reports by its exit status whether they are up to date

On a page they are between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.parameters import PARAMETERS, Value
from workbench.engine.families import open_family
from workbench.engine.llama.markup import markup_of
from workbench.engine.llama.template import ChatTemplate
from workbench.engine.switches import EFFORTS, think_values, typed_switch
from workbench.gguf.layers import LayerKind, is_hybrid, plan_layers
from workbench.gguf.recommended import NAMES, PREFIX
from workbench.store.config.write import default_text
from workbench.ui.bindings import key_groups
from workbench.ui.keys import MEANINGS
from workbench.ui.themes import COLOURS, NUMBERS, OWN_VARIABLES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
TEMPLATES = ROOT / "tests" / "engine" / "templates"
OF_FILE = "the file's"
"""Where the sampling parameters of a family come from."""
_PART = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def shown(value: Value) -> str:
    """The default of a parameter in a table."""
    return f"`{value}`" if value not in ((), "") else "none"


def config() -> str:
    """A config file that sets nothing and explains every key."""
    return f"```toml\n{default_text().rstrip()}\n```\n"


def parameters() -> str:
    """Every parameter."""
    rows = (
        (
            f"`{one.name}`",
            one.label,
            shown(one.default),
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
        "equals_sign": "=", "left_square_bracket": "[", "right_square_bracket": "]", "number_sign": "#",
        "right_curly_bracket": "}", "exclamation_mark": "!", "question_mark": "?",
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


def meanings() -> str:
    """The keys that mean the same on every screen."""
    rows = ((key_name(key), ", ".join(sorted(names))) for key, names in MEANINGS.items())
    return table(("key", "what it does"), rows)


def families() -> str:
    """Each family of models, as its chat template has it and the tests try it."""
    rows = tomllib.loads((TEMPLATES / "families.toml").read_text(encoding="utf-8"))["family"]
    thoughts = ("thoughts between", "by default", "switch", "levels", "history")
    return table(("models", "architecture", "memory", *thoughts, "sampling"), map(_family_row, rows))


def _family_row(row: Mapping[str, str]) -> tuple[str, ...]:
    template = ChatTemplate((TEMPLATES / f"{row['template']}.jinja").read_text(encoding="utf-8"))
    architecture = row["architecture"]
    own = markup_of(template, CancelToken())
    beginning = (row["models"], f"`{architecture}`", row.get("memory") or _memory(architecture))
    if own is None or "thinks" not in row:
        return (*beginning, *["\u2014"] * 5, OF_FILE)
    question, said = (Message("user", "Question?"),), (Message("assistant", "Answer.", "Thoughts."),)

    def rendered(think: str, messages: Sequence[Message]) -> str:
        return template.thinking(think, -1).render(messages, CancelToken())

    by_level = {level: rendered(level, question) for level in EFFORTS}
    levels = ", ".join(EFFORTS) if len(set(by_level.values())) == len(EFFORTS) else ""
    if not levels and len(set(by_level.values())) > 1:
        levels = ", ".join(level for level in EFFORTS if level != "medium")
    on = rendered("on", question)
    switches = think_values(template.source, "off", -1)
    typed = typed_switch(template.source, "off")
    works = on != rendered("off", question)
    switch = ", ".join(f"`{name}`" for name in switches if works) or (f"`{typed}` in the question" if typed else "")
    kept = "Thoughts." in rendered("on", (*question, *said, *question))
    marks = [f"`{mark.strip()}`".replace("\n", " ") for mark in (own.opening, own.closing)]
    return (
        *beginning,
        " ".join(marks) + (", opened by the prompt" if open_family(on, own) else ""),
        {"choice": "its own choice"}.get(row["thinks"], row["thinks"]),
        switch or "the block is closed",
        levels or "\u2014",
        "kept" if kept else "left out",
        OF_FILE,
    )


def sampling() -> str:
    """The parameters that a file may recommend, and what is taken where it does not."""
    rows = ((f"`{PREFIX}{key}`", f"`{name}`", shown(PARAMETERS[name].default)) for key, name in NAMES.items())
    return table(("in the file", "parameter", "without it"), rows)


def _memory(architecture: str) -> str:
    """How a model of the architecture remembers, as `plan_layers` has it."""
    if is_hybrid(architecture):
        return "recurrent layers"
    sizes = {"block_count": 64, "attention.head_count": 8, "attention.sliding_window": 4096}
    plan = plan_layers({f"{architecture}.{name}": size for name, size in sizes.items()}, architecture)
    return "sliding window" if LayerKind.WINDOW in plan.kinds else "full attention"


PARTS: dict[str, Callable[[], str]] = {
    "config": config,
    "families": families,
    "keys": keys,
    "meanings": meanings,
    "parameters": parameters,
    "sampling": sampling,
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
