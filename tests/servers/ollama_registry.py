"""Ollama's registry, registry.ollama.ai: manifests and blobs, as its client (server/download.go, 0.33) sees them.

A blob is a 307 to another host with a signature, which sends ranges; some registries send it directly with 200.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.library.stores import MEDIA
from tests.servers.serving import ScriptedServer

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"


class FakeOllamaRegistry(ScriptedServer):
    """The registry and, under `/signed`, the host that has the bytes.

    `layers` are by kind, such as `model`; `config` is what the registry knows about the model.
    """

    def __init__(self, name: str, layers: Mapping[str, bytes], config: Mapping[str, object] | None = None) -> None:
        super().__init__()
        self.name = name
        self.redirects = True
        self.private = False
        described = json.dumps({"model_format": "gguf", **(config or {})}).encode()
        self.blobs = {_digest(data): data for data in (described, *layers.values())}
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, "digest": _digest(described), "size": len(described)},
                "layers": [
                    {"mediaType": f"{MEDIA}.{kind}", "digest": _digest(data), "size": len(data)}
                    for kind, data in layers.items()
                ],
            }
        )

    def routes(self) -> list[Route]:
        return [
            Route("/v2/{name:path}/manifests/{tag}", self._manifest),
            Route("/v2/{name:path}/blobs/{digest}", self._blob),
            Route("/signed/{digest}", self._signed),
        ]

    def refusal(self) -> Response:
        return Response("", 401)

    async def not_found(self, request: Request) -> Response:
        return _error(404, "NOT_FOUND", "not found")

    async def _manifest(self, request: Request) -> Response:
        assert request.headers["Accept"] == MANIFEST
        if self.private:
            challenge = 'Bearer realm="https://ollama.com/token",service="ollama.com",scope="repository:x:pull"'
            return Response("", 401, {"WWW-Authenticate": challenge})
        if f"{request.path_params['name']}:{request.path_params['tag']}" != self.name:
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return Response(self.manifest, media_type=MANIFEST)

    async def _blob(self, request: Request) -> Response:
        digest = request.path_params["digest"]
        if digest not in self.blobs:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        if self.redirects:
            return Response("", 307, {"Location": f"/signed/{digest}?X-Amz-Signature=secret"})
        return self._bytes(request, digest)

    async def _signed(self, request: Request) -> Response:
        return self._bytes(request, request.path_params["digest"])

    def _bytes(self, request: Request, digest: str) -> Response:
        data, wanted = self.blobs[digest], request.headers.get("Range")
        if wanted is None:
            return Response(data)
        begin, _, end = wanted.removeprefix("bytes=").partition("-")
        part = data[int(begin) : int(end) + 1]
        return Response(part, 206, {"Content-Range": f"bytes {begin}-{int(begin) + len(part) - 1}/{len(data)}"})


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _error(status: int, code: str, message: str) -> Response:
    return Response(json.dumps({"errors": [{"code": code, "message": message}]}), status, media_type="application/json")
