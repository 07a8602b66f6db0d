"""TEMPLATE of a Modelfile: Go's text/template with Ollama's functions and data.

A template is foreign code. It reaches nothing but the values that it is given, and what it may take is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workbench.core.chat import Message
from workbench.core.errors import TemplateError
from workbench.modelfile.gotemplate.evaluate import evaluate
from workbench.modelfile.gotemplate.expressions import EvaluationSettings
from workbench.modelfile.gotemplate.functions import FUNCTIONS
from workbench.modelfile.gotemplate.parser import parse_tree
from workbench.modelfile.gotemplate.prompt import Mode, PromptRequest, mode_for, render_prompt, with_response
from workbench.modelfile.gotemplate.tree import TemplateTree, identifiers
from workbench.modelfile.gotemplate.values import Value, sound_text

_OWN_SPLIT = ("content.split('</think>')", 'content.split("</think>")')
"""How templates take the thoughts out of an earlier answer."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    source: str
    tree: TemplateTree
    """As it is written."""
    prompt_tree: TemplateTree = field(repr=False)
    """As Ollama has it, with the response at its end where it speaks of none."""

    def render(self, data: Value, settings: EvaluationSettings | None = None) -> str:
        """The text that this template makes of `data`, as Go itself does it.

        Raises:
            GoTemplateError: Go would fail, or a limit is reached.
        """
        return evaluate(self.source, self.tree, data, settings)

    def render_prompt(self, request: PromptRequest) -> str:
        """The prompt that Ollama would make of `request`.

        Raises:
            GoTemplateError: The template fails on it, or a limit is reached.
        """
        return render_prompt(self.source, self.prompt_tree, request)

    def render_chat(self, messages: Sequence[Message]) -> str:
        """The prompt for the next answer in a conversation.

        Raises:
            GoTemplateError: The template fails on these messages, or a limit is reached.
        """
        return self.render_prompt(PromptRequest(messages=[_in_json(message) for message in messages]))

    def mode(self, request: PromptRequest) -> Mode:
        """Which of Ollama's three ways `request` is rendered in."""
        return mode_for(self.tree, request)


def _in_json(message: Message) -> Mapping[str, object]:
    return {"role": message.role, "content": message.content, "thinking": message.reasoning}


def parse(text: str) -> Template:
    """The template that `text` is.

    Raises:
        GoTemplateError: Go would refuse it; the error names line and column.
    """
    source = sound_text(text)
    tree = parse_tree(source, FUNCTIONS)
    return Template(source, tree, with_response(tree))


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
