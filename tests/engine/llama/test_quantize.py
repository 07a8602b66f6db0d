from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import gguf
import numpy as np
import psutil
import pytest

from tests.gguf_files import finish
from workbench.core.cancel import CancelToken
from workbench.core.errors import (
    CancelledError,
    DiskFullError,
    ImatrixError,
    ModelFileError,
    QuantizeError,
    RequantizeError,
    TargetError,
)
from workbench.engine.llama.quantize import target as quantize_target
from workbench.engine.llama.quantize.quantizer import WORKER, plan_quantizations, quantize
from workbench.gguf.quantization import QuantizeJob
from workbench.gguf.reader import read_header
from workbench.gguf.targets import QUANT_TYPES, find_quant_type
from workbench.processes import ChildProcess

WIDTH, FEED_FORWARD, LAYERS = 256, 512, 2

DIRECT = """
import sys
from workbench.engine.llama.bindings import llama_cpp as api
source, target, ftype = sys.argv[1:]
params = api.llama_model_quantize_default_params()
params.ftype, params.nthread = int(ftype), 2
sys.exit(api.llama_model_quantize(source.encode(), target.encode(), params))
"""


def write_source(path: Path, **split) -> Path:
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama", **split)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(1)
    tokens = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([2, 3, 3, *[6] * 256])

    def weights(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * 0.05).astype(np.float16)

    writer.add_tensor("token_embd.weight", weights(len(tokens), WIDTH))
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for name, rows, columns in (
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", WIDTH // 2, WIDTH),
            ("attn_v", WIDTH // 2, WIDTH),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_gate", FEED_FORWARD, WIDTH),
            ("ffn_up", FEED_FORWARD, WIDTH),
            ("ffn_down", WIDTH, FEED_FORWARD),
        ):
            writer.add_tensor(f"{block}{name}.weight", weights(rows, columns))
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{block}{name}.weight", np.ones(WIDTH, np.float32))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    finish(writer)
    return path


def matrices() -> dict[str, np.ndarray]:
    """How much each column matters, for every tensor that is quantized."""
    random = np.random.default_rng(2)
    names = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    return {
        f"blk.{layer}.{name}.weight": random.random(FEED_FORWARD if name == "ffn_down" else WIDTH).astype(np.float32)
        for layer in range(LAYERS)
        for name in names
    }


def write_imatrix(path: Path, values: dict[str, np.ndarray], count: int = 8) -> Path:
    writer = gguf.GGUFWriter(path, "")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["wiki.txt"])
    writer.add_uint32("imatrix.chunk_count", 3)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, columns in values.items():
        writer.add_tensor(f"{name}.in_sum2", columns[None, :] * count)
        writer.add_tensor(f"{name}.counts", np.full((1, 1), count, np.float32))
    finish(writer)
    return path


def write_old_imatrix(path: Path, values: dict[str, np.ndarray], count: int = 8) -> Path:
    data = struct.pack("<i", len(values))
    for name, columns in values.items():
        raw = name.encode()
        data += struct.pack("<i", len(raw)) + raw + struct.pack("<ii", count, len(columns))
        data += (columns * count).astype("<f4").tobytes()
    path.write_bytes(data + struct.pack("<ii", 3, 8) + b"wiki.txt")
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_source(tmp_path_factory.mktemp("source") / "Tiny-F16.gguf")


@pytest.fixture
def make(source, tmp_path):
    """Makes a quantization of the small model in an empty folder."""

    async def run(quant: str, source: Path = source, on_progress=lambda _: None, cancel=None, target=None, **job):
        target = target or tmp_path / "out" / f"Tiny-{quant}.gguf"
        target.parent.mkdir(exist_ok=True)
        return await quantize(QuantizeJob(source, target, find_quant_type(quant), **job), on_progress, cancel)

    return run


def tensor_data(path: Path) -> dict[str, bytes]:
    header = read_header(path)
    data = path.read_bytes()
    begin = header.data_offset
    return {t.name: data[begin + t.offset : begin + t.offset + t.size_bytes] for t in header.tensors}


