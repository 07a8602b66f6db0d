"""Control tokens come from the template alone: their texts inside a message reach the model as text.

A mark, a character that occurs nowhere else, is put inside each such text before the template is rendered. The prompt
is then split at the marks, and tokenized in parts: no part has the whole text of a control token from a message.
All other tokens are those of the whole prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import chain, groupby
from typing import Final

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.errors import TemplateError
from workbench.core.tools import Tool
from workbench.engine.llama.jinja import TemplateLimitError
from workbench.engine.llama.template import PromptTemplate

_PRIVATE: Final = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))
"""Characters without a meaning, in Unicode's private-use areas."""


class ControlTexts:
    """The texts that only a template may use as tokens; by default there are none.

    `control` are those of control tokens. `typed` are further ones that are kept apart in all messages but the model's:
    an answer shows no control tokens, but others may come from the model, and are tokens again in the next prompt.
    """

    def __init__(self, control: Collection[str] = (), typed: Collection[str] = ()) -> None:
        self._in_answers = _beginning_of(control)
        self._in_questions = _beginning_of({*control, *typed})

    def render(
        self,
        template: PromptTemplate,
        messages: Sequence[Message],
        mark: str,
        cancel: CancelToken,
        tools: Sequence[Tool] = (),
    ) -> str:
        """The prompt of `template`, with a `mark` inside each text that is not to become a token.

        Answers are left as they are where a template searches them for such a text, for example for the end of a block
        of reasoning.

        Raises:
            TemplateError: The template fails on these messages, or exceeds its limits.
            CancelledError: `cancel` was set.
        """
        apart = self._apart(self._in_questions, mark)
        tools = [
            replace(tool, description=apart(tool.description), parameters=apart(tool.parameters)) for tool in tools
        ]
        typed = [each if each.role == "assistant" else self.marked(each, mark) for each in messages]
        everything = [self.marked(each, mark) for each in messages]
        if everything == typed:
            return _render(template, typed, mark, cancel, tools)
        try:
            expected = _render(template, typed, mark, cancel, tools)
        except TemplateLimitError:
            raise
        except TemplateError:
            return _render(template, everything, mark, cancel, tools)
        rendered = _render(template, everything, mark, cancel, tools)
        return rendered if rendered.replace(mark, "") == expected.replace(mark, "") else expected

    def marked(self, message: Message, mark: str) -> Message:
        """`message` with a `mark` inside each text that is not to become a token."""
        apart = self._apart(self._in_answers if message.role == "assistant" else self._in_questions, mark)
        content, reasoning = apart(message.content), apart(message.reasoning)
        calls = tuple(replace(call, arguments=apart(call.arguments)) for call in message.calls)
        if (content, reasoning, calls) == (message.content, message.reasoning, message.calls):
            return message
        return replace(message, content=content, reasoning=reasoning, calls=calls)

    @staticmethod
    def _apart(beginning: re.Pattern[str], mark: str) -> Callable[[str], str]:
        return lambda text: beginning.sub(lambda found: found[0] + mark, text)


def unused_mark(texts: Iterable[str]) -> str:
    """A character that is in none of `texts`, in its own form or escaped."""
    joined = "\n".join(texts)
    escaped = joined.casefold() if "\\" in joined else ""
    for code in chain(*_PRIVATE):
        if chr(code) not in joined and _escape(chr(code)) not in escaped:
            return chr(code)
    raise TemplateError("The messages hold every private character of Unicode.", "Leave out some of them.")


def _escape(mark: str) -> str:
    return json.dumps(mark)[1:-1]


def _render(
    template: PromptTemplate, messages: Sequence[Message], mark: str, cancel: CancelToken, tools: Sequence[Tool]
) -> str:
    # Filters such as `tojson` may escape the mark.
    return re.sub(re.escape(_escape(mark)), mark, template.render(messages, cancel, tools), flags=re.IGNORECASE)


def _beginning_of(texts: Collection[str]) -> re.Pattern[str]:
    """Matches the first character of each of `texts`, also where they overlap."""
    starts = groupby(sorted(text for text in set(texts) if len(text) > 1), key=lambda text: text[0])
    parts = (f"{re.escape(first)}(?={'|'.join(re.escape(text[1:]) for text in group)})" for first, group in starts)
    return re.compile("|".join(parts) or "(?!)")
