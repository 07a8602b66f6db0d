"""Calculation of whether a model fits into memory, for a context length, cache types and number of GPU layers.

`FitModel` is created once for a file and caches what does not depend on the question, so that an answer takes less
than the time between two key presses.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from workbench.core.errors import ModelLoadError
from workbench.core.parameters import LoadSettings
from workbench.gguf.cache_types import cache_refusal
from workbench.gguf.compute import graph_widths
from workbench.gguf.header import Header
from workbench.gguf.memory import CELL_PADDING, CacheSettings, cache_bytes_by_layer
from workbench.gguf.model import get_int, get_text
from workbench.gguf.weights import host_weights_bytes, weights_by_layer

ALL_THAT_FIT = -1
"""The value of `gpu_layers` for as many as fit."""
DEFAULT_CONTEXT = 8192
"""The default context length, limited by the context that the model was trained for."""
UBATCH = 512
"""Prompt tokens in one graph at most, for any batch size; the default of llama.cpp and llama-bench."""
LONGEST_CONTEXT = 2**20
"""The longest context considered where the file does not state the trained one."""


@dataclass(frozen=True, slots=True)
class FitQuestion:
    """Load settings to evaluate."""

    n_ctx: int
    batch: int = 512
    """Tokens computed at once."""
    type_k: str = "f16"
    type_v: str = "f16"
    flash_attention: bool = True
    gpu_layers: int = ALL_THAT_FIT
    """Layers on the GPUs, the output counted as one; `ALL_THAT_FIT` for as many as fit."""
    mapped: bool = True
    """Whether the file is memory-mapped."""
    only_gpu: int | None = None
    """The index of the only GPU to use; None for all of them."""
    full_window: bool = False
    """Whether layers with a sliding window keep the whole context."""


@dataclass(frozen=True, slots=True)
class DeviceRoom:
    """The free memory of one device."""

    name: str
    free_bytes: int
    reserve_bytes: int = 0
    """Memory that must stay free there."""


@dataclass(frozen=True, slots=True)
class Room:
    """The free memory of the machine."""

    host: DeviceRoom
    gpus: tuple[DeviceRoom, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """The memory that a model needs on one device."""

    device: DeviceRoom
    weights_bytes: int = 0
    kv_bytes: int = 0
    compute_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """The sum."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes

    @property
    def fits(self) -> bool:
        """Whether the device has enough free memory."""
        room = self.device.free_bytes - self.device.reserve_bytes
        return not self.total_bytes or self.total_bytes <= room


@dataclass(frozen=True, slots=True)
class Fit:
    """The memory that a model needs, by device."""

    shares: tuple[Share, ...]
    """The host first."""
    gpu_layers: int
    """Layers on the GPUs."""
    refusal: ModelLoadError | None = None
    """Why llama.cpp does not load the model with these settings, whatever the memory."""

    @property
    def weights_bytes(self) -> int:
        """The weights, including repacked copies and the adapter."""
        return sum(share.weights_bytes for share in self.shares)

    @property
    def kv_bytes(self) -> int:
        """Keys and values, recurrent states included."""
        return sum(share.kv_bytes for share in self.shares)

    @property
    def compute_bytes(self) -> int:
        """The compute buffers."""
        return sum(share.compute_bytes for share in self.shares)

    @property
    def total_bytes(self) -> int:
        """The sum."""
        return sum(share.total_bytes for share in self.shares)

    @property
    def free_bytes(self) -> int:
        """The free memory of the devices used."""
        return sum(share.device.free_bytes for share in self.shares if share.total_bytes)

    @property
    def fits(self) -> bool:
        """Whether the model is loaded with these settings, and every device has enough free memory for its share."""
        return self.refusal is None and all(share.fits for share in self.shares)


