"""A library in memory: a catalog that tells what it finds step by step, and models that lie nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from tests.ui.fakes import FakeFiles
from workbench.core.models import LibraryView, ModelEntry, Naming, Place, ScanProblem
from workbench.core.recipe import Recipe
from workbench.gguf.fit import FitModel
from workbench.gguf.inspect import ModelReport


class FakeCatalog:
    """Tells its views one after the other; it waits before each one that is held back.

    Args:
        views: What it tells, the last one complete.
    """

    def __init__(self, *views: LibraryView) -> None:
        self.views: Sequence[LibraryView] = views
        self.told = 0
        """Views that were told so far, over all searches."""
        self.asked: list[bool] = []
        """Of each search whether it was to be a new one."""
        self._may = asyncio.Event()
        self._may.set()

    def hold(self) -> None:
        """Tell no view until `release`."""
        self._may.clear()

    def release(self) -> None:
        """Go on."""
        self._may.set()

    async def name_elsewhere(self, path: str, naming: Naming) -> str:
        return f"{naming} of {path}"

    async def find_recipe(self, ref: str) -> Recipe | None:
        return None

    async def models(self) -> Sequence[ModelEntry]:
        return self.views[-1].models if self.views else ()

    async def watch(self, *, again: bool = False) -> AsyncGenerator[LibraryView, None]:
        self.asked.append(again)
        for view in self.views:
            await self._may.wait()
            self.told += 1
            yield view


class NamedFiles(FakeFiles):
    """One real file under every name.

    Args:
        real: The file.
    """

    def __init__(self, real: Path) -> None:
        super().__init__()
        self._real = real
        self.read: list[str] = []
        """The names that were asked for."""

    async def fit_model(self, path: Path, adapter: Path | None = None) -> FitModel:
        self.read.append(str(path))
        return await super().fit_model(self._real, adapter)

    async def inspect(self, path: Path) -> ModelReport:
        return await super().inspect(self._real)


def file(name: str, quant: str, size: int, bits: float, *, folder: str = "/models", **more: object) -> ModelEntry:
    """A model in a folder."""
    path = f"{folder}/{name}-{quant}.gguf"
    given = {
        "architecture": "llama",
        "context_length": 8192,
        "parameters": 134_515_008,
        "tensor_quant": quant,
        "source": folder,
        "group": name.casefold(),
        "places": (Place(folder, path, path),),
        **more,
    }
    return ModelEntry(path, name, quant, path, size, bits_per_weight=bits, **given)  # type: ignore[arg-type]


def library() -> LibraryView:
    """What a user has: quantizations, several places, a file that is cut off, one whose label lies, a folder locked."""
    name = "SmolLM2-135M-Instruct"
    twice = (
        Place("ollama", "/home/ada/.ollama/models/blobs/sha256-d5e9", "ollama:smollm2:135m", "smollm2:135m"),
        Place("/models", f"/models/{name}-F16.gguf", f"/models/{name}-F16.gguf"),
    )
    qwen = {"architecture": "qwen2", "context_length": 32768, "parameters": 494_032_768}
    models = (
        file(name, "Q2_K", 88_201_600, 5.14, tensor_quant="Q4_0"),
        file(name, "Q4_K_M", 105_454_144, 6.17, tensor_quant="Q5_0"),
        file(name, "Q8_0", 144_811_072, 8.51),
        file(name, "F16", 270_885_952, 16.0, places=twice, source="ollama", digest="sha256:d5e9" + "0" * 60),
        file("Qwen2.5-0.5B-Instruct", "Q4_K_M", 397_807_936, 6.35, folder="/home/ada/qwen", **qwen),
        file(
            "Qwen2.5-0.5B-Instruct", "Q8_0", 397_807_968, 6.35, folder="/home/ada/qwen", tensor_quant="Q4_K",
            label_mismatch="The label says Q8_0, but most weights are Q4_K (6.4 bits).", **qwen,
        ),
        file(
            "Mistral-Nemo-Instruct-2407", "Q5_K_M", 4_100_000_000, 5.7, parameters=12_200_000_000,
            context_length=131072,
            problem="/models/Mistral-Nemo-Instruct-2407-Q5_K_M.gguf: truncated: 4628040000 bytes are missing.",
        ),
    )  # fmt: skip
    problems = (ScanProblem(Path("/mnt/nas/models"), "Permission denied"),)
    return LibraryView(models, problems, read=7, found=7, complete=True)
