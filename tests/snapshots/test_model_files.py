"""Pictures of the screens for model files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.snapshots.test_screens import SIZES, SnapCompare, program
from tests.ui.drive import press_keys, settle, until
from tests.ui.quantize.test_queue import SlowFiles
from workbench.core.cancel import CancelToken
from workbench.core.models import ModelEntry, Place
from workbench.engine.llama.quantize.quantizer import quantize
from workbench.gguf.header import Array
from workbench.gguf.inspect import ModelReport
from workbench.gguf.quantization import PlanListener, QuantizeJob, QuantizePlan
from workbench.gguf.targets import QUANT_TYPES, QuantType, TargetSize
from workbench.ui.app import WorkbenchApp
from workbench.ui.model_files.screens import compare_screen, inspect_screen
from workbench.ui.quantize.dialog import QuantizeDialog

WEIGHTS = 134_515_008


def model(quant: str, size: int, bits: float) -> ModelEntry:
    name, path = "SmolLM2-135M-Instruct", f"/models/SmolLM2-135M-Instruct-{quant}.gguf"
    places = (Place("/models", path, path), Place("lm studio", f"/lms/{quant}.gguf", path))
    return ModelEntry(path, name, quant, path, size, WEIGHTS, "llama", bits, 8192, "/models", places=places)


Q4, Q8 = model("Q4_1", 98_432_288, 5.74), model("Q8_0", 144_811_072, 8.51)
F16 = model("F16", 270_885_952, 16.0)


class PlacedFiles(SlowFiles):
    """Real files under names that are the same on every machine."""

    def __init__(self, real: dict[str | None, Path]) -> None:
        super().__init__()
        self._real = real

    async def inspect(self, path: Path) -> ModelReport:
        return await super().inspect(self._real[str(path)])

    async def array(self, path: Path, key: str) -> Array:
        return await super().array(self._real[str(path)], key)

    async def plan(
        self, source: Path, kinds: Sequence[QuantType], imatrix: Path | None, on_plan: PlanListener, cancel: CancelToken
    ) -> None:
        for kind in kinds:
            bits = kind.default.bits_per_weight
            size = TargetSize(round(WEIGHTS * bits / 8) + 1_800_000, 0, bits, 0)
            if kind.name == "Q1_0":
                on_plan(QuantizePlan(kind, None, "no tensor type fallback is defined for type q1_0"))
            else:
                on_plan(QuantizePlan(kind, size, fallbacks=3, needs_imatrix=kind.imatrix == "needed"))

    async def target_problem(self, job: QuantizeJob) -> str:
        return ""


@pytest.fixture(scope="module")
def q8(demo_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("q8") / "Q8_0.gguf"
    asyncio.run(quantize(QuantizeJob(demo_path, target, QUANT_TYPES["Q8_0"], allow_requantize=True)))
    return target


def on(files: PlacedFiles) -> WorkbenchApp:
    app, _ = program(files=files)
    return app


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (["1"], "overview"),
        (["2"], "metadata"),
        (["3", "slash", *"attn", "enter", "s", "down"], "tensors"),
        (["4"], "types"),
        (["5"], "template"),
        (["6"], "tokenizer"),
    ],
)
def test_inspect(snap_compare: SnapCompare, demo_path: Path, size: tuple[int, int], keys: list[str], name: str) -> None:
    app = on(PlacedFiles({Q4.path: demo_path}))

    async def steps(pilot: Pilot[None]) -> None:
        await settle(pilot)
        app.push_screen(inspect_screen(app.services, Q4))
        await settle(pilot)
        await press_keys(pilot, *keys)

    assert snap_compare(app, terminal_size=size, run_before=steps)


def test_an_array(snap_compare: SnapCompare, demo_path: Path) -> None:
    app = on(PlacedFiles({Q4.path: demo_path}))

    async def steps(pilot: Pilot[None]) -> None:
        await settle(pilot)
        app.push_screen(inspect_screen(app.services, Q4))
        await settle(pilot)
        await press_keys(pilot, "2", "slash", *"ggml.tokens", "enter", "enter")
        await press_keys(pilot, *"sky")

    assert snap_compare(app, terminal_size=(120, 36), run_before=steps)


@pytest.mark.parametrize("size", SIZES)
def test_an_odd_file(snap_compare: SnapCompare, tmp_path: Path, size: tuple[int, int]) -> None:
    from tests.gguf.conftest import write_model

    keys = {"tokenizer.chat_template": "{% if %}", "tokenizer.ggml.eos_token_id": 9000, ".rope.dimension_count": 7}
    path = write_model(tmp_path / "odd.gguf", keys=keys)
    app = on(PlacedFiles({Q4.path: path}))

    async def steps(pilot: Pilot[None]) -> None:
        await settle(pilot)
        app.push_screen(inspect_screen(app.services, Q4))
        await settle(pilot)

    assert snap_compare(app, terminal_size=size, run_before=steps)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", ["1", "2"])
def test_compare(snap_compare: SnapCompare, demo_path: Path, q8: Path, size: tuple[int, int], key: str) -> None:
    app = on(PlacedFiles({Q4.path: demo_path, Q8.path: q8}))

    async def steps(pilot: Pilot[None]) -> None:
        await settle(pilot)
        app.push_screen(compare_screen(app.services, Q4, Q8))
        await settle(pilot)
        await press_keys(pilot, key)

    assert snap_compare(app, terminal_size=size, run_before=steps)


@pytest.mark.parametrize("size", SIZES)
def test_quantize(snap_compare: SnapCompare, size: tuple[int, int]) -> None:
    app = on(PlacedFiles({}))

    async def steps(pilot: Pilot[None]) -> None:
        await settle(pilot)
        app.push_screen(QuantizeDialog(app.services, Q8, [Q8, F16]))
        await settle(pilot)

    assert snap_compare(app, terminal_size=size, run_before=steps)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keys", [pytest.param([], id="chat"), pytest.param(["ctrl+s"], id="list")])
def test_jobs(snap_compare: SnapCompare, size: tuple[int, int], keys: list[str]) -> None:
    files = PlacedFiles({})
    app = on(files)

    async def steps(pilot: Pilot[None]) -> None:
        await settle(pilot)
        source = Path(F16.path or "")
        for name in ("Q4_K_M", "Q6_K"):
            job = QuantizeJob(source, Path(f"/models/SmolLM2-135M-Instruct-{name}.gguf"), QUANT_TYPES[name])
            app.background.workshop.begin(job, F16.name)
        await until(pilot, lambda: bool(files.begun))
        app.chat.status.say("")
        app.background.workshop.jobs.look()
        await pilot.pause()
        await pilot.press(*keys)
        await pilot.pause()
        app.background.workshop.jobs.look()
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=steps)
