"""Hugging Face's Hub: search, the files of a repository, and where a file is fetched.

Endpoints, headers and errors as of huggingface_hub 2.4.0: `GET /api/models`, `/revision/{rev}`, `/tree/{commit}`, and
`HEAD /{repo}/resolve/{commit}/{path}`. The commit is pinned first and used everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from workbench.core.errors import (
    ChangedFileError,
    GatedError,
    NotPublishedError,
    OfflineError,
    ParameterError,
    PullError,
)
from workbench.core.pulls import RepositoryHit
from workbench.core.secret import Secret, is_key
from workbench.core.servers import origin
from workbench.core.user_path import expanded
from workbench.library.pull.references import HOSTS, HubRef, is_safe_path
from workbench.library.pull.variants import RemoteFile, Variant, variants_of
from workbench.library.pull.web import Web, WebAnswer, host_of

DEFAULT_ENDPOINT = "https://huggingface.co"
MOST_PAGES = 50
_TRUE = frozenset({"1", "on", "yes", "true"})
_NEXT = re.compile(r'<([^>]+)>\s*;[^,]*\brel="?next"?')
_DIGEST = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HIDDEN = frozenset({401, 404})


@dataclass(frozen=True, slots=True)
class HubSettings:
    """What the environment says about the Hub."""

    endpoint: str = DEFAULT_ENDPOINT
    token: Secret | None = None
    offline: str = ""
    """The variable that forbids requests; empty where none does."""

    @property
    def host(self) -> str:
        """The host of the endpoint."""
        return urlsplit(self.endpoint).netloc


def hub_settings(environ: Mapping[str, str], home: Path, token: Secret | None = None) -> HubSettings:
    """The settings in the variables that huggingface_hub reads, and in its file with the token; `home` is the user's.

    `token` is used where neither names one.

    Raises:
        ParameterError: HF_ENDPOINT is not an address.
    """

    def is_true(name: str) -> bool:
        return environ.get(name, "").strip().casefold() in _TRUE

    endpoint = environ.get("HF_ENDPOINT", "").strip().rstrip("/") or DEFAULT_ENDPOINT
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ParameterError(
            f"HF_ENDPOINT is {endpoint!r}, which is not an address.", "Write https://HOST, or unset it."
        )
    offline = next(filter(is_true, ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")), "")
    if is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        return HubSettings(endpoint, None, offline)
    found = _token(environ, home)
    return HubSettings(endpoint, Secret(found) if is_key(found) else token, offline)


def _token(environ: Mapping[str, str], home: Path) -> str:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if found := environ.get(name, "").strip():
            return found
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "huggingface"
    place = environ.get("HF_TOKEN_PATH") or Path(environ.get("HF_HOME") or cache) / "token"
    try:
        return expanded(place).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at a commit."""

    name: str
    revision: str
    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def variants(self) -> list[Variant]:
        """Its quantizations, smallest first."""
        return variants_of(self.files)


@dataclass(frozen=True, slots=True)
class Location:
    """Where the bytes of a file are."""

    url: str
    headers: Mapping[str, str]
    """The headers of a request for it; a token only for the registry's own host."""


