"""Checks on the samples of the meters: each is a plain function that yields the alarms that hold now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from workbench.core.models import EngineInfo
from workbench.core.telemetry import THROTTLE_WARNINGS, THROTTLE_WORDS, Alarm, GpuInfo, GpuSample, TelemetrySample
from workbench.core.units import GIB, MIB, size_text
from workbench.telemetry.doctor.gpus import gpu_name

THROTTLE_SAMPLES = 3
"""How many of the last `THROTTLE_WINDOW` samples must be throttled: a short dip is not reported."""
THROTTLE_WINDOW = 5
TAKEN_BYTES = GIB // 2
"""Memory that another process must take before it is reported."""
SHORT_SHARE = 0.10
"""The share of memory below which it is reported."""
SPILL_BYTES = GIB // 4
LEFT_SHARE = 0.01
"""The share of the weights on GPUs from which those left on the host are reported."""
FULL_SHARE = 0.95
SWAP_BYTES = 64 * MIB


def fewer_layers(info: EngineInfo | None, asked: int | None) -> Iterator[Alarm]:
    """Fewer layers on the GPU than `asked` for, as `LoadSettings.num_gpu`; -1 (as many as fit) is never too few.

    Also weights of such layers that llama.cpp has left on the host: it counts their layers as on the GPU.
    """
    if info is None or info.gpu_layers is None:
        return
    yield from _left_on_host(info)
    if asked is None or asked <= 0:
        return
    # The output counts as one more layer.
    wanted = asked if info.layers is None else min(asked, info.layers + 1)
    if info.gpu_layers >= wanted:
        return
    where = "the GPU" if info.gpu_layers else "any GPU"
    yield Alarm(
        "fewer-layers",
        "warning",
        f"{info.gpu_layers or 'None'} of the {wanted} requested layers are on {where}"
        f"{'' if info.gpu_layers else '; the CPU computes all of them'}.",
        "`workbench doctor` shows which GPUs this build of llama.cpp can use. A shorter context (num_ctx) or a "
        "smaller quantization leaves room for more layers.",
        info.model.ref,
    )


def _left_on_host(info: EngineInfo) -> Iterator[Alarm]:
    """Weights that were to be on GPUs and are not."""
    on_gpus = [
        sum(each.size_bytes for each in use.buffers if each.purpose == "weights" and each.device != "CPU")
        for use in (info.estimate, info.memory)
        if use is not None and use.buffers
    ]
    if len(on_gpus) == 2 and on_gpus[0] - on_gpus[1] > LEFT_SHARE * on_gpus[0]:
        yield Alarm(
            "left-on-host",
            "warning",
            f"{size_text(on_gpus[0] - on_gpus[1])} of the weights of the layers on the GPU are in the memory of the "
            "host: the GPU takes no tensor of their size or type.",
            "Another quantization may have tensors that it takes.",
            info.model.ref,
        )


def throttled(samples: Sequence[TelemetrySample]) -> Iterator[Alarm]:
    """GPUs that are throttled for a reason that indicates a fault; a power cap does not."""
    for sample in _latest_gpus(samples):
        window = [_gpu(each, sample.gpu.key) for each in samples[-THROTTLE_WINDOW:]]
        counts = Counter(reason for each in window if each is not None for reason in each.throttle or ())
        faults = [reason for reason in sample.throttle or () if reason in THROTTLE_WARNINGS]
        reasons = [reason for reason in faults if counts[reason] >= THROTTLE_SAMPLES]
        if not reasons:
            continue
        words = " and ".join(THROTTLE_WORDS[reason] for reason in reasons)
        heat = f" It is at {sample.temperature_c:.0f} °C." if sample.temperature_c is not None else ""
        yield Alarm(
            "throttling",
            "warning",
            f"{gpu_name(sample.gpu)} is {words}.{heat}",
            "Speeds measured now are too low. Check its airflow, its fans and its power cables.",
            sample.gpu.key,
        )


def spilled(samples: Sequence[TelemetrySample], info: EngineInfo | None) -> Iterator[Alarm]:
    """GPUs whose data has spilled into system memory, where access is many times slower."""
    measured = False
    for sample in _latest_gpus(samples):
        total, used = sample.memory_total, sample.memory_used
        if sample.gpu.unified or total is None or used is None or used < FULL_SHARE * total:
            continue
        before = filter(None, (_gpu(one, sample.gpu.key) for one in samples))
        lowest = min((each.spill_used for each in before if each.spill_used is not None), default=None)
        if lowest is None or sample.spill_used is None or sample.spill_used - lowest < SPILL_BYTES:
            continue
        measured = True
        yield _spill_alarm(sample.gpu, f"{size_text(sample.spill_used - lowest)} of its data")
    cards = [sample for sample in _latest_gpus(samples) if not sample.gpu.unified and sample.gpu.partition != "whole"]
    if measured or len(cards) != 1 or info is None or info.memory is None or info.memory.device == "CPU":
        return
    total = cards[0].memory_total
    if info.gpu_layers and info.layers is not None and info.gpu_layers > info.layers and total is not None:
        excess = (sum(info.memory.on_gpus.values()) or info.memory.total_bytes) - total
        if excess > SPILL_BYTES:
            yield _spill_alarm(cards[0].gpu, f"About {size_text(excess)} of the model")


def _spill_alarm(gpu: GpuInfo, what: str) -> Alarm:
    return Alarm(
        "spill",
        "warning",
        f"{what} spilled into system memory, because that of {gpu_name(gpu)} is full: access is much slower there.",
        "Choose a smaller quantization, a shorter context (num_ctx), or fewer layers on the GPU (num_gpu).",
        gpu.key,
    )


def memory_taken(samples: Sequence[TelemetrySample], settled_ns: int | None) -> Iterator[Alarm]:
    """GPUs on which another process takes the remaining memory; `samples` are oldest first.

    Since `settled_ns` this program's own use is constant: where the driver does not report the share of this process,
    any growth after that belongs to another one.
    """
    for sample in _latest_gpus(samples):
        if sample.gpu.unified or sample.memory_total is None or sample.memory_free is None:
            continue
        if sample.memory_free > SHORT_SHARE * sample.memory_total:
            continue
        others = [
            amount
            for one in samples
            if (each := _gpu(one, sample.gpu.key)) is not None
            and (amount := _others(each, settled=settled_ns is not None and one.at_ns >= settled_ns)) is not None
        ]
        if len(others) < 2 or others[-1] - min(others) < TAKEN_BYTES:
            continue
        yield Alarm(
            "memory-taken",
            "warning",
            f"Another program has taken {size_text(others[-1] - min(others))} of {gpu_name(sample.gpu)}'s memory; "
            f"{size_text(sample.memory_free)} is free.",
            "Type: nvidia-smi (it lists the programs)" if sample.gpu.source == "nvml" else "",
            sample.gpu.key,
        )


def _others(sample: GpuSample, *, settled: bool) -> int | None:
    """Memory of other programs, or a figure that differs from it by a constant."""
    if sample.memory_used is None:
        return None
    if sample.memory_own is not None:
        return max(0, sample.memory_used - sample.memory_own)
    return sample.memory_used if settled else None


def swapping(samples: Sequence[TelemetrySample], *, decoding: bool) -> Iterator[Alarm]:
    """Swap that grows during an answer, by the samples since its start: the model does not fit."""
    used = [
        one.host.swap_used_bytes for one in samples if one.host is not None and one.host.swap_used_bytes is not None
    ]
    if not decoding or len(used) < 2 or used[-1] - min(used) < SWAP_BYTES:
        return
    yield Alarm(
        "swapping",
        "warning",
        f"The system has swapped out {size_text(used[-1] - min(used))} during this answer: "
        "memory is full, and every token waits for the disk.",
        "Close other programs, or choose a smaller quantization or a shorter context (num_ctx).",
    )


def _latest_gpus(samples: Sequence[TelemetrySample]) -> Sequence[GpuSample]:
    return samples[-1].gpus if samples else ()


def _gpu(sample: TelemetrySample, key: str) -> GpuSample | None:
    return next((each for each in sample.gpus if each.gpu.key == key), None)
