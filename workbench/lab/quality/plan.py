"""What a measurement over a text compares: models with their settings, and the text."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.core.errors import ParameterError
from workbench.core.parameters import LoadSettings, Sampling, Value, find_parameter, parse_value, with_values
from workbench.core.session import Session, SessionStore, last_sessions
from workbench.core.user_path import user_path
from workbench.lab.quality.logits import ModelSpec

CTX = 512
"""Tokens of a chunk, as in llama-perplexity."""


@dataclass(frozen=True, slots=True)
class QualityPlan:
    """Models over a text."""

    reference: ModelSpec
    candidates: tuple[ModelSpec, ...]
    name: str
    """Of the text."""
    text: str
    n_ctx: int = CTX
    depth: int = 0
    """Tokens of the text before each chunk that are in the context too."""
    skip: int = 0
    """Tokens at the beginning of the text that are left out."""
    most_chunks: int | None = None
    """None for all."""
    command: tuple[str, ...] = ()
    """The arguments of `workbench` that reproduce it."""

    def at_depths(self, depths: Sequence[int]) -> tuple[QualityPlan, ...]:
        """A measurement for each depth; all score the same tokens."""
        return tuple(replace(self, depth=depth, skip=max(depths) - depth) for depth in depths)


def read_settings(assignments: Iterable[str], where: str) -> dict[str, Value]:
    """Settings such as `type_k=q8_0`. Raises ParameterError for one that does not change a distribution."""
    found: dict[str, Value] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals:
            raise ParameterError(f"{where}: {assignment!r} has no value.", "Write NAME=VALUE.")
        value = parse_value(name, text)
        if not find_parameter(name).reload or name == "num_ctx":
            raise ParameterError(
                f"{where}: {name} does not change the distributions of a text.",
                "Set type_k, type_v, flash_attn, num_gpu or num_thread; the context is --ctx and --depth.",
            )
        found[name] = value
    return found


def spec_of(ref: str, load: LoadSettings, values: Mapping[str, Value], shown: Mapping[str, Value]) -> ModelSpec:
    """A model with settings that replace those of `load`, and its name those that are `shown`."""
    _, load = with_values(Sampling(), load, values)
    return ModelSpec(ref, load, " ".join(f"{name}={value}" for name, value in shown.items()))


def words_of(sessions: Iterable[Session]) -> str:
    """The messages of conversations as one text, without the markup of a template."""
    return "\n\n".join(turn.message.content for session in sessions for turn in session.turns)


def read_text(path: Path) -> str:
    """A UTF-8 text. Raises ParameterError where it is none, or cannot be read."""
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        hint = "Convert it first, such as with `iconv -f LATIN1 -t UTF-8`."
        raise ParameterError(f"{path} is not UTF-8 text (byte {error.start:,}).", hint) from None


def text_digest(text: str) -> str:
    """The SHA-256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class ScoredText:
    """A text that is scored."""

    name: str
    text: str
    options: tuple[str, str]
    """The arguments of `workbench quality` that name it."""


async def scored_text(option: str, value: str, store: SessionStore) -> ScoredText:
    """The text that `--text FILE`, `--session ID` or `--sessions N` names.

    Raises:
        ParameterError: It is no UTF-8 text, or no number of conversations.
        SessionError: There is no such conversation.
    """
    options = (option, value)
    if option == "--text":
        return ScoredText(value, await asyncio.to_thread(read_text, user_path(value)), options)
    if option == "--session":
        session = await store.open_session(value)
        return ScoredText(f"session {session.id}", words_of([session]), options)
    if not value.isdecimal() or not int(value):
        raise ParameterError(f"--sessions {value} is too small.", "It is 1 or more.")
    return ScoredText(f"the last {value} sessions", words_of(await last_sessions(store, int(value))), options)
