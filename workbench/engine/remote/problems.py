"""Conversion of a server's failures to errors that name a remedy."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress

import httpx

from workbench.core.errors import (
    ContextFullError,
    ServerAnswerError,
    ServerBusyError,
    ServerError,
    ServerRefusedError,
    ServerTimeoutError,
    ServerUnreachableError,
    UnknownModelError,
    WorkbenchError,
)
from workbench.core.servers import ServerAddress, origin
from workbench.engine.remote.response import fields, objects

LONGEST_MESSAGE = 300
"""The maximum length of a server's message, in characters."""

_CONTEXT = re.compile(
    r"context (?:length|size|window)|maximum context|exceeds? the (?:available )?context|input length exceeds"
    r"|`inputs` (?:tokens \+|must have less)|too many tokens",
    re.IGNORECASE,
)
_MODEL = re.compile(r"model.{0,120}(?:not found|does not exist|not exist|no such|unknown|not loaded)"
                    r"|(?:no such|unknown|invalid) model", re.IGNORECASE | re.DOTALL)  # fmt: skip
_LOADING = re.compile(r"loading|warming up|starting", re.IGNORECASE)

HOW_TO_GIVE_A_KEY = (
    "Name the environment variable with the key as `key_env` of this server in `servers` of the config; OPENAI_API_KEY "
    "is used for OPENAI_BASE_URL."
)
SHORTER = "Begin a new chat, leave out the oldest turns (when_context_full), or serve the model with a longer context."


def plain(text: object, address: ServerAddress) -> str:
    """A server's message on one line, shortened, without unprintable characters and without the key."""
    words = str(text)[: LONGEST_MESSAGE * 4]
    if address.key is not None:
        words = address.key.masked_in(words)
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in words).split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[: LONGEST_MESSAGE - 1]}…"


def message_in(body: object) -> str:
    """The message in the body of an error, in any of the known shapes; empty where there is none."""
    if not isinstance(body, dict):
        return ""
    error = body.get("error")
    if isinstance(error, dict):
        return str(error.get("message") or error.get("type") or error)
    if error:
        return str(error)
    detail = body.get("detail")
    if isinstance(detail, list):
        # FastAPI's list of the fields that it refuses.
        parts = (f"{'.'.join(map(str, each.get('loc', ())))}: {each.get('msg', '')}" for each in objects(detail))
        return "; ".join(parts)
    return str(detail or body.get("message") or "")


def is_context_error(body: object) -> bool:
    """Whether an error says that the prompt is too long."""
    kind = fields(fields(body).get("error")).get("type")
    return kind == "exceed_context_size_error" or bool(_CONTEXT.search(message_in(body)))


def is_loading(status: int, body: object) -> bool:
    """Whether a server answers that it still loads its model."""
    return status == 503 and bool(_LOADING.search(message_in(body)))


def error_in_stream(address: ServerAddress, body: object, model: str) -> WorkbenchError:
    """The error for an error value in a streamed answer."""
    words = plain(message_in(body), address)
    if is_context_error(body):
        return ContextFullError(f"{address.label}: the context is full: {words}", SHORTER)
    if _MODEL.search(message_in(body)):
        return _no_model(address, model, words)
    return ServerError(
        f"{address.label} failed in the middle of the answer: {words or 'it does not say why'}.".replace("..", "."),
        "The text so far is kept. The server's own log may say more.",
    )


def error_of_status(
    address: ServerAddress, path: str, status: int, body: object, headers: Mapping[str, str], model: str
) -> WorkbenchError:
    """The error for a response whose status is one; `body` is parsed, and `model` empty where none was requested."""
    words = plain(message_in(body), address)
    said = f": {words}" if words else f" (HTTP {status})."
    where = address.label
    if is_context_error(body) or status == 413:
        return ContextFullError(f"{where}: the conversation is too long for this model{said}", SHORTER)
    if status in {401, 403, 407}:
        return _refused(address, status, said)
    if model and status in {400, 404} and _MODEL.search(message_in(body)):
        return _no_model(address, model, words)
    if status == 404:
        return ServerAnswerError(
            f"{where} has nothing at {path}{said}", "Check whether the address is right, and ends before `/v1`."
        )
    if status in {429, 502, 503, 504}:
        return _busy(where, status, body, headers.get("Retry-After", ""), said)
    if status >= 500:
        return ServerError(f"{where} failed{said}", "The server's own log may say more.")
    return ServerError(f"{where} refused the request{said}", "")


def _busy(where: str, status: int, body: object, wait: str, said: str) -> ServerBusyError:
    what = "still loads its model" if is_loading(status, body) else "cannot answer now"
    what = "takes no more requests now" if status == 429 else what
    hint = f"It asks to wait {wait} seconds." if wait.isdecimal() else "Ask again in a moment."
    return ServerBusyError(f"{where} {what}{said}", hint)


