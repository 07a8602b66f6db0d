"""TEMPLATE of a Modelfile: Go's text/template with Ollama's functions and data.

A template is foreign code. It reaches nothing but the values that it is given, and what it may take is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workbench.core.chat import Message
from workbench.modelfile.gotemplate.evaluate import evaluate
from workbench.modelfile.gotemplate.expressions import Settings
from workbench.modelfile.gotemplate.functions import FUNCTIONS
from workbench.modelfile.gotemplate.parser import parse_tree
from workbench.modelfile.gotemplate.prompt import Mode, PromptRequest, mode_for, render_prompt, with_response
from workbench.modelfile.gotemplate.tree import Tree
from workbench.modelfile.gotemplate.values import Value, sound_text


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    source: str
    tree: Tree
    """As it is written."""
    prompt_tree: Tree = field(repr=False)
    """As Ollama has it, with the response at its end where it speaks of none."""

    def render(self, data: Value, settings: Settings | None = None) -> str:
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
