"""TEMPLATE of a Modelfile: Go's text/template with Ollama's functions and data.

A template is untrusted code: it can access only the values that it is given, and its cost is limited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workbench.core.chat import Message
from workbench.core.tools import Tool
from workbench.modelfile.gotemplate.functions import FUNCTIONS
from workbench.modelfile.gotemplate.parser import parse_tree
from workbench.modelfile.gotemplate.prompt import PromptRequest, render_prompt, with_response
from workbench.modelfile.gotemplate.tree import TemplateTree
from workbench.modelfile.gotemplate.values import sound_text


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    source: str
    tree: TemplateTree
    prompt_tree: TemplateTree = field(repr=False)
    """The tree that Ollama uses, with the response at its end if the template has none."""

    def render_prompt(self, request: PromptRequest) -> str:
        """The prompt that Ollama renders for `request`.

        Raises:
            GoTemplateError: The template fails on it, or a limit is reached.
        """
        return render_prompt(self.source, self.prompt_tree, request)

    def render_chat(
        self, messages: Sequence[Message], think: bool | str | None = None, tools: Sequence[Tool] = ()
    ) -> str:
        """The prompt for the next answer in a conversation; `think` as in `PromptRequest`.

        Raises:
            GoTemplateError: The template fails on these messages, or a limit is reached.
        """
        request = PromptRequest(
            messages=[_in_json(message) for message in messages], tools=[tool.document for tool in tools], think=think
        )
        return self.render_prompt(request)


def _in_json(message: Message) -> Mapping[str, object]:
    calls = [{"id": call.id, "function": {"name": call.name, "arguments": call.values}} for call in message.calls]
    return {
        "role": message.role, "content": message.content, "thinking": message.reasoning, "tool_calls": calls,
        "tool_name": message.tool, "tool_call_id": message.call_id,
    }  # fmt: skip


def parse(text: str) -> Template:
    """Parse a template.

    Raises:
        GoTemplateError: Go would refuse it; the error has line and column.
    """
    source = sound_text(text)
    tree = parse_tree(source, FUNCTIONS)
    return Template(source, tree, with_response(tree))
