"""The models in Ollama's store: manifests that name blobs. Ollama need not run.

The store is only read: a running Ollama deletes blobs that no manifest names.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.core.models import Place, ScanProblem
from workbench.gguf.names import parameter_count, parse_name
from workbench.library.folders import (
    FileId,
    Finding,
    Found,
    ModelFile,
    file_id,
    listed,
    mode_of,
    read_each,
    read_small,
    reason,
    size_of,
    subfolders,
)
from workbench.library.places import Places

OLLAMA = "ollama"
PREFIX = "ollama:"
DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG = "registry.ollama.ai", "library", "latest"
SERVICE_FOLDERS = ("usr/share/ollama/.ollama/models", "var/lib/ollama/models", "var/lib/ollama/.ollama/models")
"""The model folders of system-wide installations, by Ollama's installer and by distributions."""

_MODEL = "application/vnd.ollama.image.model"
_ADAPTER = "application/vnd.ollama.image.adapter"
_OTHER_FORMS = frozenset({"application/vnd.ollama.image.tensor", "application/vnd.ollama.image.json"})
_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")


@dataclass(frozen=True, slots=True)
class OllamaName:
    """A model name of Ollama, in its parts."""

    host: str
    namespace: str
    model: str
    tag: str

    def __str__(self) -> str:
        """The form in which Ollama shows it: without the default host and namespace, always with the tag."""
        place = "" if self.namespace == DEFAULT_NAMESPACE else f"{self.namespace}/"
        if self.host != DEFAULT_HOST:
            place = f"{self.host}/{self.namespace}/"
        return f"{place}{self.model}:{self.tag}"

    @property
    def folded(self) -> OllamaName:
        """The name in lower case, for comparisons."""
        return OllamaName(self.host.casefold(), self.namespace.casefold(), self.model.casefold(), self.tag.casefold())


@dataclass(frozen=True, slots=True)
class Manifest:
    """A model in a store."""

    name: OllamaName
    path: Path
    store: Path


def parse_ollama_name(text: str) -> OllamaName | None:
    """Parse a name, from the right, and fill in defaults; None where it is not valid. Only a host may have a scheme."""
    rest = text
    cut = rest.rfind(":")
    tag = DEFAULT_TAG
    if cut > rest.rfind("/"):
        rest, tag = rest[:cut], rest[cut + 1 :]
    parts = rest.rsplit("/", 2)
    model = parts[-1]
    namespace = parts[-2] if len(parts) > 1 else DEFAULT_NAMESPACE
    host = parts[-3].partition("://")[2] or parts[-3] if len(parts) > 2 else DEFAULT_HOST
    name = OllamaName(host, namespace, model, tag)
    return name if _is_valid(name) else None


def _is_valid(name: OllamaName) -> bool:
    parts = (name.namespace, name.model, name.tag)
    return "." not in name.namespace and bool(_HOST.fullmatch(name.host)) and all(map(_PART.fullmatch, parts))


def ollama_stores(places: Places) -> Iterator[Path]:
    """The folders in which Ollama may keep models; they need not exist."""
    if (named := places.named("OLLAMA_MODELS")) is not None:
        yield named
    yield places.home / ".ollama" / "models"
    if places.platform == "linux":
        yield from (places.root / folder for folder in SERVICE_FOLDERS)


def go_templates(places: Places) -> bool | None:
    """Whether Ollama is configured to always, or never, use templates in Go's syntax; None for its own choice."""
    text = places.environ.get("OLLAMA_GO_TEMPLATE", "")
    # What is no boolean of Go counts as true.
    return text not in {"0", "f", "F", "FALSE", "false", "False"} if text else None


def find_ollama(places: Places) -> Iterator[Finding]:
    """Every model in Ollama's stores."""
    yield from read_each(manifests(places), lambda manifest: [read_manifest(manifest)], lambda manifest: manifest.path)


def manifests(places: Places) -> Iterator[Manifest | ScanProblem]:
    """Every manifest, by its path alone: four levels, which are host, namespace, model and tag."""
    seen: set[FileId] = set()
    for store in ollama_stores(places):
        root = store / "manifests"
        try:
            identity = file_id(root.stat())
        except FileNotFoundError:
            if store == places.named("OLLAMA_MODELS") and not mode_of(store):
                yield ScanProblem(store, "OLLAMA_MODELS names this folder, which does not exist")
            continue
        except OSError as error:
            yield ScanProblem(root, reason(error))
            continue
        if identity not in seen:
            seen.add(identity)
            yield from _below(root, store)


def _below(root: Path, store: Path) -> Iterator[Manifest | ScanProblem]:
    folders: list[Path] = [root]
    for _ in range(3):
        deeper: list[Path] = []
        for folder in folders:
            for item in subfolders(folder):
                if isinstance(item, ScanProblem):
                    yield item
                else:
                    deeper.append(item)
        folders = deeper
    for folder in folders:
        for item in listed(folder):
            if isinstance(item, ScanProblem):
                yield item
                continue
            name = OllamaName(folder.parent.parent.name, folder.parent.name, folder.name, item.name)
            if _is_valid(name) and stat.S_ISREG(mode_of(item)):
                yield Manifest(name, item, store)


