"""A download from the loopback with and without its digest, and a pull that is killed over and over.

A server in another process sends a file of random bytes by `sendfile`. The first part fetches it with the digest and
with the digest replaced by nothing, as fast as it comes and at 1 Gbit/s; the bar is 5 %. The second kills
`workbench pull` with SIGKILL at random times until it was killed often enough: a start never has fewer bytes than the
last progress line said, no file has its final name before it is whole, and every whole file has the right digest.

    python -m benchmarks.pull [--rounds 7] [--size-mib 256] [--kills 100]
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.common import WORKBENCH, Bar, finish, interleave, log, parser, print_samples
from workbench.engine.remote.registries import RegistryTransport
from workbench.library.pull.download import Download
from workbench.library.pull.hub import Location
from workbench.library.pull.part import PartFile
from workbench.library.pull.variants import RemoteFile
from workbench.library.pull.web import Web
from workbench.store.locks import try_lock

BAR = 1.05
NAME = "x-Q4_K_M.gguf"
WIRE_S = 4 * 2**18 / 125e6
"""The pause of each of four connections after 256 KiB at 1 Gbit/s."""
SLOW_S = 0.02
"""The pause after 256 KiB in the second part, so that there is something to kill."""

SERVER = """
import http.server, json, os, sys, time
blob, digest, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
size, commit = os.path.getsize(blob), "c" * 40
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *words): pass
    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)
    def do_HEAD(self):
        self.answer(200, X_Repo_Commit=commit, X_Linked_Etag=digest, X_Linked_Size=size)
    def do_GET(self):
        if "/revision/" in self.path:
            return self.answer(200, json.dumps({"sha": commit}).encode())
        if "/tree/" in self.path:
            lfs = {"oid": digest, "size": size}
            entry = {"type": "file", "path": "x-Q4_K_M.gguf", "size": size, "oid": "a" * 40, "lfs": lfs}
            return self.answer(200, json.dumps([entry]).encode())
        begin, end = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        left = end + 1 - begin
        self.answer(206, Content_Length=left, Content_Range=f"bytes {begin}-{end}/{size}")
        self.wfile.flush()
        with open(blob, "rb") as file:
            try:
                while left:
                    sent = os.sendfile(self.connection.fileno(), file.fileno(), begin, min(left, 2**18))
                    begin, left = begin + sent, left - sent
                    if pause: time.sleep(pause)
            except OSError:
                pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
server.handle_error = lambda *_: None  # A killed client.
print(server.server_address[1], flush=True)
server.serve_forever()
"""


class Server:
    """The server, in a process of its own."""

    def __init__(self, file: RemoteFile, blob: Path, pause_s: float) -> None:
        command = [sys.executable, "-c", SERVER, str(blob), file.digest, str(pause_s)]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._child.stdout.readline())}"

    def close(self) -> None:
        """End it."""
        self._child.kill()
        self._child.wait()


class Unhashed(Download):
    """A download whose digest costs nothing; what comes is flushed to the disk as otherwise."""

    async def _hash(self) -> str:
        while self._part.prefix < self._file.size:
            if self._part.wants_flush:
                await asyncio.to_thread(self._part.flush)
            self._grew.clear()
            await self._grew.wait()
        return self._file.digest


def fetch(kind: type[Download], file: RemoteFile, url: str, folder: Path) -> Mapping[str, float]:
    """Seconds of one download."""

    async def work() -> float:
        async def locate() -> Location:
            return Location(f"{url}/x", {})

        web = Web(RegistryTransport())
        part = PartFile(folder / "x.workbench-part", file.size, file.digest, try_lock)
        try:
            begun = time.perf_counter()
            await kind(web, file, part, locate, lambda _done, _checked: None).run()
            return time.perf_counter() - begun
        finally:
            part.discard()
            part.close(flush=False)
            await web.transport.close()

    return {"s": asyncio.run(work())}


def kill_often(kills: int, file: RemoteFile, url: str, folder: Path) -> int:
    """Kill a pull that many times; gives how many whole files came meanwhile. Anything wrong ends the script."""
    chance, killed, whole, before = random.Random(5), 0, 0, 0
    home = folder / "home"
    while killed < kills:
        environ = os.environ | {"HF_ENDPOINT": url, "HF_HOME": str(home), "WORKBENCH_HOME": str(home)}
        command = [WORKBENCH, "pull", "u/r", "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, text=True)
        timer, last = None, {}
        for line in process.stdout or ():
            last = json.loads(line)
            if "progress" not in last:
                continue
            done = last["progress"]["done_bytes"]
            if timer is None:
                if done < before:
                    raise SystemExit(f"{before - done} bytes were lost")
                timer = threading.Timer(chance.uniform(0.1, 1.5), process.send_signal, [signal.SIGKILL])
                timer.start()
            before = max(before, done)
        status = process.wait()
        if timer is not None:
            timer.cancel()
        named = [path for path in (home / "hub").rglob("*") if path.name in (file.digest, NAME)]
        wrong = [path for path in named if hashlib.sha256(path.read_bytes()).hexdigest() != file.digest]
        if wrong or status not in (0, -signal.SIGKILL) or (status == 0 and not named):
            raise SystemExit(f"exit status {status}, and these are wrong: {wrong}")
        killed += status != 0
        if named:
            # It was whole, with or without a kill at the very end.
            whole, before = whole + 1, 0
            shutil.rmtree(home)
    return whole


def main() -> int:
    """Measure, and print."""
    options = parser(__doc__, rounds=7)
    options.add_argument("--size-mib", type=int, default=256, help="size of the file (default: %(default)s)")
    options.add_argument("--kills", type=int, default=100, help="how often to kill (default: %(default)s)")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        blob, digest = folder / "blob", hashlib.sha256()
        with blob.open("wb") as opened:
            for _ in range(chosen.size_mib):
                data = random.randbytes(2**20)
                opened.write(data)
                digest.update(data)
        file = RemoteFile(NAME, chosen.size_mib * 2**20, digest.hexdigest())
        server, wire = Server(file, blob, 0), Server(file, blob, WIRE_S)
        try:
            arms = {
                "digest": lambda: fetch(Download, file, server.url, folder),
                "none": lambda: fetch(Unhashed, file, server.url, folder),
                "1 Gbit/s digest": lambda: fetch(Download, file, wire.url, folder),
                "1 Gbit/s none": lambda: fetch(Unhashed, file, wire.url, folder),
            }
            samples = interleave(arms, chosen.rounds, "download")
        finally:
            server.close()
            wire.close()
        print(f"Seconds for {chosen.size_mib} MiB from the loopback, {chosen.rounds} interleaved rounds\n")
        print_samples(samples)
        slow = Server(file, blob, SLOW_S)
        try:
            log(f"  killing a pull {chosen.kills} times")
            whole = kill_often(chosen.kills, file, slow.url, folder)
        finally:
            slow.close()
        print(f"\n{chosen.kills} kills, {whole} whole files: none wrong, no byte that was reported was lost")
    bars = [
        Bar(f"{speed}with / without the digest", samples.ratio(f"{speed}digest s", f"{speed}none s"), BAR)
        for speed in ("", "1 Gbit/s ")
    ]
    return finish("pull", bars, {"download": samples}, kills=chosen.kills)


if __name__ == "__main__":
    sys.exit(main())
