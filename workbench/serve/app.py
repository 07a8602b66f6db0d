"""The HTTP application: which route answers what, and who may ask."""

from __future__ import annotations

import hmac
from collections.abc import AsyncGenerator, Awaitable, Callable
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from workbench.core.errors import WorkbenchError
from workbench.core.serving import ServingAddress
from workbench.serve import anthropic_api, ollama_api, openai_api, sse
from workbench.serve.body import Body
from workbench.serve.errors import ApiError, from_workbench
from workbench.serve.prometheus import metrics_text
from workbench.serve.service import Served, Service

MOST_BODY_BYTES = 32 * 2**20
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_OPEN_ROUTES = frozenset({"/health"})
"""The routes that need no key."""
_PING = ": ping\n\n"
_PREFLIGHT = {
    "Access-Control-Allow-Headers": "authorization, content-type, x-api-key, anthropic-version",
    "Access-Control-Allow-Methods": "POST",
}

Handler = Callable[[HttpRequest], Awaitable[Response]]


class _Access:
    """Who may use the API at `address`: what it says, and this machine under its local names."""

    def __init__(self, address: ServingAddress) -> None:
        self._address = address
        self._hosts = _LOCAL_HOSTS | {address.host, *address.hosts}
        """Other names may be those of a page that rebinds its name to the loopback."""

    def check(self, request: HttpRequest) -> None:
        """Raise an ApiError for a request that is not allowed."""
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        if host not in self._hosts:
            raise ApiError(403, "permission_error", f"This server is not called {host[:200]!r}.")
        origin = request.headers.get("origin")
        if origin is not None and origin not in self._address.origins:
            raise ApiError(403, "permission_error", f"Pages of {origin[:200]!r} may not ask this server.")
        key = self._address.key
        if not key or request.url.path in _OPEN_ROUTES or request.method == "OPTIONS":
            return
        given = request.headers.get("authorization", "").removeprefix("Bearer ") or request.headers.get("x-api-key", "")
        if not hmac.compare_digest(given.encode(), key.encode()):
            raise ApiError(401, "authentication_error", "The key is missing or wrong.", code="invalid_api_key")

    def headers(self, request: HttpRequest) -> dict[str, str]:
        """The headers that let the page of an allowed origin read the answer."""
        origin = request.headers.get("origin", "")
        is_allowed = origin in self._address.origins
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if is_allowed else {}


