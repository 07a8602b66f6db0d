"""Chat templates. Those in Jinja are rendered as Transformers does it, in a sandbox: a model file is foreign code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from typing_extensions import override

from workbench.core.chat import Message
from workbench.core.errors import TemplateError
from workbench.modelfile.template import parse

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The template that llama.cpp's server uses for models without one."""


class PromptTemplate(Protocol):
    """A chat template: renders a conversation as a prompt."""

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt for the next answer.

        Raises:
            TemplateError: It fails on these messages, or exceeds its limits.
        """


class _GenerationTag(Extension):
    """`{% generation %}` marks the assistant's words for training; in a prompt it has no meaning."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own declaration of this attribute

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _GenerationTag]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


class ChatTemplate(PromptTemplate):
    """A compiled Jinja template. Some refuse a system prompt, which then goes before the first message of the user.

    `bos` and `eos` are the texts of the tokens that begin and end a sequence; empty where there are none.

    Raises:
        TemplateError: The template does not compile.
    """

    def __init__(self, source: str, bos: str = "", eos: str = "") -> None:
        self._tokens = {"bos_token": bos, "eos_token": eos}
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(
                f"The chat template of this model does not compile: line {error.lineno}: {error.message}.",
                "Raw completion (--raw) works without it.",
            ) from None

    @override
    def render(self, messages: Sequence[Message]) -> str:
        try:
            return self._render(messages)
        except TemplateError:
            if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
                raise
            merged = Message("user", f"{messages[0].content}\n\n{messages[1].content}")
            return self._render((merged, *messages[2:]))

    def _render(self, messages: Sequence[Message]) -> str:
        values = [
            {"role": message.role, "content": message.content}
            | ({"reasoning_content": message.reasoning} if message.reasoning else {})
            for message in messages
        ]
        try:
            return self._template.render(messages=values, add_generation_prompt=True, **self._tokens)
        except Exception as error:  # noqa: BLE001 - a template is foreign code
            raise TemplateError(
                f"The chat template of this model fails on this conversation: {error}",
                "Another order of messages or no system prompt may help; raw completion (--raw) needs no template.",
            ) from None


class GoChatTemplate(PromptTemplate):
    """The TEMPLATE of a Modelfile, in Go's syntax, rendered as Ollama does it.

    Raises:
        TemplateError: It is not Go's syntax.
    """

    def __init__(self, source: str) -> None:
        self._template = parse(source)

    @override
    def render(self, messages: Sequence[Message]) -> str:
        return self._template.render_chat(messages)
