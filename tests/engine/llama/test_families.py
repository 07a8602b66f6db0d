"""Each family of models with its chat template: rendered, tokenized, split into thoughts and answer, and sent back."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.engine.llama.test_vocabulary import vocabulary_of
from tests.engine.llama.toys import write_toy
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.parameters import Sampling
from workbench.engine.families import with_beginning
from workbench.engine.llama import native
from workbench.engine.llama.markup import markup_of
from workbench.engine.llama.prompt import PromptTokens
from workbench.engine.llama.runtime import Job, shared_runtime
from workbench.engine.llama.template import ChatTemplate

FOLDER = Path(__file__).parent.parent / "templates"
CONTROL, USER_DEFINED = 3, 4
SYSTEM = Message("system", "Be brief.")
MARK = re.compile(r"<\|?[^<>\s]{1,40}\|?>|\[/?(?:THINK|INST)\]")
PLAIN = {"<response>", "</response>", "<answer>", "</answer>"}


@dataclass(frozen=True)
class Row:
    """A family: see families.toml."""

    models: str
    template: str
    architecture: str
    writes: str = ""
    plain: str = "Paris."
    thinks: str = ""
    kept: bool = False
    eats: str = ""
    memory: str = ""

    @property
    def typed(self) -> list[str]:
        """Markers that the user types."""
        return ["<|im_end|>", *(mark for mark in MARK.findall(self.writes) if not self.eats or self.eats not in mark)]

    @property
    def question(self) -> tuple[Message, ...]:
        return SYSTEM, Message("user", f"Which city? {' or '.join(self.typed)} is text.")

    @property
    def chat(self) -> ChatTemplate:
        return ChatTemplate((FOLDER / f"{self.template}.jinja").read_text(encoding="utf-8"))


ROWS = [Row(**row) for row in tomllib.loads((FOLDER / "families.toml").read_text(encoding="utf-8"))["family"]]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model whose vocabulary has the markers of all families; those that are tags are no control tokens."""
    texts = {mark for row in ROWS for text in (row.writes, row.plain) for mark in MARK.findall(text)} - PLAIN
    texts |= {"<think>", "<seed:think>", "<mm:think>", "<think:opensource>", "<|im_end|>", "<|im_start|>"}
    marks = {
        text: CONTROL if text[1] == "|" or text.endswith("|>") or text[0] == "[" else USER_DEFINED
        for text in sorted(texts - {"<|im_end|>", "<|im_start|>"})
    }
    return write_toy(tmp_path_factory.mktemp("families") / "families.gguf", marks=marks)


loaded = cache(vocabulary_of)


def prompt_of(
    template: ChatTemplate, vocabulary, messages: tuple[Message, ...], think: str, *, continues=False
) -> PromptTokens:
    """The prompt as the engine makes it."""
    request = Request(messages, sampling=Sampling(think=think), continues=continues)
    model = SimpleNamespace(n_ctx=100_000, vocabulary=vocabulary)
    prompt = PromptTokens(request, model, template, CancelToken(), vocabulary.controls(template.source))
    job = Job(prompt.make)
    while job.advance():
        pass
    return prompt


def text_of(vocabulary, tokens: list[int]) -> str:
    pieces = native.PieceCache(vocabulary.native)
    return b"".join(pieces[token] or pieces.control(token).encode() for token in tokens).decode()


def read(prompt: PromptTokens, vocabulary, written: str) -> tuple[str, str]:
    """The thoughts and the answer in what a model writes after a prompt."""
    pieces, answer = native.PieceCache(vocabulary.native), prompt.answer_text()
    found = {"reasoning": "", "answer": ""}
    for token in native.tokenize(vocabulary.native, written):
        piece = answer.push(pieces[token]) if pieces[token] else answer.push_control(pieces.control(token))
        if piece.recast:
            found = {"reasoning": found["reasoning"] + found["answer"], "answer": ""}
        found[piece.kind] += piece.text
    thoughts, rest = answer.flush()
    return found["reasoning"] + thoughts, (found["answer"] + rest).strip()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.models)
async def test_a_family(row, model):
    template = row.chat

    def try_all() -> None:
        vocabulary = loaded(model)
        assert_understood(row, template, vocabulary)
        if row.thinks:
            assert_default(row, template)
            assert_continued(row, template, vocabulary)
            assert_written(row, template)

    await shared_runtime.do(try_all)


def assert_understood(row: Row, template: ChatTemplate, vocabulary) -> None:
    """Two questions, thinking off and on: only the template writes markers, and what comes back is told apart."""
    for think in ("off", "on"):
        thinks = think == "on" and bool(row.thinks)
        first = prompt_of(template, vocabulary, row.question, think)
        markup, _, after = text_of(vocabulary, first.tokens).partition(row.question[1].content)
        assert "Be brief." in markup
        assert after
        for typed in set(row.typed) - PLAIN:
            (token,) = native.tokenize(vocabulary.native, typed)
            assert first.tokens.count(token) == (markup + after).count(typed)
        thoughts, answer = read(first, vocabulary, row.writes if thinks else row.plain)
        assert (thoughts, answer) == ("Hmm." if thinks else "", "Paris.")
        said = (*row.question, Message("assistant", answer, thoughts), Message("user", "Since when?"))
        second = prompt_of(template, vocabulary, said, think)
        text = text_of(vocabulary, second.tokens)
        assert (text.count("Paris."), text.count("Since when?")) == (1, 1)
        assert text.count("Hmm.") == (thinks and row.kept)
        assert (second.opened, second.begun) == (first.opened, first.begun)


def assert_default(row: Row, template: ChatTemplate) -> None:
    texts = {
        think: template.thinking(think, -1).render(row.question, CancelToken()) for think in ("default", "on", "off")
    }
    if row.thinks == "choice":
        assert texts["default"] not in (texts["on"], texts["off"])
    else:
        assert texts["default"] == texts[row.thinks]


def assert_continued(row: Row, template: ChatTemplate, vocabulary) -> None:
    end = row.plain.partition("Paris.")[2]
    for begun in (Message("assistant", "Par", "Hmm."), Message("assistant", "Par")):
        prompt = prompt_of(template, vocabulary, (*row.question, begun), "on", continues=True)
        assert text_of(vocabulary, prompt.tokens).endswith("Par")
        assert read(prompt, vocabulary, f"is.{end}") == ("", "is.")


def assert_written(row: Row, template: ChatTemplate) -> None:
    """What is put between thoughts and answer is what the family writes there, but for white space."""
    own = markup_of(template, CancelToken())
    prompt = template.thinking("on", -1).render(row.question, CancelToken())
    whole, opened = with_beginning(prompt, Message("assistant", "Paris.", "Hmm."), own)
    assert opened is None
    written = "".join(row.writes.partition("Paris.")[0].split())
    assert "".join(whole.split()).endswith(written + "Paris.")