class FitModel:
    """A model whose memory requirements are calculated, by the headers of its parts and of its LoRA adapter.

    `repacked` are the tensor types that llama.cpp repacks for this CPU.
    """

    def __init__(
        self, headers: Sequence[Header], repacked: Container[str] = frozenset(), adapter: Header | None = None
    ) -> None:
        self._metadata = headers[0].metadata
        self.adapter_bytes = adapter.tensor_bytes if adapter is not None else 0
        """The share of the adapter in the weights; llama.cpp copies adapters and never maps them."""
        weights = weights_by_layer(headers, adapter)
        self._input = weights.input
        self._sums = _sums([*weights.layers, weights.output])
        self._widths = graph_widths(self._metadata)
        self._host_weights = {
            mapped: host_weights_bytes(headers, repacked, mapped=mapped) + self.adapter_bytes
            for mapped in (True, False)
        }

    @property
    def layers(self) -> int:
        """The maximum of `gpu_layers`: all layers, and the output."""
        return len(self._sums) - 1

    @property
    def trained_context(self) -> int | None:
        """The longest context that the model was trained for, in tokens."""
        return get_int(self._metadata, f"{get_text(self._metadata, 'general.architecture')}.context_length")

    def question(self, load: LoadSettings) -> FitQuestion:
        """The question for these load settings."""
        trained = self.trained_context
        return FitQuestion(
            n_ctx=load.num_ctx or min(trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT),
            batch=load.num_batch,
            type_k=load.type_k,
            type_v=load.type_v,
            flash_attention=load.flash_attn != "off",
            gpu_layers=load.num_gpu,
            mapped=load.use_mmap,
            only_gpu=load.main_gpu if load.split_mode == "none" else None,
            full_window=load.swa_full,
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

    def full_window_bytes(self, question: FitQuestion) -> int:
        """The price of `full_window`: the bytes that it adds to the caches; 0 where no layer has a window."""
        full, window = (_settings(replace(question, full_window=each)) for each in (True, False))
        return sum(cache_bytes_by_layer(self._metadata, full)) - sum(cache_bytes_by_layer(self._metadata, window))

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

    def _caches(self, question: FitQuestion) -> list[int]:
        return _sums(cache_bytes_by_layer(self._metadata, _settings(question)))

    def _most_layers(self, question: FitQuestion, room: Room, caches: Sequence[int]) -> int:
        return _largest(
            self.layers,
            lambda layers: all(share.fits for share in self._fit(question, room, caches, layers).shares[1:]),
        )

    def _fit(self, question: FitQuestion, room: Room, caches: Sequence[int], layers: int) -> Fit:
        settings = _settings(question)
        tokens = min(settings.ubatch, settings.cells)
        compute = self._widths.bytes(tokens, settings.cells, flash_attention=question.flash_attention)
        if not layers:
            return Fit((Share(room.host, self._host_weights[question.mapped], caches[-1], compute),), 0)
        first, last = self.layers - layers, len(caches) - 1
        # With layers on the host, a whole graph is computed there too; otherwise only input and output.
        host_compute = compute if first else self._widths.host_bytes(tokens, settings.cells)
        shares = [Share(room.host, self._input + self._sums[first], caches[first], host_compute)]
        begin = first
        for gpu, end in zip(room.gpus, _ends(room.gpus, layers), strict=True):
            if first + end > begin:
                weights = self._sums[first + end] - self._sums[begin]
                # The output has no cache.
                kept = caches[min(first + end, last)] - caches[min(begin, last)]
                shares.append(Share(gpu, weights, kept, compute))
                begin = first + end
        return Fit(tuple(shares), layers)


def _largest(high: int, fits: Callable[[int], bool]) -> int:
    """The largest number from 1 to `high` that fits, by binary search; 0 where none does."""
    return bisect_left(range(1, high + 1), True, key=lambda number: not fits(number))


def _used(question: FitQuestion, room: Room) -> Room:
    """The devices that the question allows."""
    if question.only_gpu is None:
        return room
    return Room(room.host, room.gpus[question.only_gpu : question.only_gpu + 1])


def _sums(sizes: Iterable[int]) -> list[int]:
    """Cumulative sums, starting with 0."""
    return [0, *accumulate(sizes)]


def _settings(question: FitQuestion) -> CacheSettings:
    return CacheSettings(
        n_ctx=question.n_ctx,
        type_k=question.type_k,
        type_v=question.type_v,
        ubatch=min(question.batch, UBATCH),
        full_window=question.full_window,
        flash_attention=question.flash_attention,
    )


def _ends(gpus: Sequence[DeviceRoom], layers: int) -> list[int]:
    """Cumulative numbers of layers by GPU, in proportion to free memory, as llama.cpp splits them."""
    free = [max(0, gpu.free_bytes) for gpu in gpus]
    total = sum(free) or 1
    return [*(-(-taken * layers // total) for taken in _sums(free)[1:-1]), layers]
