"""Oddities of a model file that loads, but may give bad answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workbench.core.units import size_text
from workbench.gguf.header import Array, Header
from workbench.gguf.model import ModelFacts, get_int, get_text
from workbench.gguf.names import parse_shard
from workbench.gguf.reader import DEFAULT_ALIGNMENT
from workbench.gguf.tokenizer import CONTROL, TokenizerFacts

SHORT_CONTEXT, LONG_CONTEXT = 512, 16 * 2**20
"""Plausible limits of the trained context, in tokens."""

_AGAIN = "Download the file again, or from another source."
_HINTS = {
    "parts": "Put all parts into one folder, with their original names.",
    "no_weights": "Get the file with the weights.",
    "no_tokenizer": "Get a file that was converted together with its tokenizer.",
    "token_range": "The file was converted wrongly: look for a newer one.",
    "adds_eos": "Look for a newer conversion, or continue a text without a template.",
    "vocab_size": "It is harmless where the embeddings are padded; otherwise look for a newer conversion.",
    "token_types": "The file was converted wrongly: look for a newer one.",
    "no_rule": "Look for a newer conversion that names the rule; it answers better.",
    "no_end": "Set a stop text in the settings.",
    "end_is_text": "Set the text of the end token as a stop text in the settings.",
    "no_template": "Choose an instruct or chat variant for conversations, or let it continue a text.",
    "double_bos": "No action is needed here.",
    "no_context": "Set a context length in the settings.",
    "context": "Set a context length in the settings.",
    "rope": "Keep the context short, or look for a newer conversion.",
    "unaligned": "Look for another conversion.",
    "trailing": _AGAIN,
}
"""Hints by kind of oddity."""

_NONE = frozenset({"none", "no_vocab"})


@dataclass(frozen=True, slots=True)
class Oddity:
    """A peculiarity of a file that may matter to the user."""

    kind: str
    """A stable name, such as `no_template`."""
    message: str
    """The problem and its consequence."""
    hint: str = ""
    """What to do; empty where no action is needed."""


def find_oddities(headers: Sequence[Header], facts: ModelFacts, tokenizer: TokenizerFacts) -> tuple[Oddity, ...]:
    """The oddities of a model, the most important first; `headers` has one header for each part of a split file."""
    found = [
        *_about_parts(headers),
        *_about_tokens(headers, facts, tokenizer),
        *_about_template(facts, tokenizer),
        *_about_context(headers[0], facts),
        *_about_layout(headers),
    ]
    return tuple(Oddity(kind, message, _HINTS.get(kind, "")) for kind, message in found)


_Found = Iterator[tuple[str, str]]


def _about_parts(headers: Sequence[Header]) -> _Found:
    first = headers[0]
    count = get_int(first.metadata, "split.count") or 1
    if count != len(headers):
        named = parse_shard(first.path)
        yield "parts", f"It is part {named.number if named else '?'} of {count}, and {len(headers)} were found."
    if not any(header.tensors for header in headers):
        yield "no_weights", "It has no weights, only metadata."


def _about_tokens(headers: Sequence[Header], facts: ModelFacts, tokenizer: TokenizerFacts) -> _Found:
    if tokenizer.model is None or tokenizer.model in _NONE:
        yield "no_tokenizer", "It has no tokenizer, so it cannot process text."
        return
    size = tokenizer.vocab_size or 0
    for token in tokenizer.special:
        if not 0 <= token.id < size and not token.by_default:
            yield "token_range", f"The {token.role} token is {token.id}, and the vocabulary has {size}."
    yield from _about_end(tokenizer)
    if tokenizer.adds_eos:
        yield "adds_eos", "The tokenizer appends the end token to every prompt: answers may be empty or unrelated."
    tensors = (tensor for header in headers for tensor in header.tensors)
    tables = (t.shape for t in tensors if t.name == "token_embd.weight" and len(t.shape) == 2)
    rows = next(tables, (0, size))[1]
    if size and rows != size:
        yield "vocab_size", f"The vocabulary has {size} tokens and the embeddings have {rows} rows."
    types = headers[0].metadata.get("tokenizer.ggml.token_type")
    if isinstance(types, Array) and size and types.length != size:
        yield "token_types", f"The vocabulary has {size} tokens, but {types.length} token types."
    if facts.architecture and tokenizer.model == "gpt2" and tokenizer.rule is None:
        yield "no_rule", "The pre-tokenizer rule is missing: tokens may differ from those of the training."


def _about_end(tokenizer: TokenizerFacts) -> _Found:
    ends = [token for token in tokenizer.special if token.role in {"eos", "eot", "eom"}]
    said = [token for token in ends if not token.by_default]
    if not said:
        yield "no_end", "The file names no end token: answers may never end."
        return
    for token in said:
        if token.role == "eos" and token.type is not None and token.type != CONTROL:
            yield (
                "end_is_text",
                f"The end token {token.text!r} is marked as text and not as a control token: it may appear in "
                "answers, or not end them.",
            )


def _about_template(facts: ModelFacts, tokenizer: TokenizerFacts) -> _Found:
    template = facts.chat_template
    if template is None:
        text = "It has no chat template: ChatML is assumed for conversations. It may be a base model."
        if tokenizer.templates:
            text = f"It has no default chat template, only others: {', '.join(tokenizer.templates)}."
        yield "no_template", text
        return
    bos = tokenizer.text("bos")
    writes = "bos_token" in template or bool(bos and bos in template)
    if writes and tokenizer.adds_bos:
        yield (
            "double_bos",
            "Both the chat template and the tokenizer add the first token (BOS). Here it is added once; other "
            "programs may add it twice.",
        )


def _about_context(header: Header, facts: ModelFacts) -> _Found:
    context = facts.context_length
    if context is None:
        yield "no_context", "The file does not state the context length that the model was trained for."
    elif not SHORT_CONTEXT <= context <= LONG_CONTEXT or context % 2:
        yield "context", f"The file states a trained context of {context:,} tokens, which is not plausible."
    original = get_int(header.metadata, f"{facts.architecture}.rope.scaling.original_context_length")
    if context and original and original > context:
        yield "context", f"RoPE scaling begins at {original} tokens, beyond the context of {context}."
    scaling = get_text(header.metadata, f"{facts.architecture}.rope.scaling.type")
    if scaling not in {None, "none"} and not original:
        yield "rope", f"RoPE is scaled ({scaling}), but the original context length is missing."


def _about_layout(headers: Sequence[Header]) -> _Found:
    for header in headers:
        if header.alignment % DEFAULT_ALIGNMENT:
            yield (
                "unaligned",
                f"Its tensors are aligned to {header.alignment} bytes instead of a multiple of {DEFAULT_ALIGNMENT}: "
                "computing on the memory-mapped file is slower, or fails.",
            )
        end = max((header.data_offset + tensor.offset + tensor.size_bytes for tensor in header.tensors), default=0)
        rest = header.file_size - max(end, header.data_offset)
        if rest >= header.alignment:
            yield "trailing", f"The file has {size_text(rest)} of unknown data after its last tensor."
