"""The tokens of a request, and the places in them that later requests are likely to share."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from itertools import accumulate

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message, without_empty_answers
from workbench.core.engine import Request
from workbench.core.errors import CancelledError, ContextFullError, EngineError, TemplateError
from workbench.engine.families import Family, begins_answer, open_family, with_beginning
from workbench.engine.llama.control_texts import ControlTexts, unused_mark
from workbench.engine.llama.markup import markup_of
from workbench.engine.llama.model import Model
from workbench.engine.llama.prompt_change import Asked
from workbench.engine.llama.runtime import Clock, Step, wait_for
from workbench.engine.llama.template import PromptTemplate
from workbench.engine.text import AnswerText
from workbench.engine.thoughts import ReasoningSplitter

ANSWER_SHARE = 4
"""Where old turns have to be dropped, a quarter of the context is kept free for the answer."""

SEARCH_NS = 1_000_000_000
"""How long the turns to drop are searched for."""

KEY = 32
"""Characters at either end of a question by which it is found in the prompt."""

EARLIER_APART = 256
"""Tokens between the places of earlier questions, at least: an edit of the last one is likelier."""


class PromptTokens:
    """The tokens of a request, truncated to the context where the user wants that."""

    def __init__(
        self,
        request: Request,
        model: Model,
        template: PromptTemplate | TemplateError,
        cancel: CancelToken,
        controls: ControlTexts | None = None,
    ) -> None:
        self._request = request
        self._model = model
        self._template = template
        self._cancel = cancel
        self._controls = controls or ControlTexts()
        self.tokens: list[int] = []
        self.dropped = 0
        """Messages left out so that the rest fits."""
        self.markup: Family | None = None
        """The markup of the thoughts of this model, as far as its template shows it."""
        self.opened: Family | None = None
        """The markup of a block of reasoning that the prompt leaves open."""
        self.begun = False
        """Whether the prompt ends the thoughts, or begins the answer."""
        self.notice = ""
        """What was changed in the conversation so that the template takes it; empty for nothing."""
        self.asked = Asked()
        """What the tokens were made of."""
        self._latest = Asked()

    def make(self, job: Clock) -> Step:
        """Make the tokens.

        Raises:
            WorkbenchError: The prompt is empty, too long, or cannot be rendered; CancelledError.
        """
        request, n_ctx = self._request, self._model.n_ctx
        # The beginning of the answer must not be dropped.
        messages = without_empty_answers(request.messages[:-1] if request.continues else request.messages)
        self.tokens = yield from self._tokenize(job, messages)
        self.asked = self._latest
        if not self.tokens:
            raise EngineError("The prompt is empty.", "Write something for the model to continue.")
        if request.when_context_full == "drop_oldest" and request.prompt is None and request.tokens is None:
            limit = request.sampling.num_predict
            answer = n_ctx // ANSWER_SHARE if limit < 0 else min(n_ctx // ANSWER_SHARE, limit + 1)
            if len(self.tokens) > n_ctx - answer:
                yield from self._drop_oldest(job, messages, n_ctx - answer)
        if len(self.tokens) >= n_ctx:
            raise ContextFullError(
                f"The prompt has {len(self.tokens)} tokens, and the context of this model is {n_ctx} long.",
                "Start a new chat, load the model with a longer context (num_ctx), or let the oldest turns be "
                'dropped (when_context_full = "drop_oldest").',
            )

    def answer_text(self) -> AnswerText:
        """What converts the tokens of the answer to text."""
        request = self._request
        splitter = ReasoningSplitter(
            self.opened, self.markup, begun=self.begun, continued=request.continues, calls=bool(request.tools)
        )
        return AnswerText(request.sampling.stop, splitter)

    def _drop_oldest(self, job: Clock, messages: Sequence[Message], room: int) -> Step:
        """Leave out as few of the oldest turns as possible for the rest to fit; all but the last where none fits.

        The search goes from the end in growing steps and then by halves, so that the prompts that it makes are little
        longer than the context, however long the conversation is. After `SEARCH_NS` the best one so far counts.
        """
        end_ns = job.lane_ns(time.perf_counter_ns()) + SEARCH_NS
        system = 1 if messages and messages[0].role == "system" else 0
        starts = turn_starts(messages, system)
        too_long, fitting, step = -1, len(starts), 1
        while fitting - too_long > 1:
            tried = max(fitting - step, (too_long + fitting) // 2)
            best = self.opened, self.begun, self.notice
            tokens = yield from self._tokenize(job, (*messages[:system], *messages[starts[tried] :]))
            shortest = tried == len(starts) - 1
            if len(tokens) <= room or shortest:
                self.tokens, self.dropped, self.asked = tokens, starts[tried] - system, self._latest
                fitting, step = tried, 2 * step
            else:
                too_long, (self.opened, self.begun, self.notice) = tried, best
            if (shortest and len(tokens) > room) or job.lane_ns(time.perf_counter_ns()) > end_ns:
                return

    def _tokenize(self, job: Clock, messages: Sequence[Message]) -> Generator[None, None, list[int]]:
        request, vocabulary = self._request, self._model.vocabulary
        if request.tokens is not None:
            return list(request.tokens)
        if request.prompt is not None:
            return vocabulary.tokenize_raw(request.prompt)
        if isinstance(self._template, TemplateError):
            raise self._template
        mark = unused_mark(_texts(request))
        rendered = yield from wait_for(job, partial(self._render, self._template, messages, mark))
        if self._cancel.is_set:
            raise CancelledError("Preparing the prompt was stopped.")
        if request.continues:
            beginning = self._controls.marked(request.messages[-1], mark)
            rendered, self.opened = with_beginning(rendered, beginning, self.markup)
        else:
            self.opened = open_family(rendered, self.markup)
            if self.opened is not None and request.sampling.think == "off":
                # A model that always thinks is given thoughts that have ended.
                rendered, self.opened = rendered + self.opened.written, None
            self.begun = begins_answer(rendered, self.markup)
        sampling = request.sampling
        self._latest = Asked(
            messages=request.messages,
            template=(self._template.source, sampling.think, sampling.think_budget),
            rendered=rendered.replace(mark, ""),
        )
        return vocabulary.tokenize_prompt(*rendered.split(mark))

    def places(self) -> list[int]:
        """The lengths at which later prompts are likely to leave this one: where questions begin, where the last ends.

        They are at most a few tokens too short, and less than the whole.
        """
        if not self.asked.messages:
            return [len(self.tokens) - 1]
        ends = list(accumulate(map(self._model.pieces.width, self.tokens)))
        found, done, offset = list[int](), 0, 0
        for index in _question_edges(self.asked):
            offset += len(self.asked.rendered[done:index].encode("utf-8", "replace"))
            done = index
            found.append(bisect_right(ends, offset))
        *earlier, begin, end = (0, 0, *found)
        places = list[int]()
        for place in earlier:
            if place and (not places or place - places[-1] >= EARLIER_APART):
                places.append(place)
        return [place for place in sorted({*places, begin, end}) if 0 < place < len(self.tokens)]

    def _render(self, template: PromptTemplate, messages: Sequence[Message], mark: str) -> str:
        self.markup = markup_of(template, self._cancel)
        sampling = self._request.sampling
        template = template.thinking(sampling.think, sampling.think_budget)
        arrangement = template.arranged(messages, self._cancel)
        self.notice = arrangement.notice
        tools = self._request.tools
        return self._controls.render(template, arrangement.messages, mark, self._cancel, tools)


def _texts(request: Request) -> Iterator[str]:
    """All texts that come from people and models."""
    for message in request.messages:
        yield from (message.content, message.reasoning, *(call.arguments for call in message.calls))
    for tool in request.tools:
        yield from (tool.description, tool.parameters)


def _question_edges(asked: Asked) -> Iterator[int]:
    """The characters at which the questions of a prompt begin, and at which the last one ends, in order.

    A question that the template has changed is left out.
    """
    rendered, cursor = asked.rendered, 0
    questions = [text for each in asked.messages if each.role == "user" and (text := each.content.strip())]
    for text in questions[:-1]:
        begin = rendered.find(text[:KEY], cursor)
        if begin >= 0:
            yield begin
            cursor = max(begin, rendered.find(text[-KEY:], begin))
    if questions:
        begin = rendered.rfind(questions[-1][:KEY], cursor)
        end = rendered.rfind(questions[-1][-KEY:], cursor)
        if begin >= 0 and end >= 0:
            yield begin
            yield max(begin, end + len(questions[-1][-KEY:]))


def turn_starts(messages: Sequence[Message], first: int) -> list[int]:
    """Where a conversation can begin when its oldest turns are dropped: each question but the first, the last message.

    `first` is the index of its first turn.
    """
    last = len(messages) - 1
    return [index for index in range(first + 1, last + 1) if messages[index].role != "assistant" or index == last]
