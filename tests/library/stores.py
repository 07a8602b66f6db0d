"""The stores of other programs, laid out as those programs do it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from workbench.core.models import ScanProblem
from workbench.library.folders import Found
from workbench.library.places import Places

FoundIn: TypeAlias = tuple[list[Found], list[ScanProblem]]
MEDIA = "application/vnd.ollama.image"


def finder(find: Callable[[Places], Iterable[Found | ScanProblem]]) -> Callable[[Places], FoundIn]:
    """What one kind of store has, as models and problems."""

    def found_in(places: Places) -> FoundIn:
        found = list(find(places))
        models = [item for item in found if isinstance(item, Found)]
        return models, [item for item in found if isinstance(item, ScanProblem)]

    return found_in


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class OllamaStore:
    """Ollama's folder of models."""

    root: Path

    def blob(self, data: bytes, separator: str = "-") -> Path:
        """Put a blob under the name of its content."""
        folder = self.root / "blobs"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"sha256{separator}{sha256(data)}"
        path.write_bytes(data)
        return path

    def layer(self, kind: str, data: bytes, *, there: bool = True) -> dict[str, object]:
        if there:
            self.blob(data)
        return {"mediaType": f"{MEDIA}.{kind}", "digest": f"sha256:{sha256(data)}", "size": len(data)}

    def manifest_path(self, name: str) -> Path:
        """The manifest of `host/namespace/model/tag`."""
        return self.root / "manifests" / name

    def add(
        self,
        name: str,
        weights: bytes | None = None,
        *,
        config: Mapping[str, object] | None = None,
        layers: Sequence[Mapping[str, object]] = (),
    ) -> Path:
        """Add the model `model/tag`, `namespace/model/tag` or `host/namespace/model/tag`; gives its manifest."""
        prefix = ("registry.ollama.ai/library/", "registry.ollama.ai/", "")[name.count("/") - 1]
        described = json.dumps({"model_format": "gguf", **(config or {})}).encode()
        self.blob(described)
        weighty = [] if weights is None else [self.layer("model", weights)]
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "digest": f"sha256:{sha256(described)}",
                "size": len(described),
            },
            "layers": [*weighty, *layers],
        }
        path = self.manifest_path(prefix + name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(manifest))
        return path


@dataclass(frozen=True)
class HuggingFaceCache:
    """The Hugging Face cache."""

    root: Path

    def repository(self, name: str) -> Path:
        return self.root / f"models--{name.replace('/', '--')}"

    def add(self, repository: str, name: str, data: bytes, *, commit: str = "c" * 40, branch: str = "main") -> Path:
        """Add a file of a snapshot; gives the link in the snapshot."""
        folder = self.repository(repository)
        blob = folder / "blobs" / sha256(data)
        link = folder / "snapshots" / commit / name
        for path in (blob, link, folder / "refs" / branch):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link.unlink(missing_ok=True)
        link.symlink_to(Path(*[".."] * (2 + name.count("/"))) / "blobs" / blob.name)
        if branch:
            (folder / "refs" / branch).write_text(commit)
        return link
