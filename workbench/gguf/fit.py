"""Calculation of whether a model fits into memory, for a context length, cache types and number of GPU layers.

`FitModel` is created once for a file and caches what does not depend on the question, so that an answer takes less
than the time between two key presses.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress

from workbench.core.memory import Correction
from workbench.core.parameters import LoadSettings
from workbench.gguf.cache_types import cache_refusal
from workbench.gguf.compute import graph_widths
from workbench.gguf.header import Header
from workbench.gguf.layers import layer_count
from workbench.gguf.memory import CELL_PADDING, CacheSettings, cache_bytes_by_layer, state_bytes_by_layer
from workbench.gguf.model import get_int, get_text
from workbench.gguf.placement import (
    ALL_LAYERS,
    LayerBytes,
    bytes_by_layer,
    devices_of_layers,
    is_expert,
    split_override,
)
from workbench.gguf.shares import Fit, Room, Share
from workbench.gguf.weights import INPUT, PlacedTensor, host_weights_bytes, mapped_extent, place_tensors

ALL_THAT_FIT = -1
"""The value of `gpu_layers` for as many as fit."""
DEFAULT_CONTEXT = 8192
"""The default context length, limited by the context that the model was trained for."""
OFFLOAD_TOKENS = 32
"""From this size of a batch on, llama.cpp copies weights of the host to a GPU to multiply by them there."""
BATCHES_AT_ONCE = 4
"""Batches that llama.cpp computes at the same time on several GPUs, each with inputs of its own."""
LONGEST_CONTEXT = 2**20
"""The longest context considered where the file does not state the trained one."""


@dataclass(frozen=True, slots=True)
class FitQuestion:
    """Load settings to evaluate."""

    n_ctx: int
    """Context length in tokens, of each sequence."""
    sequences: int = 1
    """Sequences that are computed together, each with a cache of its own."""
    ubatch: int = 512
    """Prompt tokens in one graph at most."""
    type_k: str = "f16"
    type_v: str = "f16"
    flash_attention: bool = True
    gpu_layers: int = ALL_THAT_FIT
    """Layers on the GPUs, the output counted as one; `ALL_THAT_FIT` for as many as fit."""
    mapped: bool = True
    """Whether the file is memory-mapped."""
    only_gpu: int | None = None
    """The index of the only GPU to use; None for all of them."""
    devices: tuple[str, ...] = ()
    """The names of the GPUs to use, in the order of `split`; empty for all."""
    split: tuple[float, ...] = ()
    """The shares of the GPUs in the layers; empty for those of their free memory."""
    cpu_experts: int = 0
    """Layers, from the first, whose experts stay on the host; `ALL_LAYERS` for every one."""
    overrides: tuple[str, ...] = ()
    """Patterns of tensor names with their devices, as `override_tensor`."""
    kv_on_gpus: bool = True
    """Whether the cache of a layer lies on its device; otherwise all caches lie on the host."""
    full_window: bool = False
    """Whether layers with a sliding window keep the whole context."""


class FitModel:
    """A model whose memory requirements are calculated, by the headers of its parts and of its LoRA adapter.

    `repacked` are the tensor types that llama.cpp repacks for this CPU.
    """

    def __init__(
        self, headers: Sequence[Header], repacked: Container[str] = frozenset(), adapter: Header | None = None
    ) -> None:
        self._metadata = headers[0].metadata
        self.architecture = get_text(self._metadata, "general.architecture") or ""
        self.correction: Correction = {}
        """The factors of every estimate."""
        self.adapter_bytes = adapter.tensor_bytes if adapter is not None else 0
        """The share of the adapter in the weights; llama.cpp copies adapters and never maps them."""
        self.tensors = place_tensors(headers, adapter)
        """The tensors of the model and of the adapter by layer."""
        self._layers = layer_count(self._metadata, self.architecture)
        self._parts: tuple[tuple[str, ...], list[LayerBytes]] = (), self._tally(())
        self.expert_layers = sum(part.experts > 0 for part in self._parts[1])
        """The number of layers with experts; 0 where the model has none."""
        self._states = state_bytes_by_layer(self._metadata)
        """Bytes of each layer's states for one sequence."""
        self._widths = graph_widths(self._metadata, (tensor for header in headers for tensor in header.tensors))
        self._host_weights = {
            mapped: host_weights_bytes(headers, repacked, mapped=mapped) + self.adapter_bytes
            for mapped in (True, False)
        }

    @property
    def layers(self) -> int:
        """The maximum of `gpu_layers`: all layers, and the output."""
        return self._layers + 1

    @property
    def has_states(self) -> bool:
        """Whether layers have only their latest state, so that no token can be taken back."""
        return any(self._states)

    @property
    def trained_context(self) -> int | None:
        """The longest context that the model was trained for, in tokens."""
        return get_int(self._metadata, f"{self.architecture}.context_length")

    def question(self, load: LoadSettings) -> FitQuestion:
        """The question for these load settings."""
        trained = self.trained_context
        return FitQuestion(
            n_ctx=load.num_ctx or min(trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT),
            ubatch=load.ubatch,
            type_k=load.type_k,
            type_v=load.type_v,
            flash_attention=load.flash_attn != "off",
            gpu_layers=load.num_gpu,
            mapped=load.is_mapped,
            only_gpu=load.main_gpu if load.split_mode == "none" else None,
            devices=load.devices,
            split=tuple(map(float, load.tensor_split)),
            cpu_experts=load.num_cpu_moe,
            overrides=load.override_tensor,
            kv_on_gpus=load.offload_kqv,
            full_window=load.swa_full,
            sequences=load.num_parallel,
        )

    def price(self, question: FitQuestion, room: Room) -> Fit:
        """The memory that the model needs with these settings."""
        room = _used(question, room)
        caches = self._caches(question)
        layers = min(question.gpu_layers, self.layers) if room.gpus else 0
        if layers < 0:
            layers = self._most_layers(question, room, caches)
        refusal = cache_refusal(
            self._metadata, question.type_k, question.type_v, flash_attention=question.flash_attention
        )
        return replace(self._fit(question, room, caches, layers), refusal=refusal)

    def mapped_bytes(self, question: FitQuestion, room: Room, layers: int) -> int:
        """The weights on the host as llama.cpp counts them, where it maps the file: with what lies between them."""
        room = _used(question, room)
        own = self._own(question, room, layers)
        rules = [(re.compile(pattern), device) for pattern, device in map(split_override, question.overrides)]
        gpus = {gpu.name for gpu in room.gpus}

        def on_host(tensor: PlacedTensor) -> bool:
            device = next((device for pattern, device in rules if pattern.search(tensor.name)), None)
            if device is not None:
                return device not in gpus
            experts = question.cpu_experts == ALL_LAYERS or tensor.layer < question.cpu_experts
            return tensor.layer == INPUT or not own[tensor.layer] or (experts and is_expert(tensor.name))

        return mapped_extent(filter(on_host, self.tensors))

    def full_window_bytes(self, question: FitQuestion) -> int:
        """The price of `full_window`: the bytes that it adds to the caches; 0 where no layer has a window."""
        full, window = (sum(self._caches(replace(question, full_window=each))) for each in (True, False))
        return full - window

    def most_layers(self, question: FitQuestion, room: Room) -> int:
        """The most layers that fit on the GPUs with this context; the output counts as one."""
        room = _used(question, room)
        return self._most_layers(question, room, self._caches(question)) if room.gpus else 0

    def largest_context(self, question: FitQuestion, room: Room) -> int:
        """The longest context that fits, limited by the trained one; 0 where none fits.

        With `ALL_THAT_FIT`, layers move from the GPUs to the host to make room.
        """
        ceiling = self.trained_context or LONGEST_CONTEXT
        pads = _largest(
            max(1, -(-ceiling // CELL_PADDING)),
            lambda count: self.price(replace(question, n_ctx=count * CELL_PADDING), room).fits,
        )
        return min(pads * CELL_PADDING, ceiling)

    def fewest_cpu_experts(self, question: FitQuestion, room: Room) -> int | None:
        """The fewest layers with their experts on the host with which all layers fit; None where that is not enough."""
        room = _used(question, room)
        if not room.gpus or not self.expert_layers:
            return None
        caches = self._caches(question)
        found = bisect_left(
            range(self._layers + 1),
            True,
            key=lambda count: self._fit(replace(question, cpu_experts=count), room, caches, self.layers).fits,
        )
        return found if found <= self._layers else None

    def _tally(self, overrides: tuple[str, ...]) -> list[LayerBytes]:
        return bytes_by_layer(self.tensors, self._layers, overrides)

    def _caches(self, question: FitQuestion) -> tuple[int, ...]:
        return cache_bytes_by_layer(self._metadata, _settings(question))

    def _most_layers(self, question: FitQuestion, room: Room, caches: Sequence[int]) -> int:
        return _largest(
            self.layers,
            lambda layers: all(share.fits for share in self._fit(question, room, caches, layers).shares[1:]),
        )

    def _fit(self, question: FitQuestion, room: Room, caches: Sequence[int], layers: int) -> Fit:
        settings = _settings(question)
        if not layers:
            weights = self._host_weights[question.mapped]
            inner = self._widths.bytes(settings)
            return self._corrected(
                [Share(room.host, weights, sum(caches), inner, question.sequences * sum(self._states))], 0
            )
        own = self._own(question, room, layers)
        placed = self._place(question, room, own)
        # Several GPUs work on different batches at the same time, where they have all layers as they come.
        whole = layers > self._layers and question.kv_on_gpus and not (question.overrides or question.cpu_experts)
        copies = BATCHES_AT_ONCE if whole and len(room.gpus) > 1 else 1
        found = []
        for index, device in enumerate((room.host, *room.gpus)):
            here = [index == (own[layer] if question.kv_on_gpus else 0) for layer in range(self._layers)]
            kept, states = sum(compress(caches, here)), question.sequences * sum(compress(self._states, here))
            if not index:
                # Small batches are computed there too, by weights that are there; otherwise it has only the inputs.
                widths = self._widths
                inner = (
                    widths.bytes(settings, output=False)
                    if placed.computed and settings.ubatch < OFFLOAD_TOKENS
                    else widths.host_bytes(settings, copies)
                )
                found.append(Share(device, placed.bytes[0], kept, inner, states))
                continue
            # The first GPU computes large batches of the host's layers too.
            helps = index == 1 and placed.computed > 0 and settings.ubatch >= OFFLOAD_TOKENS
            if helps or index in own or placed.bytes[index]:
                far = caches if not question.kv_on_gpus else caches[: own.count(0)] if helps else ()
                needed = self._widths.device_bytes(
                    settings,
                    layers=helps or index in own[:-1],
                    output=index == own[-1],
                    copies=copies,
                    weights=placed.computed * helps,
                    cache=max(far, default=0),
                )
                found.append(Share(device, placed.bytes[index], kept, needed if index in own or helps else 0, states))
        return self._corrected(found, layers)

    def _own(self, question: FitQuestion, room: Room, layers: int) -> list[int]:
        """The device of each layer and of the output: 0 is the host."""
        shares = question.split or [max(0, gpu.free_bytes) for gpu in room.gpus]
        return devices_of_layers(self._layers, layers, [*shares, *[0] * len(room.gpus)][: len(room.gpus)])

    def _corrected(self, shares: Iterable[Share], layers: int) -> Fit:
        return Fit(tuple(share.corrected(self.correction) for share in shares), layers)

    def _place(self, question: FitQuestion, room: Room, own: Sequence[int]) -> _Placed:
        """The weights by device, for layers and the output on the devices `own`."""
        if self._parts[0] != question.overrides:
            self._parts = question.overrides, self._tally(question.overrides)
        numbers = {device.name: index for index, device in enumerate(room.gpus, 1)}
        sizes, computed = [0] * (len(room.gpus) + 1), 0
        for layer, (part, device) in enumerate(zip(self._parts[1], (*own, 0), strict=True)):
            experts = 0 if question.cpu_experts == ALL_LAYERS or layer < question.cpu_experts else device
            sizes[device] += part.rest
            sizes[experts] += part.experts
            moved = [(numbers.get(name, 0), size) for name, size in part.moved.items()]
            for number, size in moved:
                sizes[number] += size
            multiplied = not device or (part.experts and not experts) or any(not number for number, _ in moved)
            # The input is looked up, not multiplied by.
            if multiplied and layer < len(own):
                computed = max(computed, part.largest)
        return _Placed(sizes, computed)


@dataclass(frozen=True, slots=True)
class _Placed:
    """The weights by device."""

    bytes: Sequence[int]
    """The host first."""
    computed: int
    """The bytes of the largest tensor on the host that is multiplied by; 0 for none."""


def _largest(high: int, fits: Callable[[int], bool]) -> int:
    """The largest number from 1 to `high` that fits, by binary search; 0 where none does."""
    return bisect_left(range(1, high + 1), True, key=lambda number: not fits(number))


def _used(question: FitQuestion, room: Room) -> Room:
    """The devices that the question allows."""
    by_name = {gpu.name: gpu for gpu in room.gpus}
    # llama.cpp deals shares in the order in which the devices are named.
    gpus = tuple(by_name[name] for name in question.devices if name in by_name) if question.devices else room.gpus
    return Room(room.host, gpus if question.only_gpu is None else gpus[question.only_gpu : question.only_gpu + 1])


def _settings(question: FitQuestion) -> CacheSettings:
    return CacheSettings(
        n_ctx=question.n_ctx * question.sequences,
        sequences=question.sequences,
        unified=question.sequences == 1,
        type_k=question.type_k,
        type_v=question.type_v,
        ubatch=question.ubatch,
        full_window=question.full_window,
        flash_attention=question.flash_attention,
    )
