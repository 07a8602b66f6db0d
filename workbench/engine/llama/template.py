"""Chat templates: Jinja's, from the files of models, and those of Modelfiles in Go's syntax."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol, TypeAlias, get_args

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message, Role
from workbench.core.errors import TemplateError
from workbench.core.tool_calls import calls_in
from workbench.core.tools import Tool, ToolCall
from workbench.engine.llama.arrangement import CHANGES, Arrangement, arrange
from workbench.engine.llama.jinja import TemplateLimitError, shared_jinja
from workbench.engine.llama.message_values import HARMONY_START, MESSAGE_FORMS, MessageForm, Place, message_value
from workbench.engine.switches import think_values, typed_switch
from workbench.modelfile.template import parse

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The template that llama.cpp's server uses for models without one."""

NO_TOOLS: Final = TemplateError(
    "The chat template of this model has no place for tools.", "Ask it without tools, or serve a model that calls them."
)

CALL_ID: Final = "abcdefghi"
"""An id of a call in the form that Mistral's templates want."""

_MOST_ORDERS: Final = 64
"""Orders of roles whose arrangement is remembered. A conversation of an unusual order has another one each time."""

_RARE: Final = "qzvx{}jk"
"""A word that no template has; it takes a number in letters."""

_Order: TypeAlias = tuple[tuple[Role, bool], ...]
_AS_VALUE: Final = re.compile(r"""["'](?:thinking|thoughts|blocks)["']\s*:|["']type["']\s*:\s*["']text["']""")
"""What a content that is no text has in a rendering that does not understand it."""


class PromptTemplate(Protocol):
    """A chat template: renders a conversation as a prompt."""

    source: str

    def render(self, messages: Sequence[Message], cancel: CancelToken, tools: Sequence[Tool] = ()) -> str:
        """The prompt for the next answer, which may call `tools`.

        It may take seconds: neither for the event loop nor for llama.cpp's thread.

        Raises:
            TemplateError: It fails on these messages, or exceeds its limits.
            CancelledError: `cancel` was set.
        """

    def thinking(self, think: str, budget: int) -> PromptTemplate:
        """This template with the parameters `think` and `think_budget`, as far as it controls thinking."""

    def arranged(self, messages: Sequence[Message], cancel: CancelToken) -> Arrangement:
        """`messages` as this template takes them, changed as little as possible. Errors are those of `render`."""

    def check_tools(self, cancel: CancelToken) -> None:
        """Raise a TemplateError where the model cannot call tools, or its calls cannot be read."""


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
    _forms: dict[bool, MessageForm] = field(default_factory=dict, compare=False, repr=False)
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
    def render(self, messages: Sequence[Message], cancel: CancelToken, tools: Sequence[Tool] = ()) -> str:
        messages = self.arranged(messages, cancel).messages
        return self._render(messages, self._form(cancel, any(each.reasoning for each in messages)), cancel, tools)

    @override
    def check_tools(self, cancel: CancelToken) -> None:
        name, value, result = _rare(1), _rare(2), _rare(3)
        question, form, tools = Message("user", _rare(0)), self._form(cancel), (Tool(name),)
        if name not in self._render((question,), form, cancel, tools):
            raise NO_TOOLS
        call = ToolCall(name, json.dumps({"city": value}), CALL_ID)
        answers = Message("assistant", "", calls=(call,)), Message("tool", result, call_id=CALL_ID, tool=name)
        try:
            rendered = self._render((question, *answers), form, cancel, tools)
        except TemplateLimitError:
            raise
        except TemplateError:
            return
        written = rendered.rpartition(question.content)[2].partition(result)[0]
        bare = written[written.find("{") : written.rfind("}") + 1]
        if value in written and not (HARMONY_START in self.source or calls_in(written) or calls_in(bare)):
            raise TemplateError("The calls that this family of models writes cannot be read.", "Ask it without tools.")

    @override
    def arranged(self, messages: Sequence[Message], cancel: CancelToken) -> Arrangement:
        if any(each.calls or each.role == "tool" for each in messages):
            return Arrangement(tuple(messages))
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

    def _form(self, cancel: CancelToken, thoughts: bool = False) -> MessageForm:
        """The form of messages, with the place of the `thoughts` of earlier answers where there are some."""
        if thoughts not in self._forms:
            form = self._thoughts_form(cancel) if thoughts else self._contents_form(cancel)
            if form is None:
                return MESSAGE_FORMS[0]
            self._forms[thoughts] = form
        return self._forms[thoughts]

    def _contents_form(self, cancel: CancelToken) -> MessageForm | None:
        """The first form in which a question comes out; None for no one. Other roles may have another form."""
        question = Message("user", _rare(0))
        found = next((form for form in MESSAGE_FORMS if self._shows(_rare(0), (question,), form, cancel)), None)
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

    def _shows(self, word: str, messages: Sequence[Message], form: MessageForm, cancel: CancelToken) -> bool:
        """Whether a word of a message comes out as text."""
        text = self._attempt(messages, form, cancel) or ""
        return word in text and not (form.parts and _AS_VALUE.search(text))

    def _thoughts_form(self, cancel: CancelToken) -> MessageForm:
        """The first form in which the thoughts of an earlier answer come out; fields where a family leaves them out."""
        form = self._form(cancel)
        words = [_rare(number) for number in range(4)]
        probe = Message("user", words[0]), Message("assistant", words[1], words[2]), Message("user", words[3])
        for place in get_args(Place):
            tried = replace(form, thoughts=place)
            text = self._attempt(probe, tried, cancel) or ""
            if all(text.count(word) == 1 for word in words) and not _AS_VALUE.search(text):
                return tried
        return form

    def _attempt(self, messages: Sequence[Message], form: MessageForm, cancel: CancelToken) -> str | None:
        """The rendering; None where the template refuses these messages."""
        try:
            return self._render(messages, form, cancel)
        except TemplateLimitError:
            raise
        except TemplateError:
            return None

    def _render(
        self, messages: Sequence[Message], form: MessageForm, cancel: CancelToken, tools: Sequence[Tool] = ()
    ) -> str:
        last = next((each for each in reversed(messages) if each.role == "user"), None)
        if self._typed and last is not None:
            typed = replace(last, content=f"{last.content} {self._typed}")
            messages = [typed if each is last else each for each in messages]
        now = datetime.now()
        values = {
            **self._switches,
            "messages": [message_value(message, form) for message in messages],
            **({"tools": [tool.document for tool in tools]} if tools else {}),
            "add_generation_prompt": True,
            "bos_token": self.bos,
            "eos_token": self.eos,
            "date_string": now.strftime("%d %b %Y"),
            "datetime": now.strftime("%b %d %Y"),
        }
        values = dict.fromkeys(form.none) | values
        try:
            return shared_jinja.render(self.source, values, cancel)
        except TemplateLimitError:
            raise
        except TemplateError:
            if not any(each.calls for each in messages):
                raise
        # Some templates join the arguments to texts.
        values["messages"] = [message_value(message, form, as_text=True) for message in messages]
        return shared_jinja.render(self.source, values, cancel)


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
    def render(self, messages: Sequence[Message], cancel: CancelToken, tools: Sequence[Tool] = ()) -> str:
        return self._template.render_chat(messages, self._think, tools)

    @override
    def check_tools(self, cancel: CancelToken) -> None:
        question = Message("user", "?")
        if _rare(1) not in self._template.render_chat((question,), self._think, (Tool(_rare(1)),)):
            raise NO_TOOLS

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