class HubClient:
    """Asks the Hub."""

    def __init__(self, web: Web, settings: HubSettings) -> None:
        self._web = web
        self._settings = settings

    def _trusted(self, url: str) -> bool:
        """Whether the token may go to a URL: to the endpoint alone."""
        return origin(url) == origin(self._settings.endpoint)

    def _ours(self, url: str) -> str:
        """A URL that a response names; a mirror also hands out addresses of the Hub itself, which it serves."""
        parts = urlsplit(url)
        if parts.hostname not in HOSTS:
            return url
        return f"{self._settings.endpoint}{parts.path}{f'?{parts.query}' if parts.query else ''}"

    def _headers(self, url: str) -> dict[str, str]:
        token = self._settings.token
        return {"Authorization": f"Bearer {token.reveal()}"} if token is not None and self._trusted(url) else {}

    async def _get(self, path: str, what: str, repository: str = "") -> WebAnswer:
        if self._settings.offline:
            raise OfflineError(
                f"{self._settings.offline} is set: Hugging Face is not asked for {what}.",
                f"Unset {self._settings.offline} to fetch; `workbench models` lists what is on this machine.",
            )
        url = self._ours(path) if "://" in path else f"{self._settings.endpoint}{path}"
        answer = await self._web.ask("GET", url, self._headers(url), self._trusted)
        if answer.status != 200:
            raise self._error(answer, what, repository)
        return answer

    async def search(self, words: str, limit: int) -> list[RepositoryHit]:
        """The repositories with GGUF files whose names contain `words`, the most downloaded first.

        Raises:
            WorkbenchError: The Hub cannot be asked.
        """
        query = urlencode({"search": words, "filter": "gguf", "sort": "downloads", "limit": limit})
        answer = await self._get(f"/api/models?{query}", f"models called {words!r}")
        if not isinstance(answer.body, list):
            raise answer.page()
        return [
            RepositoryHit(
                str(each["id"]),
                _int(each.get("downloads")),
                _int(each.get("likes")),
                str(each.get("lastModified") or "")[:10],
                bool(each.get("gated")),
            )
            for each in answer.body
            if isinstance(each, dict) and isinstance(each.get("id"), str)
        ]

    async def repository(self, ref: HubRef) -> Repository:
        """The files of a repository, at the commit that its revision names now.

        Raises:
            WorkbenchError: The Hub cannot be asked, or does not show it.
        """
        api = f"/api/models/{ref.repository}"
        answer = await self._get(f"{api}/revision/{quote(ref.revision, safe='')}", str(ref), ref.repository)
        commit = answer.body.get("sha") if isinstance(answer.body, dict) else None
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise answer.page()
        files: list[RemoteFile] = []
        page = f"{api}/tree/{commit}?recursive=true&expand=false"
        for _ in range(MOST_PAGES):
            answer = await self._get(page, str(ref), ref.repository)
            if not isinstance(answer.body, list):
                raise answer.page()
            files += [file for each in answer.body if (file := _file(each)) is not None]
            following = _NEXT.search(answer.headers.get("Link", ""))
            if following is None:
                break
            page = following[1]
        return Repository(ref.repository, ref.revision, commit, tuple(files))

    async def locate(self, repository: Repository, file: RemoteFile) -> Location:
        """Where the bytes of a file are now; addresses of other hosts expire.

        Raises:
            ChangedFileError: The Hub has another file there than it listed.
            WorkbenchError: The Hub cannot be asked, or refuses.
        """
        path = f"/{repository.name}/resolve/{repository.commit}/{quote(file.path)}"
        url = f"{self._settings.endpoint}{path}"
        answer = await self._web.ask("HEAD", url, self._headers(url), self._trusted)
        if answer.status >= 400:
            raise self._error(answer, f"{repository.name}/{file.path}", repository.name)
        if "X-Repo-Commit" not in answer.headers:
            raise PullError(
                f"{host_of(url)} does not answer as Hugging Face does.",
                "A proxy or a login page may be in the way, or HF_ENDPOINT may name a wrong address.",
            )
        etag = answer.headers.get("X-Linked-Etag") or answer.headers.get("ETag", "")
        etag = etag.removeprefix("W/").strip('"')
        size = answer.headers.get("X-Linked-Size", "")
        if (_DIGEST.fullmatch(etag) and etag != file.digest) or (size.isdecimal() and int(size) != file.size):
            raise ChangedFileError(
                f"{repository.name}/{file.path} changed while it was fetched.",
                "Run the command again: it fetches the new file. What was fetched of the old one is kept.",
            )
        target = answer.location or answer.url
        return Location(target, self._headers(target))

    def _error(self, answer: WebAnswer, what: str, repository: str) -> PullError:
        """The error for a status of the Hub."""
        code = answer.headers.get("X-Error-Code", "")
        body = answer.body
        said = answer.headers.get("X-Error-Message") or (str(body.get("error", "")) if isinstance(body, dict) else "")
        said = " ".join("".join(sign if sign.isprintable() else " " for sign in said).split())[:200]
        page = f"{self._settings.endpoint}/{repository}" if repository else self._settings.endpoint
        if "Invalid credentials" in said:
            return GatedError("Hugging Face does not accept the token.", "Set HF_TOKEN to a valid one, or unset it.")
        if code == "GatedRepo":
            if answer.status == 401 or self._settings.token is None:
                return GatedError(
                    f"{repository} is gated: its files need the token of a user who was given access.",
                    f"Ask for access at {page}, then set HF_TOKEN.",
                )
            return GatedError(
                f"{repository} is gated, and the user of this token was not given access.", f"Ask for access at {page}"
            )
        if code in {"EntryNotFound", "RevisionNotFound"}:
            kind = "file" if code == "EntryNotFound" else "revision"
            return NotPublishedError(f"Hugging Face has no such {kind}: {what}.", f"See {page}")
        if answer.status in _HIDDEN:
            return NotPublishedError(
                f"Hugging Face shows no repository {repository or what}.",
                "Check the spelling (`workbench pull --search NAME`); for a private one set HF_TOKEN.",
            )
        if answer.status == 403:
            return GatedError(f"Hugging Face refuses {what}{f': {said}' if said else '.'}", f"See {page}")
        return PullError(f"Hugging Face cannot answer for {what} (HTTP {answer.status}){f': {said}' if said else '.'}")


def _file(entry: object) -> RemoteFile | None:
    """A file of a tree; None for folders and for paths that leave it."""
    if not isinstance(entry, dict) or entry.get("type") != "file":
        return None
    lfs = entry.get("lfs")
    big = lfs if isinstance(lfs, dict) else {}
    path, size, digest = entry.get("path"), big.get("size", entry.get("size")), big.get("oid", entry.get("oid"))
    if not (isinstance(path, str) and isinstance(size, int) and isinstance(digest, str)):
        return None
    return RemoteFile(path, size, digest) if is_safe_path(path) and _DIGEST.fullmatch(digest) else None


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
