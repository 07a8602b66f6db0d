from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from workbench.telemetry import local_servers
from workbench.telemetry.local_servers import find_servers

OLLAMA = {"/": "Ollama is running", "/api/version": {"version": "0.33.0"},
          "/api/tags": {"models": [{"name": "llama3.2:3b"}, {"name": "qwen3:8b"}]}}  # fmt: skip
LLAMA = {"/v1/models": {"object": "list", "data": [{"id": "m.gguf", "owned_by": "llamacpp"}]},
         "/props": {"build_info": "b6200-abc"}, "server": "llama.cpp"}  # fmt: skip
VLLM = {"/v1/models": {"object": "list", "data": [{"id": "Qwen/Qwen3-8B", "owned_by": "vllm", "max_model_len": 4096}]},
        "/version": {"version": "0.11.0"}}  # fmt: skip
TGI = {"/info": {"model_id": "meta/llama", "router": "text-generation-router", "version": "3.3.6"}}
STUDIO = {"/v1/models": {"object": "list", "data": [{"id": "a"}]},
          "/api/v0/models": {"data": [{"id": "a", "compatibility_type": "gguf"}, {"id": "b"}]}}  # fmt: skip


@pytest.fixture
def serve():
    servers = []

    def start(pages):
        class Handler(BaseHTTPRequestHandler):
            server_version = pages.get("server", "test")
            sys_version = ""

            def do_GET(self):
                page = pages.get(self.path, pages.get("*"))
                if callable(page):
                    page(self)
                    return
                content = page.encode() if isinstance(page, str) else json.dumps(page).encode()
                self.send_response(404 if page is None else 200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("pages", "kind", "version", "models"), [
    (OLLAMA, "Ollama", "0.33.0", ("llama3.2:3b", "qwen3:8b")), (LLAMA, "llama-server", "b6200-abc", ("m.gguf",)),
    (VLLM, "vLLM", "0.11.0", ("Qwen/Qwen3-8B",)), (TGI, "TGI", "3.3.6", ("meta/llama",)),
    ({"/v1/models": {"data": [{"id": "a", "max_model_len": 4096}]}}, "vLLM", None, ("a",)),
    (STUDIO, "LM Studio", None, ("a", "b")),
    ({"/v1/models": {"object": "list", "data": []}}, "OpenAI-compatible", None, ()),
    ({"/": "hello"}, "unknown", None, None), ({}, "unknown", None, None),
    ({"*": {"error": "unknown route"}}, "unknown", None, None), ({"*": "null"}, "unknown", None, None),
    ({"*": {"data": [3, None], "models": 5, "version": 7, "router": 1, "model_id": []}}, "unknown", None, None),
    ({"*": "[" * 100_000}, "unknown", None, None),
    (LLAMA | {"/props": {"build_info": 3}}, "llama-server", None, ("m.gguf",)),
])  # fmt: skip
def test_what_answers(serve, pages, kind, version, models):
    port = serve(pages)
    (server,) = find_servers([port], patience_s=5)
    assert (server.url, server.kind, server.version, server.models) == (
        f"http://127.0.0.1:{port}", kind, version, models
    )  # fmt: skip


def test_several_in_the_order_of_their_ports(serve):
    ports = [serve(OLLAMA), serve(VLLM)]
    assert [server.kind for server in find_servers(ports, patience_s=5)] == ["Ollama", "vLLM"]


def test_nobody_answers(serve):
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_port
    assert find_servers([port]) == []
    assert find_servers([]) == []


def test_a_server_that_says_nothing_is_not_waited_for(serve):
    leave = threading.Event()
    port = serve({"*": lambda handler: leave.wait(10)})
    found = find_servers([port], patience_s=0.05)
    leave.set()
    assert [server.kind for server in found] == ["unknown"]


def test_a_server_that_talks_forever_is_left_out(serve, monkeypatch):
    monkeypatch.setattr(local_servers, "TOGETHER_S", 0.1)
    leave = threading.Event()

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        while not leave.wait(0.01):
            handler.wfile.write(b"x")

    port = serve({"*": drip})
    found = find_servers([port], patience_s=0.1)
    leave.set()
    assert found == []


def test_what_speaks_no_http():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"\x00\xff not http\r\n")

        threading.Thread(target=talk, daemon=True).start()
        assert [server.kind for server in find_servers([listener.getsockname()[1]])] == ["unknown"]
        listener.shutdown(socket.SHUT_RDWR)
