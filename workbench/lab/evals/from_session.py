"""A pack made from a session: its questions, each with the conversation before it.

Short answers become a check, answers in JSON another one; the rest is for the user to write, with the old answer beside
it.
"""

from __future__ import annotations

import json

from workbench.core.errors import PackError
from workbench.core.session import Session

SHORT = 40
"""Characters of an answer that a check expects word by word."""
_HELP = """\
# Made from a session. Each case is a question with the conversation before it; `answer` is what a model answered then,
# and is not checked. Cases without checks are left out of an evaluation. Types of checks:
#   checks = [{ type = "contains", value = "Paris", ignore_case = true }]
#   also contains_any, equals, starts_with, number, regex, json, json_schema, tool_call, choice
"""


def pack_of(session: Session) -> str:
    """The pack of a session, as TOML.

    Raises:
        PackError: It has no question.
    """
    import tomlkit

    document = tomlkit.document()
    for line in _HELP.splitlines():
        document.add(tomlkit.comment(line.removeprefix("# ")))
    document.add("name", _text(session.title))
    cases = tomlkit.aot()
    turns = session.turns
    for index, turn in enumerate(turns):
        if turn.message.role != "user" or not turn.message.content.strip():
            continue
        case = tomlkit.table()
        case.add("id", f"turn-{index + 1}")
        before = [earlier.message for earlier in turns[:index] if earlier.message.content.strip()]
        if session.system:
            case.add("system", _text(session.system))
        if before:
            messages = tomlkit.array().multiline(True)
            for message in (*before, turn.message):
                each = tomlkit.inline_table()
                each.update({"role": message.role, "content": _text(message.content)})
                messages.append(each)
            case.add("messages", messages)
        else:
            case.add("prompt", _text(turn.message.content))
        following = turns[index + 1].message if index + 1 < len(turns) else None
        answer = following.content.strip() if following is not None and following.role == "assistant" else ""
        if answer:
            case.add("answer", _text(answer))
        case.add("checks", _checks_for(answer))
        cases.append(case)
    if not cases:
        raise PackError("The session has no question to make a case of.", "Ask something first.")
    document.add("cases", cases)
    return tomlkit.dumps(document)


def _text(text: str) -> str:
    """A text that TOML can hold."""
    return text.encode("utf-8", "replace").decode().replace("\r\n", "\n")


def _checks_for(answer: str) -> list[dict[str, object]]:
    if answer.startswith(("{", "[")):
        try:
            json.loads(answer)
        except (ValueError, RecursionError):
            return []
        return [{"type": "json"}]
    short = answer.rstrip(".!")
    if short and len(answer) <= SHORT and "\n" not in answer:
        return [{"type": "contains", "value": _text(short), "ignore_case": True}]
    return []
