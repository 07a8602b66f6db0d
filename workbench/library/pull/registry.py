"""Ollama's registry: the files of a model, and what its manifest says beside them.

`GET /v2/{namespace}/{model}/manifests/{tag}`, then each layer at `…/blobs/{digest}`: a redirect to an address that
expires, or the bytes. Public models need no token.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.core.errors import DigestError, GatedError, ModelFileError, NotPublishedError, PullError
from workbench.core.recipe import Recipe
from workbench.core.servers import is_loopback
from workbench.gguf.names import SUFFIX, parse_name
from workbench.library.ollama import Manifest, OllamaName
from workbench.library.ollama_layers import MEDIA, read_layers
from workbench.library.pull.hub import Location
from workbench.library.pull.variants import RemoteFile
from workbench.library.pull.web import Web
from workbench.modelfile.meaning import Modelfile

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_FILES = {"model": "", "projector": "mmproj-", "adapter": "adapter-"}
"""Layers that are files, with the beginnings of their names, in the order in which they are fetched."""
_TEXTS = frozenset({"template", "prompt", "system", "params", "messages"})
_LARGEST_TEXT = 2**20
_OTHER_FORMS = frozenset({"tensor", "json"})


@dataclass(frozen=True, slots=True)
class OllamaModelFiles:
    """A model in the registry."""

    name: OllamaName
    files: tuple[RemoteFile, ...]
    """The weights, then what belongs to them."""
    recipe: Recipe
    """What the manifest says beside the weights."""

    @property
    def folder(self) -> str:
        """The name of a folder for it."""
        return self.files[0].path.removesuffix(SUFFIX)

    def modelfile(self) -> str:
        """The Modelfile that opens the weights with the rest, in their folder; empty where there is no rest.

        Raises:
            ModelfileError: A Modelfile cannot hold a value.
        """
        recipe = self.recipe
        if recipe == Recipe(notes=recipe.notes):
            return ""
        adapters = [file.path for file in self.files if file.path.startswith(_FILES["adapter"])]
        return Modelfile(
            bases=(f"./{self.files[0].path}",),
            adapter=f"./{adapters[0]}" if adapters else "",
            template=recipe.template,
            system=recipe.system,
            renderer=recipe.renderer,
            parser=recipe.parser,
            parameters=dict(recipe.parameters),
            messages=recipe.messages,
            comments=(f"{self.name}, from {self.name.host}",),
        ).text()


class OllamaRegistry:
    """Asks the registry that a name has as its host."""

    def __init__(self, web: Web) -> None:
        self._web = web

    async def model(self, name: OllamaName) -> OllamaModelFiles:
        """The files of a model and its recipe; templates and parameters are fetched here.

        Raises:
            WorkbenchError: The registry cannot be asked, does not have it, or it has no weights for llama.cpp.
        """
        raw, manifest = await self._manifest(name)
        listed = manifest.get("layers")
        layers = [layer for layer in listed if isinstance(layer, dict)] if isinstance(listed, list) else []
        kinds = {str(layer.get("mediaType", "")).removeprefix(MEDIA): layer for layer in reversed(layers)}
        if "model" not in kinds:
            form = "its weights are in safetensors format, which llama.cpp does not read"
            raise PullError(
                f"{name}: {form if kinds.keys() & _OTHER_FORMS else 'it has no weights (it may run in the cloud)'}.",
                "Get a GGUF of this model: workbench pull --search NAME",
            )
        with tempfile.TemporaryDirectory() as folder:
            # As in Ollama's own store, for the reader of that.
            store = Path(folder)
            (store / "blobs").mkdir()
            (store / "manifest").write_bytes(raw)
            config = manifest.get("config")
            texts = [layer for kind, layer in kinds.items() if kind in _TEXTS]
            for layer in [*texts, *([config] if isinstance(config, dict) else [])]:
                digest, data = await self._text(name, layer)
                (store / "blobs" / f"sha256-{digest}").write_bytes(data)
            try:
                _, recipe = read_layers(Manifest(name, store / "manifest", store))
            except ModelFileError:
                raise PullError(f"{name}: its manifest cannot be understood.", "Try `ollama pull`.") from None
            stem = _stem(name, store, config)
        files = tuple(
            RemoteFile(f"{prefix}{stem}{SUFFIX}", _size(kinds[kind]), _digest(name, kinds[kind]))
            for kind, prefix in _FILES.items()
            if kind in kinds
        )
        return OllamaModelFiles(name, files, recipe)

    async def locate(self, name: OllamaName, file: RemoteFile) -> Location:
        """Where a file is asked for; its redirect is followed by the download."""
        return Location(f"{_base(name)}/blobs/sha256:{file.digest}", {})

    async def _manifest(self, name: OllamaName) -> tuple[bytes, Mapping[str, object]]:
        url = f"{_base(name)}/manifests/{name.tag}"
        home = url.split("/v2/")[0] + "/"
        answer = await self._web.ask("GET", url, {"Accept": _MANIFEST}, lambda target: target.startswith(home))
        if answer.status in {401, 403}:
            raise GatedError(f"{name} is private, or does not exist.", f"Fetch it with Ollama: ollama pull {name}")
        if answer.status == 404:
            raise NotPublishedError(f"{name.host} has no model {name}.", "See https://ollama.com/search for names.")
        if answer.status != 200:
            raise PullError(f"{name.host} cannot answer for {name} (HTTP {answer.status}).", "Try again later.")
        if not isinstance(answer.body, dict):
            raise answer.page()
        return answer.content, answer.body

    async def _text(self, name: OllamaName, layer: Mapping[str, object]) -> tuple[str, bytes]:
        """The digest and the content of a small layer."""
        digest = _digest(name, layer)
        url = f"{_base(name)}/blobs/sha256:{digest}"
        # No header is secret here, so that any redirect may be followed.
        answer = await self._web.ask("GET", url, {}, lambda _: True, most=_LARGEST_TEXT)
        if answer.status != 200:
            raise PullError(f"{name.host} does not send a part of {name} (HTTP {answer.status}).", "Try again later.")
        if hashlib.sha256(answer.content).hexdigest() != digest:
            raise DigestError(f"{name}: a part of its recipe is not what the manifest says.", "Run the command again.")
        return digest, answer.content


def _base(name: OllamaName) -> str:
    scheme = "http" if is_loopback(f"http://{name.host}") else "https"
    return f"{scheme}://{name.host}/v2/{name.namespace}/{name.model}"


def _stem(name: OllamaName, store: Path, config: object) -> str:
    """The name of the file: model, tag, and the quantization where the tag does not state it."""
    stem = "-".join(filter(None, ("" if name.namespace == "library" else name.namespace, name.model, name.tag)))
    digest = _DIGEST.fullmatch(str(config.get("digest"))) if isinstance(config, dict) else None
    if parse_name(stem).quant or digest is None:
        return stem
    try:
        content = json.loads((store / "blobs" / f"sha256-{digest[1]}").read_bytes())
    except (OSError, ValueError, RecursionError):
        return stem
    stated = content.get("file_type") if isinstance(content, dict) else None
    quant = parse_name(stated).quant if isinstance(stated, str) else None
    return f"{stem}-{quant}" if quant else stem


def _digest(name: OllamaName, layer: Mapping[str, object]) -> str:
    found = _DIGEST.fullmatch(str(layer.get("digest")))
    if found is None:
        raise PullError(f"{name}: its manifest has a layer without a digest.", "Try `ollama pull`.")
    return found[1]


def _size(layer: Mapping[str, object]) -> int:
    size = layer.get("size")
    return size if isinstance(size, int) and size >= 0 else 0