def _no_model(address: ServerAddress, model: str, words: str) -> UnknownModelError:
    said = f" It says: {words}" if words and words != f"model '{model}' not found" else ""
    return UnknownModelError(
        f"{address.label} has no model {model!r}.{said}",
        "It may have been removed, or renamed: choose it again from the list of models.",
    )


def _refused(address: ServerAddress, status: int, said: str) -> ServerRefusedError:
    if status == 407:
        return ServerRefusedError(
            f"The proxy on the way to {address.label} requires a password{said}",
            "Write it as http://USER:PASSWORD@HOST:PORT.",
        )
    what = "requires a key" if address.key is None else "does not accept its key"
    return ServerRefusedError(f"{address.label} {what}{said}", HOW_TO_GIVE_A_KEY)


def not_json(address: ServerAddress, path: str, text: str) -> ServerAnswerError:
    """The error for a response that is no JSON."""
    if text.lstrip()[:1] == "<":
        return ServerAnswerError(
            f"{address.label}: the response for {path} is a web page, not JSON.",
            "The address may be that of a web site or of a proxy's login page.",
        )
    shown = plain(text, address)[:60]
    return ServerAnswerError(f"{address.label}: the response for {path} is not JSON: {shown!r}.", "Check the address.")


def cut_short(address: ServerAddress) -> ServerAnswerError:
    """The error for a stream that ended before the answer did."""
    return ServerAnswerError(
        f"{address.label} ended the stream before the answer was finished.",
        "The text so far is kept. The server may have stopped, or given up: its log may say why.",
    )


def too_slow(address: ServerAddress, what: str, seconds: float) -> ServerTimeoutError:
    """The error for a timeout; `what` did not happen, such as `it sent no token`."""
    return ServerTimeoutError(
        f"{address.label}: {what} for {seconds:g} s.", "It may be overloaded or stuck; ask again, or check its log."
    )


def error_of_transport(
    address: ServerAddress, error: httpx.HTTPError | httpx.InvalidURL, proxy: str = ""
) -> WorkbenchError:
    """The error for an exception of httpx; `proxy` is the variable that names the proxy on the way."""
    where = _asked(address, error)
    is_tls = any(isinstance(cause, ssl.SSLError) for cause in _causes(error))
    if proxy and not is_tls and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return ServerUnreachableError(
            f"{where} cannot be reached through the proxy in {proxy}.",
            f"Check {proxy}, or add the host to NO_PROXY.",
        )
    # The message of a protocol error may hold the header with the key, so that it is never shown.
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return ServerUnreachableError(
            f"{where} does not answer.", "Check whether it runs, and whether a firewall blocks it."
        )
    if isinstance(error, httpx.TimeoutException):
        return ServerTimeoutError(f"{where} took too long.", "It may be overloaded or stuck; ask again.")
    if isinstance(error, httpx.ConnectError):
        return _unreachable(where, error)
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError | httpx.CloseError):
        return ServerAnswerError(
            f"{where} closed the connection.", "It may have stopped, or it does not speak HTTP: check its log."
        )
    if isinstance(error, httpx.DecodingError):
        return ServerAnswerError(
            f"{where} sent data that cannot be decompressed.", "A proxy on the way may have damaged it."
        )
    return ServerError(f"{where} cannot be asked ({type(error).__name__}).", "Check the address and the key.")


def _asked(address: ServerAddress, error: httpx.HTTPError | httpx.InvalidURL) -> str:
    """The host of a failed request: not that of the address after a redirect to another."""
    if isinstance(error, httpx.RequestError):
        with suppress(RuntimeError):
            url = error.request.url
            if origin(str(url)) != origin(address.url):
                return f"{url.netloc.decode('ascii', 'replace')} (redirected from {address.label})"
    return address.label


def _unreachable(where: str, error: BaseException) -> ServerUnreachableError:
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            host = where.partition(" ")[0].partition("/")[0]
            host = host.rpartition(":")[0] or host
            return ServerUnreachableError(
                f"There is no host called {host!r}, or the name cannot be looked up.",
                "Check the address and the network.",
            )
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ServerUnreachableError(
                f"{where}: its certificate is not trusted: {cause.verify_message}.",
                "Name the file of the certificate authority in SSL_CERT_FILE, where you trust it.",
            )
        if isinstance(cause, ssl.SSLError):
            return ServerUnreachableError(
                f"{where} speaks no TLS, or none that is understood here.", "It may need http:// instead."
            )
    return ServerUnreachableError(
        f"Nothing answers at {where}.", "Check whether the server runs, and whether the port is right."
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all of its causes."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        current = left.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        left += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            left += current.exceptions