class Api:
    """The routes of one service."""

    def __init__(self, service: Service, address: ServingAddress) -> None:
        self._service = service
        self._access = _Access(address)

    def app(self) -> Starlette:
        """The ASGI application."""
        get: dict[str, Callable[[], object]] = {
            "/health": self._service.health,
            "/v1/models": lambda: openai_api.models(self._service),
            "/models": lambda: openai_api.models(self._service),
            "/api/version": ollama_api.version,
            "/api/tags": lambda: ollama_api.tags(self._service),
            "/api/ps": lambda: ollama_api.tags(self._service),
        }
        post: dict[str, Callable[[HttpRequest, Body], Awaitable[Response]]] = {
            "/v1/chat/completions": self._chat,
            "/chat/completions": self._chat,
            "/v1/completions": self._completion,
            "/v1/messages": self._messages,
            "/v1/messages/count_tokens": self._count_tokens,
            "/v1/embeddings": self._embeddings,
            "/api/chat": self._ollama_chat,
            "/api/generate": self._ollama_generate,
            "/api/show": self._ollama_show,
        }
        routes = [Route(path, self._getting(make), methods=["GET"]) for path, make in get.items()]
        routes += [Route(path, self._posting(make), methods=["POST", "OPTIONS"]) for path, make in post.items()]
        routes += [
            Route("/", self._guarded(self._root), methods=["GET"]),
            Route("/metrics", self._guarded(self._metrics), methods=["GET"]),
            Route("/v1/models/{name:path}", self._guarded(self._model), methods=["GET"]),
            Route("/{rest:path}", self._guarded(self._unknown), methods=["GET", "POST", "DELETE", "PUT", "PATCH"]),
        ]
        return Starlette(routes=routes)

    # Who may ask, and errors

    def _guarded(self, handler: Handler) -> Handler:
        async def answer(request: HttpRequest) -> Response:
            try:
                self._access.check(request)
                response = await handler(request)
            except ApiError as error:
                response = self._failed(request, error)
            except WorkbenchError as error:
                response = self._failed(request, from_workbench(error))
            response.headers.update(self._access.headers(request))
            return response

        return answer

    def _failed(self, request: HttpRequest, error: ApiError) -> Response:
        path = request.url.path
        if path.startswith("/api/"):
            document: dict[str, object] = {"error": error.message}
        else:
            document = anthropic_api.error_document(error) if path.startswith("/v1/messages") else error.document
        return JSONResponse(document, error.status, error.headers)

    def _getting(self, make: Callable[[], object]) -> Handler:
        async def answer(_: HttpRequest) -> Response:
            return JSONResponse(make())

        return self._guarded(answer)

    def _posting(self, handler: Callable[[HttpRequest, Body], Awaitable[Response]]) -> Handler:
        async def answer(request: HttpRequest) -> Response:
            if request.method == "OPTIONS":
                return Response(headers=_PREFLIGHT)
            return await handler(request, Body.parse(await _read(request)))

        return self._guarded(answer)

    # Routes

    async def _root(self, _: HttpRequest) -> Response:
        # What Ollama's clients look for.
        return PlainTextResponse("Ollama is running")

    async def _metrics(self, _: HttpRequest) -> Response:
        return PlainTextResponse(metrics_text(self._service), media_type="text/plain; version=0.0.4")

    async def _model(self, request: HttpRequest) -> Response:
        if request.path_params["name"] != self._service.name:
            raise ApiError(404, "not_found_error", f"The model here is {self._service.name}.", code="model_not_found")
        return JSONResponse(openai_api.model(self._service))

    async def _unknown(self, request: HttpRequest) -> Response:
        raise ApiError(404, "not_found_error", f"There is no {request.method} {request.url.path[:200]}.")

    async def _embeddings(self, _: HttpRequest, __: Body) -> Response:
        raise ApiError(501, "not_supported_error", "This model gives no embeddings here.")

    async def _chat(self, request: HttpRequest, body: Body) -> Response:
        return await self._openai(request, openai_api.read_chat(body, self._service))

    async def _completion(self, request: HttpRequest, body: Body) -> Response:
        return await self._openai(request, openai_api.read_completion(body, self._service))

    async def _openai(self, request: HttpRequest, asked: openai_api.ApiRequest) -> Response:
        await self._service.check(asked.requests[0])
        served = [self._served(request) for _ in asked.requests]
        if asked.stream:
            return _events(openai_api.streamed_answer(asked, self._service, served), _PING)
        return JSONResponse(await _unless_gone(request, openai_api.whole_answer(asked, self._service, served)))

    async def _messages(self, request: HttpRequest, body: Body) -> Response:
        asked, served = anthropic_api.read(body, self._service), self._served(request)
        await self._service.check(asked)
        if body.flag("stream"):
            ping = sse.data({"type": "ping"}, "ping")
            return _events(anthropic_api.streamed_answer(asked, self._service, served), ping)
        return JSONResponse(await _unless_gone(request, anthropic_api.whole_answer(asked, self._service, served)))

    async def _count_tokens(self, _: HttpRequest, body: Body) -> Response:
        return JSONResponse(await anthropic_api.count_tokens(anthropic_api.read(body, self._service), self._service))

    async def _ollama_chat(self, request: HttpRequest, body: Body) -> Response:
        return await self._ollama(request, body, chat=True)

    async def _ollama_generate(self, request: HttpRequest, body: Body) -> Response:
        return await self._ollama(request, body, chat=False)

    async def _ollama(self, request: HttpRequest, body: Body, *, chat: bool) -> Response:
        if ollama_api.loads(body, chat=chat):
            return JSONResponse(ollama_api.loaded(self._service, chat=chat))
        asked, served = ollama_api.read(body, self._service, chat=chat), self._served(request)
        await self._service.check(asked)
        if body.flag("stream", default=True):
            lines = ollama_api.streamed_answer(asked, self._service, served, chat=chat)
            return StreamingResponse(sse.kept_alive(lines, ollama_api.PING[chat]), media_type="application/x-ndjson")
        whole = ollama_api.whole_answer(asked, self._service, served, chat=chat)
        return JSONResponse(await _unless_gone(request, whole))

    def _served(self, request: HttpRequest) -> Served:
        address = request.client.host if request.client else "?"
        program = request.headers.get("user-agent", "").split(" ")[0][:60]
        return self._service.asked(f"{address} {program}".strip(), request.url.path)

    async def _ollama_show(self, _: HttpRequest, __: Body) -> Response:
        return JSONResponse(ollama_api.show(self._service, tools=await self._service.calls_tools()))


async def _read(request: HttpRequest) -> bytes:
    """The body, if it is JSON and not too large."""
    # A page may send a form or plain text to another origin without asking; a program sends JSON.
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().casefold()
    if kind != "application/json" and not request.url.path.startswith("/api/"):
        raise ApiError(415, "invalid_request_error", "The body must be application/json.")
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > MOST_BODY_BYTES:
            raise ApiError(413, "invalid_request_error", f"The body has more than {MOST_BODY_BYTES:,} bytes.")
    return bytes(found)


def _events(chunks: AsyncGenerator[str], ping: str) -> Response:
    return StreamingResponse(sse.kept_alive(chunks, ping), media_type="text/event-stream", headers=sse.HEADERS)


async def _unless_gone(request: HttpRequest, answer: Awaitable[object]) -> object:
    """The answer, which is cancelled where the client closes the connection."""
    return await sse.unless_gone(answer, request.is_disconnected)
