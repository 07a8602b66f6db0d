"""Render a prompt from a template as Ollama does.

There are three modes. With a prompt and a suffix, the template fills in between the two. A template that mentions
messages gets the whole conversation at once. Any other one is rendered turn by turn, with the system prompt, the
prompt and the response of each turn, and the last rendering ends where the response begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal

from workbench.modelfile.gotemplate.cut import cut_after
from workbench.modelfile.gotemplate.data import messages as message_values
from workbench.modelfile.gotemplate.data import tools
from workbench.modelfile.gotemplate.evaluate import evaluate
from workbench.modelfile.gotemplate.expressions import Bounds, EvaluationSettings, Limits
from workbench.modelfile.gotemplate.functions import GO_FUNCTIONS
from workbench.modelfile.gotemplate.tree import Action, FieldPath, Pipeline, PipelineCommand, TemplateTree, identifiers
from workbench.modelfile.gotemplate.values import NOTHING, Value, sound_text

Mode = Literal["insert", "messages", "turns"]

MOST_STEPS, STEPS_PER_MESSAGE = 400_000, 200
"""Steps for any conversation, and per message of a long one; known templates take 5 to 18, a large one 60."""
MOST_CHARACTERS = 2_000_000
"""Characters that functions may process, besides those of the conversation."""
MOST_WRITTEN, WRITTEN_PER_MESSAGE = 150_000, 500
"""Characters that a template may add, in total and per message."""
COPIES = 2
"""How often the whole conversation may be written, and processed by functions."""


@dataclass(frozen=True, slots=True)
class PromptRequest:
    """The input of a prompt."""

    messages: Sequence[Mapping[str, object]] = ()
    """The conversation, in the JSON of Ollama's API: `role`, `content`, `thinking`, `tool_calls`, …"""
    tools: Sequence[Mapping[str, object]] = ()
    """The tools that the model may call, in the same JSON."""
    prompt: str = ""
    """The text before the gap to fill."""
    suffix: str = ""
    """The text after the gap."""
    think: bool | str | None = None
    """Whether the model thinks first, or how much (`low`, `medium`, `high`); None for its default."""
    today: date | None = field(default=None, compare=False)
    """The date for the template; None for today."""


def with_response(tree: TemplateTree) -> TemplateTree:
    """`tree` with `.Response` at its end, which Ollama adds if the template mentions neither it nor messages."""
    if identifiers(tree) & {"messages", "response"}:
        return tree
    response = PipelineCommand((FieldPath(("Response",), 0),), 0)
    end = Action(Pipeline((response,), (), assigns=False, position=0), 0)
    return replace(tree, root=(*tree.root, end))


def mode_for(tree: TemplateTree, request: PromptRequest) -> Mode:
    """The mode in which Ollama renders `request`."""
    if request.prompt and request.suffix:
        return "insert"
    return "messages" if "messages" in identifiers(tree) else "turns"


def limits_for(request: PromptRequest) -> Limits:
    """The limits for rendering a request: well under a second, and more only for a long conversation.

    The result is tokenized in the same thread, which takes longer per character than rendering it.
    """
    characters = len(request.prompt) + len(request.suffix)
    waiting: list[object] = [request.messages, request.tools]
    while waiting:
        match waiting.pop():
            case str() as text:
                characters += len(text)
            case Mapping() as members:
                waiting += members.values()
                characters += sum(len(str(name)) for name in members)
            case list() | tuple() as elements:
                waiting += elements
    count = len(request.messages)
    return Limits(
        steps=max(MOST_STEPS, STEPS_PER_MESSAGE * count),
        characters=MOST_CHARACTERS + COPIES * characters,
        written=MOST_WRITTEN + WRITTEN_PER_MESSAGE * count + COPIES * characters,
    )


def render_prompt(source: str, tree: TemplateTree, request: PromptRequest) -> str:
    """The prompt for a request, from the text of a template and its tree with `.Response`."""
    settings = EvaluationSettings(today=request.today, limits=limits_for(request))
    level = request.think if isinstance(request.think, str) else ""
    thought: dict[str, Value] = {
        "Think": bool(request.think),
        "ThinkLevel": sound_text(level),
        "IsThinkSet": request.think is not None,
    }
    mode = mode_for(tree, request)
    if mode == "insert":
        prompt, suffix = sound_text(request.prompt), sound_text(request.suffix)
        return evaluate(source, tree, {"Prompt": prompt, "Suffix": suffix, "Response": "", **thought}, settings)
    system, messages = _merged(request.messages)
    if mode == "messages":
        data: dict[str, Value] = {
            "System": system,
            "Messages": message_values(messages),
            "Tools": tools(request.tools),
            "Response": "",
            **thought,
        }
        return evaluate(source, tree, data, settings)
    return _turn_by_turn(source, tree, messages, thought, settings)


def _content(source: Mapping[str, object]) -> str:
    content = source.get("content")
    return sound_text(content) if isinstance(content, str) else ""


def _merged(messages: Sequence[Mapping[str, object]]) -> tuple[str, list[Mapping[str, object]]]:
    """The text of all system messages, and the messages with adjacent ones of the same role merged."""
    system: list[str] = []
    merged: list[Mapping[str, object]] = []
    for each in messages:
        role = each.get("role")
        if role == "system":
            system.append(_content(each))
        if merged and merged[-1].get("role") == role != "tool":
            merged[-1] = {**merged[-1], "content": f"{_content(merged[-1])}\n\n{_content(each)}"}
        else:
            merged.append(each)
    return "\n\n".join(system), merged


def _turn_by_turn(
    source: str,
    tree: TemplateTree,
    messages: Sequence[Mapping[str, object]],
    thought: Mapping[str, Value],
    settings: EvaluationSettings,
) -> str:
    bounds = Bounds(source, settings.limits)
    turns: list[str] = []
    turn = {"System": "", "Prompt": "", "Response": ""}

    def finish() -> None:
        turns.append(evaluate(source, tree, {**turn, **thought}, settings, bounds))
        turn.update(System="", Prompt="", Response="")

    for each in messages:
        match each.get("role"):
            case "system":
                if turn["Prompt"] or turn["Response"]:
                    finish()
                turn["System"] = _content(each)
            case "user":
                if turn["Response"]:
                    finish()
                turn["Prompt"] = _content(each)
            case "assistant":
                turn["Response"] = _content(each)
    # For the last turn Ollama makes a new template of the truncated one: without its own functions, the nested
    # templates and its value for missing keys.
    last = TemplateTree(cut_after(tree.root, "Response"), {})
    bare = replace(settings, functions=GO_FUNCTIONS, missing=NOTHING)
    turns.append(evaluate(source, last, {**turn, **thought}, bare, bounds))
    return "".join(turns)
