"""`ollama create` over Ollama's API: upload the files by digest, create the model, and ask it one question.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md, "Create a model" and "Push a blob".
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from workbench.core.cancel import CancelToken
from workbench.core.errors import ModelfileError, ParameterError, ServerError, TargetError
from workbench.core.sending import OnSend, SendProgress, Sent
from workbench.core.servers import is_server_ref, split_ref
from workbench.core.user_path import user_path
from workbench.engine.remote.detect import detect
from workbench.engine.remote.http import ServerClient
from workbench.engine.remote.network import shared_network
from workbench.engine.remote.ollama import same_name
from workbench.engine.remote.problems import plain
from workbench.engine.remote.response import ErrorStatus, fields
from workbench.engine.remote.streams import FramingError, JsonLines
from workbench.modelfile.meaning import Modelfile

QUESTION = "Say hello."
ANSWER_TOKENS = 16
CHUNK = 2**20
"""The chunk of a file that is read and sent, in bytes."""
_NAME = re.compile(r"[\w][\w.-]*(?:/[\w][\w.-]*){0,3}(?::[\w][\w.-]{0,79})?", re.ASCII)
_BLOB = re.compile(r"sha256-([0-9a-f]{64})")
"""The file names in Ollama's own store."""


async def create_model(
    client: ServerClient,
    modelfile: Modelfile,
    name: str,
    on_progress: OnSend,
    cancel: CancelToken,
    *,
    overwrite: bool = False,
) -> Sent:
    """Create the model that a Modelfile describes on an Ollama server, and ask it a question. It closes `client`.

    A file in the Modelfile is sent where Ollama does not have it; a name is one of Ollama's own models. What was sent
    before `cancel` was set stays with Ollama, which removes it when it is restarted.

    Raises:
        WorkbenchError: It cannot be created, or does not answer; CancelledError when `cancel` was set.
    """
    check_name(name)
    body, files = create_request(modelfile, name, client.address.url)
    sending = _Sending(client, on_progress)
    return await shared_network.run_until(cancel, sending.run(body, files, name, overwrite), "Sending was stopped.")


def check_name(name: str) -> None:
    """Check the name of a model.

    Raises:
        ParameterError: Ollama does not take it.
    """
    if not _NAME.fullmatch(name):
        raise ParameterError(
            f"Ollama cannot call a model {name!r}.", "Letters, digits, - _ . and one :TAG, such as mine or me/mine:v2."
        )


def create_request(modelfile: Modelfile, name: str, url: str) -> tuple[dict[str, Any], dict[str, dict[str, Path]]]:
    """The body of the request, and its files by field and name.

    Raises:
        WorkbenchError: A file is missing, or of a kind that cannot be sent.
    """
    files: dict[str, dict[str, Path]] = {"files": {}, "adapters": {}, "draft_files": {}}
    body: dict[str, Any] = {"model": name, "stream": True}
    for base in modelfile.bases:
        source = _source(base, url)
        if isinstance(source, Path):
            _add(files["files"], source)
        else:
            body["from"] = source
    if modelfile.adapter:
        _add(files["adapters"], _file(modelfile.adapter, "ADAPTER"))
    for draft in modelfile.drafts:
        _add(files["draft_files"], _file(draft, "DRAFT"))
    for field in ("template", "system", "renderer", "parser", "requires"):
        if value := getattr(modelfile, field):
            body[field] = value
    if modelfile.licenses:
        body["license"] = list(modelfile.licenses)
    if modelfile.parameters:
        body["parameters"] = {
            each: list(value) if isinstance(value, tuple) else value for each, value in modelfile.parameters.items()
        }
    if modelfile.messages:
        body["messages"] = [{"role": message.role, "content": message.content} for message in modelfile.messages]
    return body, files


def _source(base: str, url: str) -> Path | str:
    """The file or the model of Ollama that FROM names."""
    if is_server_ref(base):
        there, model = split_ref(base)
        if there != url or not model:
            raise ModelfileError(
                f"The model is at {there}, and cannot be sent from there to {url}.", "Open it from a file, and export."
            )
        return model
    path = user_path(base)
    looks_like_a_file = path.is_absolute() or base.startswith((".", "~")) or base.casefold().endswith(".gguf")
    return _file(base, "FROM") if looks_like_a_file or _mode(path) else base.removeprefix("ollama:")


def _file(text: str, command: str) -> Path:
    path = user_path(text)
    if stat.S_ISDIR(mode := _mode(path)):
        raise ModelfileError(
            f"{command} {path} is a folder, and only single files are sent.", "Make a GGUF file of it first."
        )
    if not stat.S_ISREG(mode):
        raise ModelfileError(f"{command} {path} is not there.", "It was moved or deleted; see where it is now.")
    return path


def _mode(path: Path) -> int:
    """The mode of a file; 0 where there is none, or where it cannot be looked up (a name that is too long)."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def _add(files: dict[str, Path], path: Path) -> None:
    """Add a file under a unique name; blobs of Ollama's own store have none."""
    base = "model.gguf" if _BLOB.fullmatch(path.name) else path.name
    names = (base, *(f"{number}-{base}" for number in range(2, len(files) + 2)))
    files[next(name for name in names if name not in files)] = path


