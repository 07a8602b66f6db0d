"""The component classes of Markdown and code, each with its style rules."""

from __future__ import annotations

from collections.abc import Mapping

CODE_STYLES = {
    "doc--comment": "color: $code-comment; text-style: italic;",
    "doc--keyword": "color: $code-keyword;",
    "doc--builtin": "color: $code-builtin;",
    "doc--function": "color: $code-function;",
    "doc--number": "color: $code-number;",
    "doc--string": "color: $code-string;",
    "doc--deleted": "color: $text-error;",
}
MARKDOWN_STYLES = {
    "doc--h1": "color: $title; text-style: bold underline;",
    "doc--h2": "color: $title; text-style: bold;",
    "doc--h3": "text-style: bold;",
    "doc--strong": "text-style: bold;",
    "doc--em": "text-style: italic;",
    "doc--strike": "text-style: strike;",
    "doc--code": "color: $code-builtin; background: $code-background;",
    "doc--link": "color: $text-primary; text-style: underline;",
    "doc--url": "color: $muted;",
    "doc--quote": "color: $foreground 75%; text-style: italic;",
    "doc--quote-bar": "color: $title;",
    "doc--marker": "color: $title;",
    "doc--rule": "color: $gauge-track;",
    "doc--table-header": "text-style: bold;",
    "doc--code-block": "background: $code-background;",
    "doc--continues": "color: $muted;",
    "doc--code-label": "background: $code-background; color: $muted; text-style: italic;",
    **CODE_STYLES,
}


def style_sheet(widget: str, styles: Mapping[str, str]) -> str:
    """The style sheet of a widget type with the rules of each of its component classes."""
    return "\n".join(f"{widget} > .{name} {{ {rules} }}" for name, rules in styles.items())
