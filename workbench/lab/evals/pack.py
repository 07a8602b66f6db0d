"""Packs: prompts, and the checks on their answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from workbench.core.chat import Message

CheckType = Literal[
    "contains", "contains_any", "equals", "starts_with", "number", "regex", "json", "json_schema", "tool_call", "choice"
]
LONGEST_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Check:
    """One check on an answer. `lab/evals/checks.py` says what each type does."""

    type: CheckType
    value: object = None
    """A text, a list of texts, a number, a pattern, a schema, or for a choice the right one or its index."""
    tolerance: float = 0.0
    """For `number`: the largest difference from `value`."""
    low: float | None = None
    """For `number`, in place of `value`: the bounds, both included."""
    high: float | None = None
    ignore_case: bool = False
    negate: bool = False
    """Whether it passes where it would fail."""
    name: str = ""
    """For `tool_call`: the name of the tool."""
    arguments: object = None
    """For `tool_call`: the arguments that the call must have; others may be there."""
    choices: tuple[str, ...] = ()
    """For `choice`: the texts, of which the model has to find the right one most likely."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of `value`."""
        values = self.value if isinstance(self.value, list | tuple) else [self.value]
        return tuple(str(each) for each in values)

    @property
    def label(self) -> str:
        """The check in a few words."""
        shown = ""
        if self.type == "tool_call":
            shown = self.name
        elif self.type == "number" and self.value is None:
            low, high = ("" if bound is None else f"{bound:g}" for bound in (self.low, self.high))
            shown = f"{low} to {high}".strip()
        elif self.type == "regex":
            shown = str(self.value)
        elif self.value is not None and self.type != "json_schema":
            shown = json.dumps(self.value, ensure_ascii=False, default=str)
            if self.tolerance:
                shown += f" ± {self.tolerance:g}"
        shown = shown if len(shown) <= LONGEST_SHOWN else f"{shown[: LONGEST_SHOWN - 1]}…"
        return " ".join(filter(None, ("not" if self.negate else "", self.type.replace("_", " "), shown)))


@dataclass(frozen=True, slots=True)
class EvalCase:
    """A prompt with its checks."""

    id: str
    messages: tuple[Message, ...]
    """The conversation; the last one is the question. A system prompt comes first."""
    checks: tuple[Check, ...] = ()
    tags: tuple[str, ...] = ()
    max_tokens: int | None = None
    """The most tokens of the answer; None where neither case nor pack says."""
    raw: bool = False
    """Whether the last message goes to the model without a chat template."""
    answer: str = ""
    """An earlier answer, to read beside new ones; it is not checked."""
    line: int = 0
    """Where it begins in its file; 0 where that is unknown."""

    @property
    def question(self) -> str:
        """The last message."""
        return self.messages[-1].content

    @property
    def choice(self) -> Check | None:
        """The check that compares the probabilities of texts, in place of an answer; None for an answer."""
        return next((check for check in self.checks if check.type == "choice"), None)


@dataclass(frozen=True, slots=True)
class PackProblem:
    """A part of a pack that cannot be used."""

    line: int
    """0 where it is unknown."""
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


@dataclass(frozen=True, slots=True)
class EvalPack:
    """A pack."""

    name: str
    cases: tuple[EvalCase, ...]
    problems: tuple[PackProblem, ...] = ()
    """The cases that cannot be used, and why."""
    description: str = ""
    path: str = ""
    digest: str = ""
    """`sha256:` and the digest of the file."""

    @property
    def checked(self) -> tuple[EvalCase, ...]:
        """The cases that have checks."""
        return tuple(case for case in self.cases if case.checks)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the cases, each once."""
        return tuple(dict.fromkeys(tag for case in self.cases for tag in case.tags))

    def only(self, tags: Iterable[str]) -> EvalPack:
        """The cases that have one of `tags`; all of them for no tags."""
        wanted = set(tags)
        return replace(self, cases=tuple(case for case in self.cases if not wanted or wanted & set(case.tags)))


def of_prompts(prompts: Sequence[str]) -> tuple[EvalCase, ...]:
    """Cases of single questions without checks."""
    return tuple(EvalCase(f"prompt-{number}", (Message("user", prompt),)) for number, prompt in enumerate(prompts, 1))