async def test_the_file_is_the_one_that_llama_cpp_makes(make, source, tmp_path):
    kind = find_quant_type("q4_k_m")
    told = []
    result = await make("Q4_K_M", on_progress=told.append)
    expected = tmp_path / "expected.gguf"
    subprocess.run(
        [sys.executable, "-c", DIRECT, str(source), str(expected), str(kind.file_type)], check=True, capture_output=True
    )
    assert result.path.read_bytes() == expected.read_bytes()
    assert result.size_bytes == expected.stat().st_size
    header = read_header(result.path)
    elements = sum(tensor.elements for tensor in header.tensors)
    assert result.bits_per_weight == pytest.approx(8 * header.tensor_bytes / elements)
    assert 0 < result.native_seconds <= result.seconds
    assert [*result.path.parent.iterdir()] == [result.path]
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert (told[-1].fraction, told[-1].done) == (1.0, told[-1].total)
    assert told[-1].total == len(header.tensors)


async def test_the_dry_run_predicts_the_size(make, source):
    kinds = [QUANT_TYPES[name] for name in ("F32", "Q8_0", "Q2_K", "MXFP4_MOE", "TQ1_0")]
    for plan in await plan_quantizations(source, kinds):
        result = await make(plan.kind.name)
        assert read_header(result.path).tensor_bytes == plan.size.weights_bytes
        assert abs(plan.size.file_bytes - result.size_bytes) <= 100
        assert plan.size.bits_per_weight == pytest.approx(result.bits_per_weight)


async def test_every_type_has_a_size_or_a_reason(source):
    plans = await plan_quantizations(source, list(QUANT_TYPES.values()))
    assert [plan.kind for plan in plans] == list(QUANT_TYPES.values())
    assert all((plan.size is None) == bool(plan.problem) for plan in plans)
    sizes = {plan.kind.name: plan.size.file_bytes for plan in plans if plan.size}
    assert sizes["F32"] > sizes["Q8_0"] > sizes["Q6_K"] > sizes["Q4_K_M"] > sizes["Q2_K"] > sizes["IQ1_S"]
    needy = {plan.kind.name for plan in plans if plan.needs_imatrix}
    assert needy == {name for name, kind in QUANT_TYPES.items() if kind.imatrix == "needed"}


async def test_rows_that_do_not_fit_are_reported(short_demo):
    (plan,) = await plan_quantizations(short_demo, [QUANT_TYPES["Q4_K_M"]])
    assert plan.fallbacks == 24
    assert any("24 tensors" in warning for warning in plan.warnings)


async def test_a_type_that_cannot_be_made_is_refused(make, short_demo, tmp_path):
    with pytest.raises(QuantizeError, match="no tensor type fallback"):
        await make("Q1_0", source=short_demo, allow_requantize=True)
    assert not [*(tmp_path / "out").iterdir()]


async def test_a_split_source_becomes_one_file(make, tmp_path):
    write_source(tmp_path / "split.gguf", split_max_tensors=8)
    parts = sorted(tmp_path.glob("split-*.gguf"))
    assert len(parts) > 1
    (plan,) = await plan_quantizations(parts[0], [QUANT_TYPES["Q8_0"]])
    result = await make("Q8_0", source=parts[0])
    assert "split.count" not in read_header(result.path).metadata
    assert abs(plan.size.file_bytes - result.size_bytes) <= 200


@pytest.mark.parametrize("quant", ["IQ2_XXS", "IQ1_S", "Q2_K_S"])
async def test_a_type_that_needs_an_importance_matrix_says_so(make, tmp_path, quant):
    with pytest.raises(ImatrixError, match="without an importance matrix") as caught:
        await make(quant)
    assert "--imatrix" in caught.value.hint
    assert not [*(tmp_path / "out").iterdir()]


