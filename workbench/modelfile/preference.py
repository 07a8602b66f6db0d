"""Which of two templates Ollama uses: the one in Go's syntax, or the one in Jinja that the GGUF file has.

Ollama counts what each can do. It finds that in a Jinja template by words, and in one of Go by its fields.
"""

from __future__ import annotations

from collections.abc import Iterator

from workbench.core.errors import TemplateError
from workbench.modelfile.gotemplate import tree
from workbench.modelfile.template import Template, parse

_GO_TOOL_RESULTS = ('eq .Role "tool"', "tool_response", "TOOL_RESULTS")
_JINJA_TOOL_RESULTS = (
    "tool_response",
    "tool_results",
    *(f"role{quote}] == {other}tool{other}" for quote in "'\"" for other in "'\""),
    "message.role == 'tool'",
    'message.role == "tool"',
    "ipython",
)
_OWN_SPLIT = ("content.split('</think>')", 'content.split("</think>")')
"""How templates remove the reasoning of an earlier answer."""
_HARMONY = ("<|start|>", "<|end|>")


def prefers_jinja(go: str, jinja: str, architecture: str = "") -> bool:
    """Whether Ollama uses the Jinja template of the GGUF file instead of the one in Go's syntax.

    It does if the Jinja template can do more things, unless only the other one takes the results of tools; and if both
    can do the same, and only the Jinja template takes the results of tools. It also does if the one in Go does not
    parse. `jinja` is empty for a file without a template.
    """
    if not jinja or (architecture in ("gptoss", "gpt-oss") and all(mark in go for mark in _HARMONY)):
        return False
    try:
        template = parse(go)
    except TemplateError:
        return True
    can, own = _abilities_of_jinja(jinja), _abilities_of_go(template)
    returns, own_returns = _jinja_takes_results(jinja), _go_takes_results(template)
    if len(can) > len(own):
        return returns or not own_returns
    return can == own and "tools" in can and returns and not own_returns


def _abilities_of_jinja(source: str) -> set[str]:
    can = set()
    if "tools" in source or "tool_call" in source:
        can.add("tools")
    if ("<think>" in source and "</think>" in source) or (
        any(idiom in source for idiom in _OWN_SPLIT)
        and not any(word in source for word in ("reasoning_content", "<SPECIAL_12>"))
    ):
        can.add("thinking")
    return can


def _jinja_takes_results(source: str) -> bool:
    calls = "tool_calls" in source or "assistant_tool_call" in source
    return calls and any(mark in source for mark in _JINJA_TOOL_RESULTS)


def _abilities_of_go(template: Template) -> set[str]:
    names = tree.identifiers(template.tree)
    can = {ability for ability, name in (("tools", "tools"), ("insert", "suffix")) if name in names}
    return can | ({"thinking"} if _has_tags(template.tree.root) else set())


def _go_takes_results(template: Template) -> bool:
    names = tree.identifiers(template.tree)
    return {"tools", "toolcalls"} <= names and any(mark in template.source for mark in _GO_TOOL_RESULTS)


def _has_tags(root: tree.Nodes) -> bool:
    """Whether the thoughts of a message are between texts: at both ends of the nodes around `.Thinking`."""
    opening = closing = ""
    for nodes in _around_thoughts(root, in_messages=False):
        first, last = nodes[0], nodes[-1]
        opening = first.text.strip() if isinstance(first, tree.Text) else opening
        closing = last.text.strip() if isinstance(last, tree.Text) else closing
    return bool(opening and closing)


def _around_thoughts(nodes: tree.Nodes, *, in_messages: bool) -> Iterator[tree.Nodes]:
    """The nodes that `.Thinking` is directly among, where the range around it is one over `.Messages`."""
    for node in nodes:
        match node:
            case tree.Action() | tree.Call():
                if in_messages and _has_field(node.pipeline, "Thinking"):
                    yield nodes
            case tree.Conditional():
                for index, (pipeline, body) in enumerate(node.branches):
                    if in_messages and _has_field(pipeline, "Thinking"):
                        # Go has an `else if` as the only node of its branch.
                        yield nodes if index == 0 else (node,)
                    yield from _around_thoughts(body, in_messages=in_messages)
                yield from _around_thoughts(node.otherwise, in_messages=in_messages)
            case tree.Range():
                inside = _has_field(node.pipeline, "Messages")
                if inside and _has_field(node.pipeline, "Thinking"):
                    yield nodes
                yield from _around_thoughts(node.body, in_messages=inside)
                yield from _around_thoughts(node.otherwise, in_messages=inside)


def _has_field(pipeline: tree.Pipeline, name: str) -> bool:
    """Whether a pipeline has the field `name` of the current value."""
    return any(
        operand.names[:1] == (name,) if isinstance(operand, tree.FieldPath) else _has_field(operand, name)
        for command in pipeline.commands
        for operand in command.operands
        if isinstance(operand, tree.FieldPath | tree.Pipeline)
    )