def read_manifest(manifest: Manifest) -> Finding:
    """The model that a manifest describes, with the blob of its weights."""
    try:
        layers, config = layers_and_config(manifest)
    except ValueError:
        return ScanProblem(manifest.path, "this manifest of Ollama is damaged")
    except OSError as error:
        return ScanProblem(manifest.path, reason(error))
    weights = next((layer for layer in layers if layer.get("mediaType") == _MODEL), None)
    kinds = {kind for layer in layers if isinstance(kind := layer.get("mediaType"), str)}
    if weights is None:
        file, digest = ModelFile((), 0), None
        problem = _why_no_weights(config, bool(kinds & _OTHER_FORMS))
    elif _ADAPTER in kinds:
        # Its weights alone are another model, which must not be opened under this name.
        file, digest = ModelFile((), 0), None
        problem = f"it applies an adapter (LoRA) to a model. Open a Modelfile with the line: FROM {manifest.name}"
    else:
        digest = _hex(weights.get("digest"))
        if digest is None:
            return ScanProblem(manifest.path, "this manifest of Ollama is damaged")
        file, problem = _blob(manifest, digest)
    return Found(
        file=file,
        place=Place(
            OLLAMA, str(file.path) if file.paths else str(manifest.path), f"{PREFIX}{manifest.name}", str(manifest.name)
        ),
        name=str(manifest.name),
        quant=_quant(manifest.name.tag, config.get("file_type")),
        parameters=parameter_count(config.get("model_type")),
        digest=digest,
        problem=problem,
    )


def layers_and_config(manifest: Manifest) -> tuple[list[dict[str, object]], Mapping[str, object]]:
    """The layers that a manifest names, and its configuration, which is empty where it cannot be read.

    Raises an OSError where the manifest cannot be read, and a ValueError where it is damaged.
    """
    content = _read_json(manifest.path)
    layers = content.get("layers")
    if not isinstance(layers, list):
        raise ValueError("no layers")
    return [layer for layer in layers if isinstance(layer, dict)], _config(manifest, content.get("config"))


def blob_of(manifest: Manifest, layer: Mapping[str, object]) -> Path:
    """The file of a layer, which need not exist; raises a ValueError where the layer has no digest."""
    if (digest := _hex(layer.get("digest"))) is None:
        raise ValueError("a layer without a digest")
    return _blob(manifest, digest)[0].path


def _why_no_weights(config: Mapping[str, object], other_form: bool) -> str:
    host = config.get("remote_host")
    if host or config.get("remote_model"):
        return f"it runs in the cloud ({host or 'remote'}); there are no weights on this machine."
    if other_form:
        return "its weights are in safetensors format, which llama.cpp does not read. Get a GGUF of this model."
    return "its manifest names no weights."


def _blob(manifest: Manifest, digest: str) -> tuple[ModelFile, str]:
    blobs = manifest.store / "blobs"
    path = blobs / f"sha256-{digest}"
    try:
        return ModelFile((path,), path.stat().st_size), ""
    except OSError as error:
        # Very old stores use the name in the manifest, which Windows does not allow.
        old = blobs / f"sha256:{digest}"
        if mode_of(old):
            return ModelFile((old,), size_of(old)), ""
        if not isinstance(error, FileNotFoundError):
            return ModelFile((path,), 0), f"{reason(error)}: {path}"
    begun = mode_of(path.with_name(f"{path.name}-partial"))
    what = "the download was not finished" if begun else "its weights are missing from the store"
    return ModelFile((path,), 0, (path.name,)), f"incomplete: {what}. Run `ollama pull {manifest.name}`."


def _config(manifest: Manifest, layer: object) -> Mapping[str, object]:
    """The configuration of a model; empty where it cannot be read."""
    digest = _hex(layer.get("digest")) if isinstance(layer, dict) else None
    if digest is None:
        return {}
    for name in (f"sha256-{digest}", f"sha256:{digest}"):
        try:
            return _read_json(manifest.store / "blobs" / name)
        except (OSError, ValueError):
            continue
    return {}


def _read_json(path: Path) -> dict[str, object]:
    data = read_small(path)
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError(path) from None
    if not isinstance(value, dict):
        raise ValueError(path)
    return value


def _hex(digest: object) -> str | None:
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    return match[1].lower() if match else None


def _quant(tag: str, file_type: object) -> str | None:
    """The quantization by the tag, which the user sees, else by the configuration."""
    named = parse_name(tag).quant
    return named or (parse_name(file_type).quant if isinstance(file_type, str) else None)
