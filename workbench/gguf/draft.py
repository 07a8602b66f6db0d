"""Draft models: whether one has the vocabulary of the model that it drafts for, and the memory that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.core.errors import ModelLoadError
from workbench.core.load_settings import LoadSettings
from workbench.gguf.check import check_loadable
from workbench.gguf.files import read_array
from workbench.gguf.fit import FitModel
from workbench.gguf.header import Header
from workbench.gguf.shares import Room, Share
from workbench.gguf.tokenizer import describe_tokenizer

MOST_EXTRA = 128
"""Tokens by which the two vocabularies may differ at their ends (llama.cpp's `common/speculative.cpp`)."""
FIRST_COMPARED = 5
"""The tokens before it are special ones, whose texts may differ."""
_TOKENS = "tokenizer.ggml.tokens"


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft model in the file `path`."""

    path: str
    model: FitModel

    @classmethod
    def checked(cls, path: str, target: Header) -> Draft:
        """The draft model in a file, if it can draft for the model with the header `target`.

        Raises:
            ModelFileError: It cannot be read or loaded.
            ModelLoadError: Its tokens are others, or its memory cannot take tokens back.
        """
        headers = check_loadable(path)
        draft = cls(path, FitModel(headers))
        problem = "it has a recurrent state, which cannot take tokens back" if draft.model.has_states else ""
        if problem := problem or vocabulary_problem(target, headers[0]):
            hint = "Choose a smaller model of the same family, or set speculation to off or ngram."
            raise ModelLoadError(f"{path} cannot draft for this model: {problem}.", hint)
        return draft

    def settings(self, load: LoadSettings, n_ctx: int, room: Room) -> tuple[LoadSettings, tuple[Share, ...]]:
        """How it is loaded beside a model with the settings `load` and this context, and the memory that it takes."""
        own = LoadSettings(
            num_ctx=n_ctx, num_batch=load.num_batch, num_ubatch=load.num_ubatch, devices=load.devices,
            split_mode="layer" if load.split_mode == "row" else load.split_mode, main_gpu=load.main_gpu,
            num_gpu=-1 if load.num_gpu else 0, num_thread=load.num_thread, num_thread_batch=load.num_thread_batch,
            use_mmap=load.use_mmap, load_mode=load.load_mode, flash_attn=load.flash_attn, swa_full=True,
        )  # fmt: skip
        fit = self.model.price(self.model.question(own), room)
        return replace(
            own,
            num_gpu=fit.gpu_layers,
        ), fit.shares


def vocabulary_problem(target: Header, draft: Header) -> str:
    """Why the tokens of two models are not the same; empty where they are."""
    a, b = describe_tokenizer(target.metadata), describe_tokenizer(draft.metadata)
    if a.model != b.model:
        return f"its tokenizer is {b.model}, not {a.model}"
    for role, added in (("bos", (a.adds_bos, b.adds_bos)), ("eos", (a.adds_eos, b.adds_eos))):
        one, other = a.token(role), b.token(role)
        if added[0] != added[1]:
            return f"one of the two adds the token {role.upper()}, the other does not"
        if added[0] and (one and one.id) != (other and other.id):
            return f"its {role.upper()} is another token"
    sizes = [each.vocab_size or 0 for each in (a, b)]
    if abs(sizes[0] - sizes[1]) > MOST_EXTRA:
        return f"its vocabulary has {sizes[1]:,} tokens, that of the model {sizes[0]:,}"
    texts: list[Sequence[object]] = [read_array(Path(each.path), _TOKENS).values or () for each in (target, draft)]
    first, second = (each[FIRST_COMPARED : min(sizes)] for each in texts)
    if first == second:
        return ""
    place = next(index for index, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1])
    return f"its token {place + FIRST_COMPARED} is {second[place]!r}, that of the model {first[place]!r}"
