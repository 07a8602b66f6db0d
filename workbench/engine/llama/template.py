"""Chat templates: Jinja's, from the files of models, and those of Modelfiles in Go's syntax."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal, Protocol, TypeAlias, get_args

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message, Role
from workbench.core.errors import TemplateError
from workbench.engine.llama.arrangement import CHANGES, Arrangement, arrange
from workbench.engine.llama.jinja import TemplateLimitError, shared_jinja
from workbench.engine.switches import think_values, typed_switch
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
_Place = Literal["field", "part", "block"]
_AS_VALUE: Final = re.compile(r"""["'](?:thinking|thoughts|blocks)["']\s*:|["']type["']\s*:\s*["']text["']""")
"""What a content that is no text has in a rendering that does not understand it."""
_ABSENT: Final = ("tools", "documents")
"""What a conversation here does not have."""


@dataclass(frozen=True, slots=True)
class _Form:
    """The form in which a template takes messages."""

    parts: frozenset[Role] = frozenset()
    """The roles whose contents are lists of parts."""
    thoughts: _Place = "field"
    """Where the thoughts of an answer are: in a field of the message, in a part of its content, or in a block."""
    none: tuple[str, ...] = _ABSENT
    """The variables that are None, for what is not there; the others are undefined, which some templates need."""


_FORMS = tuple(
    _Form(parts=parts, none=none)
    for none in (_ABSENT, _ABSENT[1:], _ABSENT[:1], ())
    for parts in (frozenset[Role](), frozenset(get_args(Role)))
)
"""In the order in which they are tried."""


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
    takes contents as text or as a list of parts, where it looks for thoughts, whether it refuses or drops the system
    prompt, which then goes before the first question, and whether it refuses the order of the messages.
    """

    source: str
    bos: str = ""
    """The text of the token that begins a sequence; empty where there is none."""
    eos: str = ""
    _arrangements: dict[_Order, int] = field(default_factory=dict, compare=False, repr=False)
    """What the probes have found: the number of the arrangement for each order of roles."""
    _forms: dict[bool, _Form] = field(default_factory=dict, compare=False, repr=False)
    """What the probes have found: the form of messages, without thoughts and with them."""
    _switches: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)
    """The variables that control thinking."""
    _typed: str = field(default="", compare=False, repr=False)
    """What is added to the last question to control it."""

    def check(self, cancel: CancelToken) -> None:
        """Compile it; raises a TemplateError where it does not compile, a CancelledError when `cancel` was set."""
        shared_jinja.compile(self.source, cancel)

    @override
    def thinking(self, think: str, budget: int) -> ChatTemplate:
        values = think_values(self.source, think, budget)
        return replace(self, _switches=values, _typed=typed_switch(self.source, think))

    @override
    def render(self, messages: Sequence[Message], cancel: CancelToken) -> str:
        messages = self.arranged(messages, cancel).messages
        return self._render(messages, self._form(cancel, any(each.reasoning for each in messages)), cancel)

    @override
    def arranged(self, messages: Sequence[Message], cancel: CancelToken) -> Arrangement:
        order = _order(messages)
        if order not in self._arrangements and (number := self._probe(order, cancel)) is not None:
            if len(self._arrangements) >= _MOST_ORDERS:
                self._arrangements.clear()
            self._arrangements[order] = number
        return arrange(messages, self._arrangements.get(order, 0))

    def _probe(self, order: _Order, cancel: CancelToken) -> int | None:
        """The first arrangement of which every message comes out, else the one that loses least; None for no one."""
        probe = [Message(role, _rare(number) if filled else "") for number, (role, filled) in enumerate(order)]
        needed = [each.content for each in probe if each.role == "system" or each is probe[-1]]
        form, tried = self._form(cancel), set()
        best, best_rank = None, -1
        for number in range(len(CHANGES)):
            arrangement = arrange(probe, number)
            if arrangement.messages in tried or (best is not None and number == len(CHANGES) - 1):
                continue
            tried.add(arrangement.messages)
            text = self._attempt(arrangement.messages, form, cancel)
            if text is None:
                continue
            if all(each.content in text for each in probe):
                return number
            rank = sum(word in text for word in needed)
            if rank > best_rank:
                best, best_rank = number, rank
        return best

    def _form(self, cancel: CancelToken, thoughts: bool = False) -> _Form:
        """The form of messages, with the place of the `thoughts` of earlier answers where there are some."""
        if thoughts not in self._forms:
            form = self._thoughts_form(cancel) if thoughts else self._contents_form(cancel)
            if form is None:
                return _FORMS[0]
            self._forms[thoughts] = form
        return self._forms[thoughts]

    def _contents_form(self, cancel: CancelToken) -> _Form | None:
        """The first form in which a question comes out; None for no one. Other roles may have another form."""
        question = Message("user", _rare(0))
        found = next((form for form in _FORMS if self._shows(_rare(0), (question,), form, cancel)), None)
        if found is None or not found.parts:
            return found
        others: tuple[Role, ...] = ("system", "assistant")
        for role in others:
            other = Message(role, _rare(1))
            probe = (other, question) if role == "system" else (question, other, question)
            as_text = replace(found, parts=found.parts - {role})
            if not self._shows(_rare(1), probe, found, cancel) and self._shows(_rare(1), probe, as_text, cancel):
                found = as_text
        return found

    def _shows(self, word: str, messages: Sequence[Message], form: _Form, cancel: CancelToken) -> bool:
        """Whether a word of a message comes out as text."""
        text = self._attempt(messages, form, cancel) or ""
        return word in text and not (form.parts and _AS_VALUE.search(text))

    def _thoughts_form(self, cancel: CancelToken) -> _Form:
        """The first form in which the thoughts of an earlier answer come out; fields where a family leaves them out."""
        form = self._form(cancel)
        words = [_rare(number) for number in range(4)]
        probe = Message("user", words[0]), Message("assistant", words[1], words[2]), Message("user", words[3])
        for place in get_args(_Place):
            tried = replace(form, thoughts=place)
            text = self._attempt(probe, tried, cancel) or ""
            if all(text.count(word) == 1 for word in words) and not _AS_VALUE.search(text):
                return tried
        return form

    def _attempt(self, messages: Sequence[Message], form: _Form, cancel: CancelToken) -> str | None:
        """The rendering; None where the template refuses these messages."""
        try:
            return self._render(messages, form, cancel)
        except TemplateLimitError:
            raise
        except TemplateError:
            return None

    def _render(self, messages: Sequence[Message], form: _Form, cancel: CancelToken) -> str:
        last = next((each for each in reversed(messages) if each.role == "user"), None)
        if self._typed and last is not None:
            typed = replace(last, content=f"{last.content} {self._typed}")
            messages = [typed if each is last else each for each in messages]
        now = datetime.now()
        values = {
            **self._switches,
            "messages": [_as_value(message, form) for message in messages],
            "add_generation_prompt": True,
            "bos_token": self.bos,
            "eos_token": self.eos,
            "date_string": now.strftime("%d %b %Y"),
            "datetime": now.strftime("%b %d %Y"),
        }
        return shared_jinja.render(self.source, values | dict.fromkeys(form.none), cancel)


def _as_value(message: Message, form: _Form) -> dict[str, object]:
    """A message as templates read it; the thoughts are under each name that a family has for them."""
    thoughts, content = message.reasoning, message.content
    if message.role == "assistant" and not thoughts and content.lstrip().startswith(HARMONY_START):
        # An answer that was kept with its channels: the template refuses it.
        thoughts, content = split_whole(content)
    value: dict[str, object] = {"role": message.role, "content": content}
    if message.role == "assistant" and form.thoughts == "block":
        blocks = [{"type": "thoughts", "text": thoughts}] if thoughts else []
        return value | {"content": {"blocks": [*blocks, {"type": "response", "text": content}]}}
    if thoughts and form.thoughts == "part":
        return value | {"content": [{"type": "thinking", "thinking": thoughts}, {"type": "text", "text": content}]}
    if message.role in form.parts:
        value["content"] = [{"type": "text", "text": content}]
    names = ("reasoning_content", "thinking", "reasoning") if thoughts else ()
    return value | dict.fromkeys(names, thoughts)


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