class _Sending:
    """The creation of one model, in the network's thread."""

    def __init__(self, client: ServerClient, report: OnSend) -> None:
        self._client = client
        self._report = report
        self._sent = 0

    async def run(
        self, body: dict[str, Any], files: Mapping[str, Mapping[str, Path]], name: str, overwrite: bool
    ) -> Sent:
        """Check, upload, create and ask."""
        try:
            await self._look(name, overwrite)
            for field, named in files.items():
                if named:
                    body[field] = {each: await self._blob(path) for each, path in named.items()}
            await self._create(body, name)
            answer = await self._ask(name)
            return Sent(self._client.address.url, name, self._sent, answer)
        finally:
            await self._client.close()

    async def _look(self, name: str, overwrite: bool) -> None:
        where = self._client.address.label
        self._report(SendProgress("looking", where))
        server = await detect(self._client)
        if server.kind != "Ollama":
            raise ServerError(f"At {where} is {server.kind}, and only Ollama takes Modelfiles.", "Check the address.")
        if not overwrite and any(same_name(each, name) for each in server.models or ()):
            raise TargetError(f"Ollama at {where} has a model {name} already.", "Choose another name, or overwrite it.")

    async def _blob(self, path: Path) -> str:
        """Upload a file unless Ollama has it; returns its digest."""
        size = path.stat().st_size
        digest = await self._digest(path, size)
        place = f"/api/blobs/{digest}"
        there = await self._client.head(place)
        if there.status == 200:
            return digest
        if there.status != 404:
            raise self._client.error(there, place)
        answer = await self._client.upload(place, self._parts(path, size), size)
        if answer.status not in (200, 201):
            raise self._client.error(answer, place)
        return digest

    async def _digest(self, path: Path, size: int) -> str:
        if blob := _BLOB.fullmatch(path.name):
            # Ollama's store names its files by digest; it verifies an upload.
            return f"sha256:{blob[1]}"
        summing, done = hashlib.sha256(), 0
        with _opened(path) as file:
            while part := await asyncio.to_thread(file.read, CHUNK * 8):
                await asyncio.to_thread(summing.update, part)
                done += len(part)
                self._report(SendProgress("reading", path.name, min(1.0, done / max(size, 1))))
        return f"sha256:{summing.hexdigest()}"

    async def _parts(self, path: Path, size: int) -> AsyncIterator[bytes]:
        done = 0
        with _opened(path) as file:
            while part := await asyncio.to_thread(file.read, CHUNK):
                yield part
                done += len(part)
                self._sent += len(part)
                self._report(SendProgress("sending", path.name, min(1.0, done / max(size, 1))))

    async def _create(self, body: dict[str, Any], name: str) -> None:
        self._report(SendProgress("making", name))
        timeouts, address = self._client.timeouts, self._client.address
        lines, ended = JsonLines(), False
        try:
            async with asyncio.timeout(timeouts.load) as limit, self._client.stream("/api/create", body) as chunks:
                async for data, _ in chunks:
                    limit.reschedule(asyncio.get_running_loop().time() + timeouts.load)
                    for value in lines.push(data):
                        ended = self._take(value, name) or ended
                for value in lines.end():
                    ended = self._take(value, name) or ended
        except ErrorStatus as refusal:
            raise self._client.error(refusal.answer, refusal.path) from None
        except (TimeoutError, FramingError):
            ended = False
        if not ended:
            raise ServerError(f"{address.label} closed the connection while it made {name}.", "Check its log.")

    def _take(self, value: object, name: str) -> bool:
        """Report a line of progress; returns whether it was the last one."""
        if not isinstance(value, dict):
            return False
        if value.get("error"):
            said = plain(value["error"], self._client.address)
            raise ServerError(f"Ollama did not make {name}: {said}.", "The server's own log may say more.")
        total, done = value.get("total"), value.get("completed")
        known = isinstance(total, int) and isinstance(done, int) and total > 0
        status = plain(value.get("status", ""), self._client.address)
        self._report(SendProgress("making", status, done / total if known else None))  # type: ignore[operator]
        return status == "success"

    async def _ask(self, name: str) -> str:
        """Ask the model a question, so that a damaged file shows now and not later."""
        self._report(SendProgress("asking", name))
        body = {
            "model": name,
            "messages": [{"role": "user", "content": QUESTION}],
            "stream": False,
            "options": {"num_predict": ANSWER_TOKENS},
        }
        answer = await self._client.post("/api/chat", body, self._client.timeouts.load)
        if answer.status >= 400:
            error = self._client.error(answer, "/api/chat", name)
            raise ServerError(f"Ollama made {name}, and it does not answer: {error.message}", error.hint)
        message = fields(answer.field("message"))
        said = (message.get(each) for each in ("content", "thinking"))
        text = next((plain(each, self._client.address) for each in said if isinstance(each, str) and each.strip()), "")
        if not text:
            raise ServerError(f"Ollama made {name}, and it says nothing.", "Check its template and its parameters.")
        return text


def _opened(path: Path) -> Any:  # noqa: ANN401 - a file of bytes
    try:
        return path.open("rb")
    except OSError as error:
        raise ModelfileError(f"{path} cannot be read: {error.strerror or error}.", "Check its permissions.") from error
