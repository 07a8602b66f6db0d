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
│   └── StoppedError
├── ParameterError
├── FormatError
├── QuantizeError
│   ├── RequantizeError
│   └── ImatrixError
├── PullError
│   ├── OfflineError
│   ├── GatedError
│   ├── RateLimitError
│   ├── NotPublishedError
│   ├── ChangedFileError
│   ├── DigestError
│   ├── BrokenOffError
│   └── BeingPulledError
├── PathError
├── TargetError
│   └── DiskFullError
├── ConfigError
├── SessionError
│   └── DamagedSessionsError
├── BenchRunError
├── PackError
├── EvalError
├── QualityError
├── DecisionError
├── TuneError
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

    def __init_subclass__(cls, *, kind: str = "") -> None:
        super().__init_subclass__()
        cls.kind = kind or cls.kind

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class UnknownModelError(WorkbenchError, kind="unknown_model"):
    """A model reference that names nothing."""


class ModelFileError(WorkbenchError, kind="model_file"):
    """A model file that cannot be read: missing, not permitted, not GGUF, truncated or of an unknown version."""


class ModelLoadError(WorkbenchError, kind="model_load"):
    """A model that llama.cpp refuses although its header is valid."""


class MemoryShortError(WorkbenchError, kind="memory"):
    """A model or a context that does not fit in the memory of this machine."""


class TemplateError(WorkbenchError, kind="template"):
    """A chat template that does not compile, or that fails on this conversation."""


class ContextFullError(WorkbenchError, kind="context_full"):
    """A prompt that is longer than the context of the model."""


class EngineError(WorkbenchError, kind="engine"):
    """A failure inside the engine."""


class ServerError(WorkbenchError, kind="server"):
    """A server that could not serve a request."""


class ServerAddressError(ServerError, kind="server_address"):
    """Text that is not the address of a server."""


class ServerUnreachableError(ServerError, kind="server_unreachable"):
    """A server that cannot be reached: nothing listens, no such name, a certificate that is not trusted."""


class ServerTimeoutError(ServerError, kind="server_timeout"):
    """A server that did not answer in time."""


class ServerRefusedError(ServerError, kind="server_refused"):
    """A server that wants a key, or a different one."""


class ServerBusyError(ServerError, kind="server_busy"):
    """A server that is overloaded, or still loading."""


class ServerAnswerError(ServerError, kind="server_answer"):
    """A response that is truncated, or does not conform to the API of the server."""


class CancelledError(WorkbenchError, kind="cancelled"):
    """Work that the user stopped."""


class StoppedError(CancelledError):
    """A command that a signal, such as that of Ctrl+C, stopped before it had a result."""


class ParameterError(WorkbenchError, kind="parameter"):
    """An unknown parameter name, or a value out of its range."""


class FormatError(WorkbenchError, kind="format"):
    """A format of answers that cannot be read, or cannot be held exactly: a JSON schema or a grammar."""


class QuantizeError(WorkbenchError, kind="quantize"):
    """A quantization that this model does not allow, or that failed in llama.cpp."""


class RequantizeError(QuantizeError, kind="requantize"):
    """A source that is already quantized, without permission to quantize it again."""


class ImatrixError(QuantizeError, kind="imatrix"):
    """An importance matrix that cannot be read, does not belong to the model, or is missing where one is needed."""


class PullError(WorkbenchError, kind="pull"):
    """A model that cannot be fetched from a registry."""


class OfflineError(PullError, kind="offline"):
    """A request that the environment forbids (`HF_HUB_OFFLINE`)."""


class GatedError(PullError, kind="gated"):
    """A repository that needs a token, or access that its owner has not granted."""


class RateLimitError(PullError, kind="rate_limit"):
    """A registry that allows no more requests for longer than a pull waits."""


class NotPublishedError(PullError, kind="not_published"):
    """A repository, revision, file or quantization that the registry does not have, or does not show."""


class ChangedFileError(PullError, kind="changed_file"):
    """A file that is no longer the one that the download began with."""


class DigestError(PullError, kind="digest"):
    """A file whose content does not have the digest that its registry or store states."""


class BrokenOffError(PullError, kind="broken_off"):
    """A registry that broke off, stalled or failed more often than a pull tries again."""


class BeingPulledError(PullError, kind="being_pulled"):
    """A file that another program fetches at this moment."""


class PathError(WorkbenchError, kind="path"):
    """A path that begins with the home folder of an unknown user."""


class TargetError(WorkbenchError, kind="target"):
    """A path that cannot be written, or that exists already."""


class DiskFullError(TargetError, kind="disk_full"):
    """A disk with too little free space for a file."""


class ConfigError(WorkbenchError, kind="config"):
    """A configuration file that cannot be read or written."""


class SessionError(WorkbenchError, kind="session"):
    """A stored session that cannot be found, read or written."""


class DamagedSessionsError(SessionError, kind="damaged_sessions"):
    """A database of sessions that was damaged; it was moved aside, and a new one was created."""


class BenchRunError(WorkbenchError, kind="bench_run"):
    """A kept benchmark run that cannot be found, read or written."""


class PackError(WorkbenchError, kind="pack"):
    """A pack of prompts and checks that cannot be read."""


class EvalError(WorkbenchError, kind="eval"):
    """An evaluation or a blind test that makes no sense, or a kept one that cannot be found, read or written."""


class QualityError(WorkbenchError, kind="quality"):
    """A measurement of quality that cannot be made, or a kept one that cannot be found, read or written."""


class DecisionError(WorkbenchError, kind="decision"):
    """A model that cannot be compared with others, or a decision that cannot be kept or found."""


class TuneError(WorkbenchError, kind="tune"):
    """A tuning that cannot be made, or a file of locked figures that cannot be read or written."""


class ModelfileError(WorkbenchError, kind="modelfile"):
    """A Modelfile that does not parse, or a value that no Modelfile can hold."""


def error_of(kind: str, message: str, hint: str, otherwise: type[WorkbenchError] = WorkbenchError) -> WorkbenchError:
    """The error of this process for one that another has reported; `otherwise` is the type of an unknown kind."""
    left: list[type[WorkbenchError]] = [WorkbenchError]
    while left:
        each = left.pop()
        if each.kind == kind:
            return each(message, hint)
        left += each.__subclasses__()
    return otherwise(message, hint)


def nearest(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known words most like `word`, best first; at most `count`, compared without regard to case."""
    by_folded = {name.casefold(): name for name in known}
    matches = difflib.get_close_matches(word.casefold(), by_folded, n=count, cutoff=0.5)
    return [by_folded[match] for match in matches]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known words, or an empty string when nothing is near."""
    near = nearest(word, known)
    return f"Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
