"""The screen in a browser: who is let in, and what is started. tests/end_to_end/test_browser.py drives a real one."""

from __future__ import annotations

import argparse
import shlex
import socket
import sys
from contextlib import asynccontextmanager

import httpx
import pytest

from workbench.cli import screen

pytest.importorskip("textual_serve")

from aiohttp import ClientSession, web

from workbench.cli.web import HOST, ScreenServer, command_of


@asynccontextmanager
async def served():
    listener = socket.create_server((HOST, 0))
    server = ScreenServer("exit", listener.getsockname()[1])
    runner = web.AppRunner(await server.app())
    await runner.setup()
    await web.SockSite(runner, listener).start()
    try:
        async with httpx.AsyncClient(base_url=f"http://{server.address}") as client:
            yield server, client
    finally:
        await runner.cleanup()


async def test_whoever_has_the_key_gets_the_page_and_nobody_else(capsys):
    async with served() as (server, client):
        assert f"http://{server.address}/?key={server.key}" in capsys.readouterr().err
        for path in ("/", "/?key=wrong", "/ws", "/static/js/textual.js", "/download/x"):
            assert (await client.get(path)).status_code == 403, path
        first = await client.get(f"/?key={server.key}")
        assert (first.status_code, first.headers["location"]) == (303, "/"), "the key does not stay in the address"
        assert "HttpOnly" in first.headers["set-cookie"]
        assert "SameSite=Strict" in first.headers["set-cookie"]
        page = await client.get("/")
        assert page.status_code == 200
        assert f'data-session-websocket-url="ws://{server.address}/ws"' in page.text
        others = [url for url in page.text.split('"') if url.startswith(("http", "//")) and server.address not in url]
        assert others == [], "the page asks no other server"
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert (await client.get("/static/js/textual.js")).status_code == 200
        headers = {"Origin": f"http://{server.address}", "Cookie": first.headers["set-cookie"].partition(";")[0]}
        async with ClientSession() as session, session.ws_connect(f"ws://{server.address}/ws", headers=headers):
            pass


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "localhost"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
    ],
)
async def test_other_pages_are_refused_even_with_the_key(headers):
    async with served() as (server, client):
        await client.get(f"/?key={server.key}")
        for path in ("/", "/ws", f"/?key={server.key}"):
            assert (await client.get(path, headers=headers)).status_code == 403
        assert (await client.get("/ws")).status_code == 403, "browsers send the origin of a socket"


def test_the_program_in_the_page_gets_the_words_of_the_command_line():
    parser = argparse.ArgumentParser()
    screen.add_arguments(parser)
    words = [
        "--web",
        "--port",
        "0",
        "a b.gguf",
        "--resume",
        "last",
        "--set",
        "top_k=1",
        "--system",
        "-x '\n",
        "--seed",
        "3",
    ]
    command = shlex.split(command_of(parser.parse_args(words)))
    assert command[:4] == [sys.executable, "-P", "-m", "workbench.cli.main"]
    again = parser.parse_args(command[4:])
    assert vars(again) == {**vars(parser.parse_args(words)), "web": False, "port": None}


def test_without_the_package_the_command_that_installs_it_is_said(call, monkeypatch):
    monkeypatch.delitem(sys.modules, "workbench.cli.web")
    monkeypatch.setitem(sys.modules, "textual_serve", None)
    monkeypatch.setitem(sys.modules, "textual_serve.server", None)
    status, out, err = call("scripted", "--web")
    assert (status, out) == (1, "")
    assert "pip install 'workbench[web]'" in err


def test_a_port_that_is_taken_or_needless_is_refused(call):
    with socket.create_server((HOST, 0)) as taken:
        status, _, err = call("scripted", "--web", "--port", str(taken.getsockname()[1]))
    assert status == 1
    assert "another --port" in err
    status, _, err = call("scripted", "--port", "1")
    assert status == 2
    assert "--web" in err
