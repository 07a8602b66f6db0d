"""What the client of servers costs: `workbench run http://…` against a loop of bare httpx at the same server.

The server writes server-sent events as vLLM does, at two paces. The loop
asks with the same body, takes the lines that httpx gives it, reads their JSON and counts the tokens. Both count from
the first token to the last, in the same run, in turn.

    python -m benchmarks.remote_overhead [--rounds 7] [--tokens 2000]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.common import WORKBENCH, Bar, finish, interleave, parser, print_samples

BAR = 0.98
PACES = {"200 tokens/s": 200.0, "2000 tokens/s": 2000.0}
"""How fast the server is: as a large model on a GPU, and as a very small one."""
MODEL = "bench"
PROMPT = "Count."

SERVER = """
import asyncio, json, sys

TOKENS, PACE, PARAGRAPH = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
MODELS = json.dumps({"object": "list", "data": [{"id": "bench", "owned_by": "vllm", "max_model_len": 131072}]}).encode()

def event(value):
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\\n\\n"

def chunk(number, delta, reason=None):
    usage = {"prompt_tokens": 3, "completion_tokens": number, "total_tokens": number + 3}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "bench",
                  "choices": [choice], "usage": usage})

def word(number):
    return f" {number}" + "\\n\\n" * (PARAGRAPH > 0 and number % PARAGRAPH == 0)

PARTS = [chunk(number, {"content": word(number)}) for number in range(1, TOKENS + 1)]
END = chunk(TOKENS, {"content": ""}, "length") + b"data: [DONE]\\n\\n"

async def talk(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode().lower()
            length = next((int(line[15:]) for line in head.split("\\r\\n") if line.startswith("content-length:")), 0)
            await reader.readexactly(length)
            if head.startswith("post"):
                writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nConnection: close\\r\\n\\r\\n")
                loop = asyncio.get_running_loop()
                due = loop.time()
                for part in PARTS:
                    due += 1 / PACE
                    await asyncio.sleep(max(0.0, due - loop.time()))
                    writer.write(part)
                    await writer.drain()
                writer.write(END)
                await writer.drain()
                break
            found = "/v1/models" in head.split("\\r\\n")[0]
            body = MODELS if found else b"{}"
            status = b"200 OK" if found else b"404 Not Found"
            writer.write(b"HTTP/1.1 " + status + b"\\r\\nContent-Type: application/json\\r\\nContent-Length: "
                         + str(len(body)).encode() + b"\\r\\n\\r\\n" + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()

async def main():
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""

LOOP = """
import asyncio, json, sys, time
import httpx

async def main():
    body = json.loads(sys.argv[2])
    stamps = []
    async with httpx.AsyncClient(timeout=None) as client:
        async with client.stream("POST", sys.argv[1] + "/v1/chat/completions", json=body) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    value = json.loads(line[6:])
                    if value["choices"] and value["choices"][0]["delta"].get("content"):
                        stamps.append(time.perf_counter())
    print(json.dumps({"decode_tps": (len(stamps) - 1) / (stamps[-1] - stamps[0])}))

asyncio.run(main())
"""


class Server:
    """A server in a process of its own.

    Args:
        tokens: The length of its answers.
        pace: Tokens per second.
        paragraph: The tokens of a paragraph; 0 for one that is as long as the answer.
    """

    def __init__(self, tokens: int, pace: float, paragraph: int = 0) -> None:
        command = [sys.executable, "-c", SERVER, str(tokens), str(pace), str(paragraph)]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._child.stdout.readline())}"
        self._tokens = tokens

    def close(self) -> None:
        """End it."""
        self._child.kill()
        self._child.wait()

    def bare(self) -> Mapping[str, float]:
        """The speed that a loop of httpx gets."""
        body = {
            "model": MODEL,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": self._tokens,
        }
        command = [sys.executable, "-c", LOOP, self.url, json.dumps(body)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return {"": json.loads(done.stdout)["decode_tps"]}

    def workbench(self, home: Path) -> Mapping[str, float]:
        """The speed that `workbench run` gets."""
        command = ["run", self.url, PROMPT, "--json", "--max-tokens", str(self._tokens)]
        environment = os.environ | {"WORKBENCH_HOME": str(home)}
        done = subprocess.run([WORKBENCH, *command], stdout=subprocess.PIPE, text=True, check=True, env=environment)
        found = json.loads(done.stdout)
        if found["completion_tokens"] != self._tokens:
            raise SystemExit(f"{found['completion_tokens']} tokens came, of {self._tokens}")
        return {"": found["decode_tps"]}


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=7)
    options.add_argument("--tokens", type=int, default=1000, help="length of an answer (default: %(default)s)")
    chosen = options.parse_args()
    bars, found = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, pace in PACES.items():
            server = Server(chosen.tokens, pace)
            try:
                arms = {"workbench run": lambda s=server: s.workbench(Path(folder)), "httpx": server.bare}
                found[name] = interleave(arms, chosen.rounds, name)
            finally:
                server.close()
            ratio = found[name].ratio("workbench run ", "httpx ")
            bars.append(Bar(f"{name}: workbench run / httpx", ratio, BAR, at_least=True))
            print(f"{name}: tokens/s, answers of {chosen.tokens} tokens, {chosen.rounds} interleaved rounds\n")
            print_samples(found[name])
            print()
    return finish("remote_overhead", bars, found, tokens=chosen.tokens)


if __name__ == "__main__":
    sys.exit(main())
