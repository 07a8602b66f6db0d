"""References to models of registries: `hf.co/USER/REPO:QUANT`, addresses of Hugging Face, `ollama:NAME:TAG`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import unquote, urlsplit

from workbench.core.errors import ParameterError
from workbench.gguf.names import SUFFIX
from workbench.library.ollama import PREFIX, OllamaName, parse_ollama_name

HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
MAIN = "main"
_PART = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")
_PULL_REQUEST = re.compile(r"refs/(?:pr|convert)/[^/]+")
_ROUTES = frozenset({"blob", "resolve", "raw", "tree"})
_OTHER_KINDS = frozenset({"datasets", "spaces", "papers", "collections", "docs", "models", "api"})
_FORMS = "Write hf.co/USER/REPO:QUANT, the address of a repository or file of Hugging Face, or ollama:NAME:TAG."


@dataclass(frozen=True, slots=True)
class HubRef:
    """A repository of Hugging Face, and which of its files."""

    repository: str
    """`USER/REPO`."""
    revision: str = MAIN
    path: str = ""
    """A file in it; empty for the one that `quant` names."""
    quant: str = ""
    """A quantization or the name of a file; empty for the default."""

    def __str__(self) -> str:
        rest = self.path or self.quant
        return f"hf.co/{self.repository}{f':{rest}' if rest else ''}"


def parse_pull_ref(text: str, mirror: str = "") -> HubRef | OllamaName:
    """Parse a reference; `mirror` is a further host that counts as Hugging Face's.

    Raises:
        ParameterError: It is none.
    """
    ref = text.strip()
    if ref.casefold().startswith(PREFIX):
        ref = ref[len(PREFIX) :]
        name = parse_ollama_name(ref)
        if name is None:
            raise _wrong(text, "it is not a name of Ollama")
        if name.host not in HOSTS:
            return name
    scheme, separator, rest = ref.partition("://")
    if separator and scheme.casefold() not in {"http", "https"}:
        raise _wrong(text, f"{scheme}:// is not supported")
    host, _, path = (rest if separator else ref).partition("/")
    if host.casefold() in HOSTS | {mirror.casefold()} - {""}:
        return _of_path(text, path if not separator else urlsplit(ref).path.lstrip("/"), decode=bool(separator))
    if separator:
        raise _wrong(text, f"{host} is not Hugging Face")
    if ref.count("/") != 1:
        raise _wrong(text)
    return _of_path(text, ref, decode=False)


def _of_path(text: str, path: str, *, decode: bool) -> HubRef:
    user, _, rest = path.strip("/").partition("/")
    if user in _OTHER_KINDS:
        raise _wrong(text, f"it names no model but something in {user}/")
    repo, _, rest = rest.partition("/")
    repo, _, quant = repo.partition(":")
    if rest and quant == "" and ":" in rest and rest.split("/")[0] not in _ROUTES:
        raise _wrong(text)
    if not (_PART.fullmatch(user) and _PART.fullmatch(repo)):
        raise _wrong(text, "USER/REPO is missing or not valid")
    repository = f"{user}/{repo}"
    if quant or not rest:
        return HubRef(repository, quant="/".join(filter(None, (quant, rest))))
    route, _, place = rest.partition("/")
    if route not in _ROUTES or not place:
        raise _wrong(text, "what follows USER/REPO is not understood")
    pull_request = _PULL_REQUEST.match(place)
    revision = pull_request[0] if pull_request else place.partition("/")[0]
    file = place[len(revision) :].strip("/")
    if decode:
        revision, file = unquote(revision), unquote(file)
    if route == "tree":
        return HubRef(repository, revision)
    if not is_safe_path(file) or not file.casefold().endswith(SUFFIX):
        raise _wrong(text, "it names no GGUF file")
    return HubRef(repository, revision, path=file)


def is_safe_path(path: str) -> bool:
    """Whether the path of a file in a repository stays below a folder, by the rules of POSIX and of Windows."""
    windows = PureWindowsPath(path)
    parts = {*PurePosixPath(path).parts, *windows.parts}
    rooted = path.startswith("/") or bool(windows.drive or windows.root)
    return bool(parts) and not rooted and ".." not in parts and path.isprintable()


def _wrong(text: str, why: str = "") -> ParameterError:
    return ParameterError(f"{text!r} is not a model of a registry{f': {why}' if why else ''}.", _FORMS)
