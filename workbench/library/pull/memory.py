"""Whether the quantizations of a repository fit in memory, known before any of them is fetched."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from workbench.core.parameters import LoadSettings
from workbench.gguf.fit import FitModel
from workbench.gguf.header import Header
from workbench.gguf.shares import DeviceRoom, Fit, Room
from workbench.gguf.targets import QUANT_TYPES
from workbench.library.pull.variants import Variant, without_prefix

LARGER_THAN_FILE = 1.1
"""Memory of a loaded model by the size of its file, where its header is not known."""


@dataclass(frozen=True, slots=True)
class MemoryNow:
    """What a model has to fit in."""

    room: Room
    repacked: Container[str]
    """The tensor types that llama.cpp repacks for this CPU."""
    load: LoadSettings
    """The settings with which models are loaded."""


@dataclass(frozen=True, slots=True)
class VariantMemory:
    """The memory of one quantization; the fields are those of `Offer`."""

    fits: bool
    needed_bytes: int
    largest_ctx: int | None
    estimated: bool
    bits_per_weight: float | None


def memory_of(
    variants: Sequence[Variant], known: Variant, header: Header | None, now: MemoryNow
) -> list[VariantMemory]:
    """The memory of each quantization: by `header`, that of the first file of `known`, or by size where it is None.

    The others differ from `known` by the size of their weights.
    """
    if header is not None:
        try:
            return _by_header(variants, known, header, now)
        except (ArithmeticError, LookupError, ValueError):
            # Its metadata contradict each other.
            pass
    free = now.room.host.free_bytes + sum(gpu.free_bytes for gpu in now.room.gpus)
    needs = [round(variant.size * LARGER_THAN_FILE) for variant in variants]
    return [
        VariantMemory(need <= free, need, None, estimated=True, bits_per_weight=_usual_bits(variant.label))
        for variant, need in zip(variants, needs, strict=True)
    ]


def _by_header(variants: Sequence[Variant], known: Variant, header: Header, now: MemoryNow) -> list[VariantMemory]:
    model = FitModel([header], now.repacked)
    question = model.question(now.load)
    fit = model.price(question, now.room)
    # The header of a part knows the weights of that part only.
    weights = sum(tensor.elements for tensor in header.tensors) if len(known.files) == 1 else 0
    found = []
    for variant in variants:
        more = variant.size - known.files[0].size
        less = _without(now.room, fit, more)
        bits = 8 * variant.size / weights if weights else _usual_bits(variant.label)
        scaled = model.price(question, less)
        largest = model.largest_context(question, less)
        exact = variant is known and more == 0
        found.append(VariantMemory(scaled.fits, fit.total_bytes + more, largest, not exact, bits))
    return found


def _usual_bits(label: str) -> float | None:
    """The bits per weight of most tensors, by the name of the quantization; None where it says nothing."""
    kind = QUANT_TYPES.get(without_prefix(label).upper())
    return None if kind is None else kind.default.bits_per_weight


def _without(room: Room, fit: Fit, more: int) -> Room:
    """The memory that is left where `more` bytes of weights are spread as those of `fit` are."""
    weights = {share.device.name: share.weights_bytes for share in fit.shares}

    def left(device: DeviceRoom) -> DeviceRoom:
        taken = more * weights.get(device.name, 0) // (fit.weights_bytes or 1)
        return replace(device, free_bytes=device.free_bytes - taken)

    return Room(left(room.host), tuple(map(left, room.gpus)))
