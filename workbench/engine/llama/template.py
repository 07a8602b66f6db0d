"""Chat templates: Jinja's, from the files of models, and those of Modelfiles in Go's syntax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.errors import TemplateError
from workbench.engine.llama.jinja import TemplateLimitError, shared_jinja
from workbench.engine.thoughts import split_whole
from workbench.modelfile.template import parse

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The template that llama.cpp's server uses for models without one."""

HARMONY_START = "<|channel|>"


class PromptTemplate(Protocol):
    """A chat template: renders a conversation as a prompt."""

    source: str

    def render(self, messages: Sequence[Message], cancel: CancelToken) -> str:
        """The prompt for the next answer. It may take seconds: neither for the event loop nor for llama.cpp's thread.

        Raises:
            TemplateError: It fails on these messages, or exceeds its limits.
            CancelledError: `cancel` was set.
        """


@dataclass(frozen=True, slots=True)
class ChatTemplate(PromptTemplate):
    """A template in Jinja. Some refuse a system prompt, which then goes before the first message of the user."""

    source: str
    bos: str = ""
    """The text of the token that begins a sequence; empty where there is none."""
    eos: str = ""

    def check(self, cancel: CancelToken) -> None:
        """Compile it; raises a TemplateError where it does not compile, a CancelledError when `cancel` was set."""
        shared_jinja.compile(self.source, cancel)

    @override
    def render(self, messages: Sequence[Message], cancel: CancelToken) -> str:
        try:
            return self._render(messages, cancel)
        except TemplateLimitError:
            raise
        except TemplateError:
            if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
                raise
            merged = Message("user", f"{messages[0].content}\n\n{messages[1].content}")
            return self._render((merged, *messages[2:]), cancel)

    def _render(self, messages: Sequence[Message], cancel: CancelToken) -> str:
        said = [_as_value(message) for message in messages]
        values = {"messages": said, "add_generation_prompt": True, "bos_token": self.bos, "eos_token": self.eos}
        return shared_jinja.render(self.source, values, cancel)


def _as_value(message: Message) -> dict[str, str]:
    """A message as templates read it; the thoughts are under each name that a family has for them."""
    thoughts, content = message.reasoning, message.content
    if message.role == "assistant" and not thoughts and content.lstrip().startswith(HARMONY_START):
        # An answer that was kept with its channels: the template refuses it.
        thoughts, content = split_whole(content)
    names = ("reasoning_content", "thinking", "reasoning") if thoughts else ()
    return {"role": message.role, "content": content} | dict.fromkeys(names, thoughts)


class GoChatTemplate(PromptTemplate):
    """The TEMPLATE of a Modelfile, in Go's syntax, rendered as Ollama does it.

    Raises:
        TemplateError: It is not Go's syntax.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._template = parse(source)

    @override
    def render(self, messages: Sequence[Message], cancel: CancelToken) -> str:
        return self._template.render_chat(messages)


def open_template(go: str, jinja: str, cancel: CancelToken) -> PromptTemplate | TemplateError:
    """The template in Go's syntax, else the one in Jinja; the error where it does not compile. It may take seconds.

    Raises:
        CancelledError: `cancel` was set.
    """
    try:
        if go:
            return GoChatTemplate(go)
        template = ChatTemplate(jinja or CHATML)
        template.check(cancel)
    except TemplateError as error:
        return error
    return template
