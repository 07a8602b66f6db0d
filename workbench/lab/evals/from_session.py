"""A pack made from a session: its questions, each with the conversation before it.

Short answers become a check, answers in JSON another one; the rest is for the user to write, with the old answer beside
it.
"""

from __future__ import annotations

import json

from workbench.core.chat import Message
from workbench.core.errors import PackError
from workbench.core.session import Session
from workbench.lab.evals.pack import EvalCase

SHORT = 40
"""Characters of an answer that a check expects word by word."""
_HELP = """\
# Made from a session. Each case is a question with the conversation before it; `answer` is what a model answered then,
# and is not checked. Cases without checks are left out of an evaluation. Types of checks:
#   checks = [{ type = "contains", value = "Paris", ignore_case = true }]
#   also contains_any, equals, starts_with, number, regex, json, json_schema, tool_call, choice
"""


def cases_of(session: Session) -> tuple[EvalCase, ...]:
    """The questions of a session, each with the conversation before it, and what was answered then."""
    opening = (Message("system", session.system),) if session.system else ()
    turns, found = [turn.message for turn in session.turns], []
    for index, message in enumerate(turns):
        if message.role == "user" and message.content.strip():
            before = (earlier for earlier in turns[:index] if earlier.content.strip())
            following = turns[index + 1] if index + 1 < len(turns) else None
            answer = following.content.strip() if following is not None and following.role == "assistant" else ""
            found.append(EvalCase(f"turn-{index + 1}", (*opening, *before, message), answer=answer))
    return tuple(found)


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
    if session.system:
        document.add("system", _text(session.system))
    cases = tomlkit.aot()
    for found in cases_of(session):
        case = tomlkit.table()
        case.add("id", found.id)
        turns = [message for message in found.messages if message.role != "system"]
        if len(turns) == 1:
            case.add("prompt", _text(found.question))
        else:
            messages = tomlkit.array().multiline(True)
            for message in turns:
                each = tomlkit.inline_table()
                each.update({"role": message.role, "content": _text(message.content)})
                messages.append(each)
            case.add("messages", messages)
        if found.answer:
            case.add("answer", _text(found.answer))
        case.add("checks", _checks_for(found.answer))
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
