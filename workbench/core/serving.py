"""The port of serving: the open model for other programs, who asks it, and what they get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from workbench.core.chat import Message
from workbench.core.config import Overflow
from workbench.core.engine import Engine
from workbench.core.errors import ParameterError
from workbench.core.metrics import AnswerMetrics
from workbench.core.parameters import Sampling

PORT = 11435
"""One beside Ollama's."""
AT_ONCE = 4
"""Answers that are computed together where num_parallel is not set."""
KEY_VARIABLE = "WORKBENCH_API_KEY"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class ServingAddress:
    """Where a model is served, and who may ask.

    Raises:
        ParameterError: Other machines reach it, and there is no key.
    """

    host: str = LOOPBACK[0]
    port: int = PORT
    key: str = field(default="", repr=False)
    hosts: frozenset[str] = frozenset()
    """Further names by which clients call it."""
    origins: frozenset[str] = frozenset()
    """The origins of web pages that may ask."""

    @classmethod
    def parse(cls, text: str, key: str) -> ServingAddress:
        """The address that somebody types: `HOST:PORT`, `:PORT`, `HOST`, or nothing for the usual one.

        Raises:
            ParameterError: It is none of these, or needs a key.
        """
        host, separator, port = text.strip().removeprefix("http://").rstrip("/").rpartition(":")
        if not separator or port.endswith("]"):
            host, port = text.strip(), ""
        if port and not (port.isascii() and port.isdecimal() and int(port) < 2**16):
            raise ParameterError(f"{port!r} is no port.", "Write HOST:PORT, such as 127.0.0.1:8080.")
        return cls(host.strip("[]") or LOOPBACK[0], int(port) if port else PORT, key)

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and not self.key:
            raise ParameterError(
                f"{self.host} can be reached from other machines, and no key is set.",
                f"Set one with {KEY_VARIABLE}, or `workbench serve --key`; or serve on {LOOPBACK[0]}.",
            )


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model for other programs. `sampling` and `system` count where a request does not say otherwise."""

    engine: Engine
    name: str
    sampling: Sampling = field(default_factory=Sampling)
    given: frozenset[str] = frozenset()
    """The sampling parameters that somebody has set."""
    system: str = ""
    opening: tuple[Message, ...] = ()
    """Messages at the beginning of every conversation."""
    when_context_full: Overflow = "stop"
    shared: bool = False
    """Whether a person uses it too, whose requests go first."""


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """One request of another program."""

    number: int
    client: str
    """Its address and the name that its program gives."""
    route: str
    began: float
    """`time.time()`."""
    state: str
    """`waiting`, `prefill` or `decode`; once it has ended, how: a finish reason, or `failed`."""
    running: bool
    metrics: AnswerMetrics


class Serving(Protocol):
    """Serves one model at a time. All methods may be called from any thread."""

    @property
    def url(self) -> str:
        """Where it is served; empty while it is not."""

    def listen(self, address: ServingAddress) -> None:
        """Take an address, before a load that may take long.

        Raises:
            WorkbenchError: Packages are missing, or the address is unknown or taken.
        """

    def start(self, model: ServedModel) -> None:
        """Serve a model at the address that was taken."""

    def use(self, model: ServedModel | None) -> None:
        """Serve another model; None while it is loaded: requests are told to come back.

        An answer that the old model still writes ends with an error when that model is closed.
        """

    def requests(self) -> Sequence[ServedRequest]:
        """Those that run or wait, then the last ones that have ended; the latest first."""

    async def stop(self) -> None:
        """End the service; answers that are written get two seconds."""
