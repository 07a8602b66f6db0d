"""Whether Ollama renders with a template in Go's syntax, where the model brings one in Jinja as well."""

from __future__ import annotations

from workbench.core.errors import TemplateError
from workbench.modelfile.gotemplate.tree import identifiers
from workbench.modelfile.template import parse

_OWN_SPLIT = ("content.split('</think>')", 'content.split("</think>")')
"""How templates take the thoughts out of an earlier answer."""


def prefers_jinja(go: str, jinja: str) -> bool:
    """Whether Ollama leaves the Go template aside: the one in Jinja can do more, of tools and thinking.

    A Go template that does not parse is left aside too.

    Args:
        go: The template in Go's syntax.
        jinja: The template of the GGUF file; empty where it has none.
    """
    if not jinja:
        return False
    try:
        names = identifiers(parse(go).tree)
    except TemplateError:
        return True
    return _jinja_abilities(jinja) > {ability for ability in ("tools", "thinking") if ability in names}


def _jinja_abilities(source: str) -> set[str]:
    """What a Jinja template can do, by the words in it, as Ollama looks for them."""
    found = set()
    if "tools" in source or "tool_call" in source:
        found.add("tools")
    splits = any(idiom in source for idiom in _OWN_SPLIT) and "reasoning_content" not in source
    if splits or ("<think>" in source and "</think>" in source):
        found.add("thinking")
    return found
