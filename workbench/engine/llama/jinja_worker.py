"""The child process that renders chat templates in Jinja, as Transformers does it.

A template is foreign code. Jinja's sandbox keeps it away from the machine, and this process, which its parent may kill,
keeps it away from the program: one operation such as `10 ** 10 ** 10` can neither be interrupted nor be foreseen.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from workbench.engine.llama.jinja import MEMORY_BYTES, TOO_LARGE
from workbench.processes import JsonObject, ParentChannel

MOST_WRITTEN, WRITTEN_PER_MESSAGE, COPIES = 150_000, 500, 2
"""Characters that a template may add, in total and per message, and how often it may write the whole conversation."""
LONGEST_REASON = 2_000
"""Characters of the reason of a failure."""


class _GenerationTag(Extension):
    """`{% generation %}` marks the assistant's words for training; in a prompt it has no meaning."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own declaration of this attribute

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@lru_cache(maxsize=4)
def _compile(source: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _GenerationTag]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(source)


def _most_written(messages: Sequence[object]) -> int:
    """The characters that the rendering of a conversation may have."""
    return MOST_WRITTEN + WRITTEN_PER_MESSAGE * len(messages) + COPIES * _characters(messages)


def _characters(value: object) -> int:
    """The characters of all texts in a value of JSON."""
    if isinstance(value, str):
        return len(value)
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, Sequence) else ()
    return sum(map(_characters, inner))


def _rendered(source: str, values: Mapping[str, Any] | None) -> JsonObject:
    """The event that answers an order: the rendering, or why there is none; without `values` it is only compiled."""
    stage = "compile"
    try:
        template = _compile(source)
        stage = "render"
        if values is None:
            return {"event": "text", "text": ""}
        most, written = _most_written(values["messages"]), 0
        pieces = []
        for piece in template.generate(values):
            written += len(piece)
            if written > most:
                return {"event": "limit", "what": f"writes more than {most:,} characters"}
            pieces.append(piece)
        return {"event": "text", "text": "".join(pieces)}
    except MemoryError:
        return {"event": "limit", "what": TOO_LARGE}
    except RecursionError:
        return {"event": "limit", "what": "is nested too deeply, or calls itself without end"}
    except jinja2.TemplateSyntaxError as error:
        return {"event": "failed", "stage": stage, "reason": f"line {error.lineno}: {error.message}"[:LONGEST_REASON]}
    except Exception as error:  # noqa: BLE001 - a template is foreign code
        return {"event": "failed", "stage": stage, "reason": str(error)[:LONGEST_REASON] or type(error).__name__}


def _limit_memory() -> None:
    """Make allocations beyond the limit fail; only Linux does that, elsewhere the parent watches."""
    if sys.platform == "linux":
        import resource

        with suppress(OSError, ValueError):
            used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))


def _limit_time(seconds: float) -> None:
    """End this process after so much processor time, even inside one operation, unless it is called again; 0: never."""
    if sys.platform != "win32":
        import signal

        # Without a handler the signal ends the process.
        signal.setitimer(signal.ITIMER_PROF, seconds)


def main() -> None:
    """Render what is ordered, one after the other. The argument is the processor time for each, in seconds."""
    seconds = float(sys.argv[1])
    channel = ParentChannel()
    _limit_memory()
    channel.emit(event="ready")
    for order in channel.orders():
        _limit_time(seconds)
        event = _rendered(order["source"], order["values"])
        try:
            channel.emit(**event)
        except MemoryError:
            channel.emit(event="limit", what=TOO_LARGE)
        _limit_time(0)
    channel.exit()


if __name__ == "__main__":
    main()