async def test_an_importance_matrix_of_either_form_counts(make, tmp_path):
    new = write_imatrix(tmp_path / "imatrix.gguf", matrices())
    old = write_old_imatrix(tmp_path / "imatrix.dat", matrices())
    first = await make("Q2_K_S", imatrix=new, target=tmp_path / "out" / "new.gguf")
    second = await make("Q2_K_S", imatrix=old, target=tmp_path / "out" / "old.gguf")
    assert tensor_data(first.path) == tensor_data(second.path)
    metadata = read_header(first.path).metadata
    assert metadata["quantize.imatrix.file"] == "imatrix.gguf"
    assert metadata["quantize.imatrix.dataset"] == "wiki.txt"
    assert metadata["quantize.imatrix.entries_count"] == len(matrices())
    assert metadata["quantize.imatrix.chunks_count"] == 3


async def test_the_values_of_an_importance_matrix_count(make, tmp_path):
    without = await make("Q4_K_S", target=tmp_path / "out" / "without.gguf")
    matrix = write_imatrix(tmp_path / "imatrix.gguf", matrices())
    with_it = await make("Q4_K_S", imatrix=matrix, target=tmp_path / "out" / "with.gguf")
    name = "blk.1.ffn_up.weight"
    assert tensor_data(without.path)[name] != tensor_data(with_it.path)[name]
    assert tensor_data(without.path)["token_embd.weight"] == tensor_data(with_it.path)["token_embd.weight"]


async def test_an_importance_matrix_of_another_model_is_refused(make, tmp_path):
    other = {name: columns[:64] for name, columns in matrices().items()}
    with pytest.raises(ImatrixError, match="64 values"):
        await make("Q4_K_M", imatrix=write_imatrix(tmp_path / "imatrix.gguf", other))
    with pytest.raises(ImatrixError, match="no such file"):
        await make("Q4_K_M", imatrix=tmp_path / "missing.gguf")


async def test_a_quantized_source_is_taken_only_where_that_is_allowed(make, tmp_path):
    first = await make("Q8_0")
    assert first.warnings == ()
    with pytest.raises(RequantizeError) as caught:
        await make("Q4_0", source=first.path)
    assert "--allow-requantize" in caught.value.hint
    second = await make("Q4_0", source=first.path, allow_requantize=True)
    assert any("already quantized" in warning for warning in second.warnings)


async def test_what_is_there_stays_there(make, source, tmp_path):
    target = tmp_path / "Tiny-Q8_0.gguf"
    target.write_text("mine")
    with pytest.raises(TargetError, match="something already"):
        await make("Q8_0", target=target)
    assert target.read_text() == "mine"
    dangling = tmp_path / "link.gguf"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(TargetError, match="something already"):
        await make("Q8_0", target=dangling)
    copy = shutil.copy(source, tmp_path / "copy.gguf")
    with pytest.raises(TargetError, match="the source itself"):
        await make("Q8_0", source=copy, target=copy)
    assert copy.read_bytes() == source.read_bytes()


async def test_a_file_that_comes_meanwhile_stays_there(make, tmp_path):
    target = tmp_path / "Tiny-Q8_0.gguf"
    with pytest.raises(TargetError, match="something already"):
        await make("Q8_0", target=target, on_progress=lambda _: target.write_text("mine"))
    assert target.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


