"""Chat templates: Jinja's, from the files of models, and those of Modelfiles in Go's syntax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol, TypeAlias

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message, Role
from workbench.core.errors import TemplateError
from workbench.engine.llama.arrangement import CHANGES, Arrangement, arrange
from workbench.engine.llama.jinja import TemplateLimitError, shared_jinja
from workbench.engine.switches import think_values
from workbench.engine.thoughts import split_whole
from workbench.modelfile.template import parse

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The template that llama.cpp's server uses for models without one."""

HARMONY_START = "<|channel|>"

_MOST_ORDERS: Final = 64
"""Orders of roles whose arrangement is remembered. A conversation of an unusual order has another one each time."""

_RARE: Final = "qzvx{}jk"
"""A word that no template has; it takes a number in letters."""

_Order: TypeAlias = tuple[tuple[Role, bool], ...]


class PromptTemplate(Protocol):
    """A chat template: renders a conversation as a prompt."""

    source: str

    def render(self, messages: Sequence[Message], cancel: CancelToken) -> str:
        """The prompt for the next answer. It may take seconds: neither for the event loop nor for llama.cpp's thread.

        Raises:
            TemplateError: It fails on these messages, or exceeds its limits.
            CancelledError: `cancel` was set.
        """

    def thinking(self, think: str, budget: int) -> PromptTemplate:
        """This template with the parameters `think` and `think_budget`, as far as it controls thinking."""

    def arranged(self, messages: Sequence[Message], cancel: CancelToken) -> Arrangement:
        """`messages` as this template takes them, changed as little as possible. Errors are those of `render`."""


@dataclass(frozen=True, slots=True)
class ChatTemplate(PromptTemplate):
    """A template in Jinja.

    What it does to a conversation is found by rendering one with rare words, once for each order of roles: whether it
    takes contents as text or as a list of parts, whether it refuses or drops the system prompt, which then goes before
    the first question, and whether it refuses the order of the messages.
    """

    source: str
    bos: str = ""
    """The text of the token that begins a sequence; empty where there is none."""
    eos: str = ""
    _probed: dict[object, int] = field(default_factory=dict, compare=False, repr=False)
    """What the probes have found: the number of the arrangement for each order of roles, and the form of contents."""
    _switches: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)
    """The variables that control thinking."""

    def check(self, cancel: CancelToken) -> None:
        """Compile it; raises a TemplateError where it does not compile, a CancelledError when `cancel` was set."""
        shared_jinja.compile(self.source, cancel)

    @override
    def thinking(self, think: str, budget: int) -> ChatTemplate:
        return replace(self, _switches=think_values(self.source, think, budget))

    @override
    def render(self, messages: Sequence[Message], cancel: CancelToken) -> str:
        return self._render(self.arranged(messages, cancel).messages, self._wants_parts(cancel), cancel)

    @override
    def arranged(self, messages: Sequence[Message], cancel: CancelToken) -> Arrangement:
        order = _order(messages)
        if order not in self._probed and (number := self._probe(order, cancel)) is not None:
            if len(self._probed) >= _MOST_ORDERS:
                self._probed.clear()
            self._probed[order] = number
        return arrange(messages, self._probed.get(order, 0))

    def _probe(self, order: _Order, cancel: CancelToken) -> int | None:
        """The first arrangement of which every message comes out, else the one that loses least; None for no one."""
        probe = [Message(role, _rare(number) if filled else "") for number, (role, filled) in enumerate(order)]
        needed = [each.content for each in probe if each.role == "system" or each is probe[-1]]
        parts, tried = self._wants_parts(cancel), set()
        best, best_rank = None, -1
        for number in range(len(CHANGES)):
            arrangement = arrange(probe, number)
            if arrangement.messages in tried or (best is not None and number == len(CHANGES) - 1):
                continue
            tried.add(arrangement.messages)
            text = self._attempt(arrangement.messages, parts, cancel)
            if text is None:
                continue
            if all(each.content in text for each in probe):
                return number
            rank = sum(word in text for word in needed)
            if rank > best_rank:
                best, best_rank = number, rank
        return best

    def _wants_parts(self, cancel: CancelToken) -> bool:
        """Whether contents have to be lists of parts; text is preferred."""
        if "parts" not in self._probed:
            word = _rare(0)
            for parts in (False, True):
                if word in (self._attempt([Message("user", word)], parts, cancel) or ""):
                    self._probed["parts"] = parts
                    break
        return bool(self._probed.get("parts", False))

    def _attempt(self, messages: Sequence[Message], parts: bool, cancel: CancelToken) -> str | None:
        """The rendering; None where the template refuses these messages."""
        try:
            return self._render(messages, parts, cancel)
        except TemplateLimitError:
            raise
        except TemplateError:
            return None

    def _render(self, messages: Sequence[Message], parts: bool, cancel: CancelToken) -> str:
        said = [_as_value(message, parts) for message in messages]
        now = datetime.now()
        values = {
            **self._switches,
            "messages": said,
            "add_generation_prompt": True,
            "bos_token": self.bos,
            "eos_token": self.eos,
            "tools": None,
            "documents": None,
            "date_string": now.strftime("%d %b %Y"),
            "datetime": now.strftime("%b %d %Y"),
        }
        return shared_jinja.render(self.source, values, cancel)


def _as_value(message: Message, parts: bool) -> dict[str, object]:
    """A message as templates read it; the thoughts are under each name that a family has for them."""
    thoughts, content = message.reasoning, message.content
    if message.role == "assistant" and not thoughts and content.lstrip().startswith(HARMONY_START):
        # An answer that was kept with its channels: the template refuses it.
        thoughts, content = split_whole(content)
    names = ("reasoning_content", "thinking", "reasoning") if thoughts else ()
    value: object = [{"type": "text", "text": content}] if parts else content
    return {"role": message.role, "content": value} | dict.fromkeys(names, thoughts)


def _order(messages: Sequence[Message]) -> _Order:
    """The roles of a conversation, and which messages have text; of questions and answers in turn, the first ones."""
    order = tuple((message.role, bool(message.content)) for message in messages)
    start = 1 if order[:1] == (("system", True),) else 0
    turns = order[start:]
    if all(turn == (("user", "assistant")[number % 2], True) for number, turn in enumerate(turns)):
        turns = turns[: 4 - len(turns) % 2]
    return order[:start] + turns


def _rare(number: int) -> str:
    return _RARE.format("".join(chr(ord("a") + int(digit)) for digit in str(number)))


class GoChatTemplate(PromptTemplate):
    """The TEMPLATE of a Modelfile, in Go's syntax, rendered as Ollama does it.

    Raises:
        TemplateError: It is not Go's syntax.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._template = parse(source)
        self._think: bool | str | None = None

    @override
    def thinking(self, think: str, budget: int) -> GoChatTemplate:
        template = copy(self)
        template._think = {"default": None, "on": True, "off": False}.get(think, think)
        return template

    @override
    def render(self, messages: Sequence[Message], cancel: CancelToken) -> str:
        return self._template.render_chat(messages, self._think)

    @override
    def arranged(self, messages: Sequence[Message], cancel: CancelToken) -> Arrangement:
        return Arrangement(tuple(messages))


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
