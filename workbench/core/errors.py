"""The errors that a user can meet, each with what is wrong, where, and what to do.

WorkbenchError
├── UnknownModelError
├── ModelFileError
├── ModelLoadError
├── MemoryShortError
├── TemplateError
├── ContextFullError
├── EngineError
├── ServerError
│   ├── ServerAddressError
│   ├── ServerUnreachableError
│   ├── ServerTimeoutError
│   ├── ServerRefusedError
│   ├── ServerBusyError
│   └── ServerAnswerError
├── CancelledError
├── ParameterError
├── QuantizeError
│   ├── RequantizeError
│   └── ImatrixError
├── TargetError
│   └── DiskFullError
├── ConfigError
├── SessionError
│   └── DamagedSessionsError
├── BenchRunError
└── ModelfileError

Every one has a stable `kind` (the `--json` form shows it), a `message` that says what is wrong and where, and a
`hint` that says what to type or change next. They survive pickling, so that an engine may live in another process.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WorkbenchError(Exception):
    """Base of the errors that a user sees as a sentence instead of a traceback.

    Args:
        message: What is wrong, and where.
        hint: What the user can do; empty where nothing helps.
    """

    kind = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class UnknownModelError(WorkbenchError):
    """A model reference that names nothing."""

    kind = "unknown_model"


class ModelFileError(WorkbenchError):
    """A model file that cannot be read: missing, not permitted, not GGUF, truncated or of an unknown version."""

    kind = "model_file"


class ModelLoadError(WorkbenchError):
    """A model that llama.cpp refuses although its header is valid."""

    kind = "model_load"


class MemoryShortError(WorkbenchError):
    """A model or a context that does not fit in the memory of this machine."""

    kind = "memory"


class TemplateError(WorkbenchError):
    """A chat template that does not compile, or that fails on this conversation."""

    kind = "template"


class ContextFullError(WorkbenchError):
    """A prompt that is longer than the context of the model."""

    kind = "context_full"


class EngineError(WorkbenchError):
    """A failure inside the engine."""

    kind = "engine"


class ServerError(WorkbenchError):
    """A server that could not serve a request."""

    kind = "server"


class ServerAddressError(ServerError):
    """Text that is not the address of a server."""

    kind = "server_address"


class ServerUnreachableError(ServerError):
    """A server that cannot be reached: nothing listens, no such name, a certificate that is not trusted."""

    kind = "server_unreachable"


class ServerTimeoutError(ServerError):
    """A server that did not answer in time."""

    kind = "server_timeout"


class ServerRefusedError(ServerError):
    """A server that wants a key, or a different one."""

    kind = "server_refused"


class ServerBusyError(ServerError):
    """A server that is overloaded, or still loading."""

    kind = "server_busy"


class ServerAnswerError(ServerError):
    """A response that is truncated, or does not conform to the API of the server."""

    kind = "server_answer"


class CancelledError(WorkbenchError):
    """Work that the user stopped."""

    kind = "cancelled"


class ParameterError(WorkbenchError):
    """An unknown parameter name, or a value out of its range."""

    kind = "parameter"


class QuantizeError(WorkbenchError):
    """A quantization that this model does not allow, or that failed in llama.cpp."""

    kind = "quantize"


class RequantizeError(QuantizeError):
    """A source that is already quantized, without permission to quantize it again."""

    kind = "requantize"


class ImatrixError(QuantizeError):
    """An importance matrix that cannot be read, does not belong to the model, or is missing where one is needed."""

    kind = "imatrix"


class TargetError(WorkbenchError):
    """A path that cannot be written, or that exists already."""

    kind = "target"


class DiskFullError(TargetError):
    """A disk with too little free space for a file."""

    kind = "disk_full"


class ConfigError(WorkbenchError):
    """A configuration file that cannot be read or written."""

    kind = "config"


class SessionError(WorkbenchError):
    """A stored session that cannot be found, read or written."""

    kind = "session"


class DamagedSessionsError(SessionError):
    """A database of sessions that was damaged; it was moved aside, and a new one was created."""

    kind = "damaged_sessions"


class BenchRunError(WorkbenchError):
    """A kept benchmark run that cannot be found, read or written."""

    kind = "bench_run"


class ModelfileError(WorkbenchError):
    """A Modelfile that does not parse, or a value that no Modelfile can hold."""

    kind = "modelfile"


def nearest(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known words most like `word`, best first; at most `count`, compared without regard to case."""
    by_folded = {name.casefold(): name for name in known}
    matches = difflib.get_close_matches(word.casefold(), by_folded, n=count, cutoff=0.5)
    return [by_folded[match] for match in matches]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known words, or an empty string when nothing is near."""
    near = nearest(word, known)
    return f"Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