@pytest.mark.parametrize(
    ("name", "match"), [("missing/Tiny.gguf", "no such folder"), (f"{'x' * 300}.gguf", "too long")]
)
async def test_a_place_that_cannot_be_written_is_refused(source, tmp_path, name, match):
    with pytest.raises(TargetError, match=match):
        await quantize(QuantizeJob(source, tmp_path / name, QUANT_TYPES["Q8_0"]))


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is permitted to root")
async def test_a_folder_without_permission_is_refused(make, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(TargetError, match="Permission denied"):
        await make("Q8_0", target=folder / "Tiny.gguf")


async def test_a_disk_without_room_is_noticed_before(make, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=quantize_target.SPARE_BYTES + 1000)
    monkeypatch.setattr(quantize_target.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DiskFullError, match="are needed there"):
        await make("Q8_0")
    assert not [*(tmp_path / "out").iterdir()]


async def test_a_write_that_fails_leaves_nothing(make, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(TargetError, match="writing it failed"):
            await make("Q8_0")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [*(tmp_path / "out").iterdir()]


async def test_a_disk_that_fills_up_meanwhile_is_named(make, tmp_path, monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    real, free = shutil.disk_usage(tmp_path), [10**12, 1000]
    monkeypatch.setattr(quantize_target.shutil, "disk_usage", lambda _: real._replace(free=free.pop(0)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(DiskFullError):
            await make("Q8_0")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [*(tmp_path / "out").iterdir()]


def workers():
    """The processes that quantize for this one; other tests have children of their own, such as servers."""
    return [child for child in psutil.Process().children() if WORKER in child.cmdline()]


async def test_stopping_leaves_nothing(make, tmp_path):
    cancel = CancelToken()
    with pytest.raises(CancelledError):
        await make("Q8_0", on_progress=lambda _: cancel.set(), cancel=cancel)
    assert not [*(tmp_path / "out").iterdir()]
    assert not workers()
    with pytest.raises(CancelledError):
        await make("Q8_0", cancel=cancel)


async def test_a_task_that_is_cancelled_leaves_nothing(make, tmp_path, demo_path):
    begun = asyncio.Event()
    job = make("F16", source=demo_path, allow_requantize=True, on_progress=lambda _: begun.set())
    task = asyncio.create_task(job)
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [*(tmp_path / "out").iterdir()]
    assert not workers()


async def test_an_aborted_process_is_an_error_and_leaves_nothing(make, tmp_path, demo_path):
    def abort(_) -> None:
        for child in workers():
            child.send_signal(signal.SIGABRT)

    with pytest.raises(QuantizeError, match="ended unexpectedly"):
        await make("F16", source=demo_path, allow_requantize=True, on_progress=abort)
    assert not [*(tmp_path / "out").iterdir()]


ORPHAN = """
import asyncio, sys
from pathlib import Path
from workbench.engine.llama.quantize.quantizer import quantize
from workbench.gguf.quantization import QuantizeJob
from workbench.gguf.targets import QUANT_TYPES
job = QuantizeJob(Path(sys.argv[1]), Path(sys.argv[2]), QUANT_TYPES["F32"], allow_requantize=True)
asyncio.run(quantize(job, lambda progress: print("begun", flush=True)))
"""


def test_a_program_that_dies_leaves_nothing(demo_path, tmp_path):
    command = [sys.executable, "-c", ORPHAN, str(demo_path), str(tmp_path / "Demo-F32.gguf")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout.readline() == b"begun\n"
        (worker,) = psutil.Process(program.pid).children()
        program.kill()
    worker.wait(20)
    deadline = time.monotonic() + 10
    while [*tmp_path.glob(".*.part")] and time.monotonic() < deadline:
        os.sched_yield()
    assert not [*tmp_path.iterdir()]


async def test_a_broken_source_is_refused(make, source, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(source.read_bytes()[:-1000])
    with pytest.raises(ModelFileError, match="truncated"):
        await make("Q8_0", source=broken)
    with pytest.raises(ModelFileError, match="no such file"):
        await make("Q8_0", source=tmp_path / "missing.gguf")


async def test_a_machine_that_starts_no_process_says_so(make, monkeypatch):
    def refuse(*_, **__):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("workbench.engine.llama.quantize.quantizer.ChildProcess", refuse)
    with pytest.raises(QuantizeError, match="temporarily unavailable"):
        await make("Q8_0")


async def test_the_worker_says_what_went_wrong_with_it(tmp_path):
    child = ChildProcess(WORKER)
    order = {"order": "plan", "source": str(tmp_path / "missing.gguf"), "types": [7], "imatrix": ""}
    (plan,) = [event async for event in child.ask(**order)]
    assert "missing.gguf" in plan["problem"]
    failed = await anext(child.ask())
    assert "KeyError" in failed["message"]
    # It ends of itself: closing its input before that would make it exit as orphaned.
    assert child.receive(20) is None
    assert child.close(20) == 0
