"""Chat templates in Go's syntax: the TEMPLATE of a Modelfile, in the place of the template that the model brings."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.core.chat import Message
from workbench.modelfile.template import parse


class GoChatTemplate:
    """A TEMPLATE, rendered as Ollama does it.

    Args:
        source: The template.

    Raises:
        TemplateError: It is not Go's syntax.
    """

    def __init__(self, source: str) -> None:
        self._template = parse(source)

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt for the next answer.

        Raises:
            TemplateError: The template fails on these messages, or takes too much.
        """
        return self._template.render_chat(messages)
