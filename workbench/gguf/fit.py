"""What-if: a model at this context, with these cache types and so many layers on the GPUs; does it fit?

`FitModel` is made once for a file and keeps what does not change, so that a question is answered between two key
presses.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from workbench.core.parameters import LoadSettings
from workbench.gguf.compute import graph_widths
from workbench.gguf.header import Header
from workbench.gguf.memory import CELL_PADDING, CacheSettings, cache_bytes_by_layer
from workbench.gguf.model import get_int, get_text
from workbench.gguf.weights import host_weights_bytes, weights_by_layer

ALL_THAT_FIT = -1
"""The value of `gpu_layers` that leaves their number to be chosen."""

DEFAULT_CONTEXT = 8192
"""The context length where none is asked for, as far as the model was trained."""

UBATCH = 512
"""Prompt tokens in one graph at most, however large the batch; llama.cpp's default, and llama-bench's."""

LONGEST_CONTEXT = 2**20
"""How far a context is looked for where the file does not say for how long a one the model was trained."""


@dataclass(frozen=True, slots=True)
class FitQuestion:
    """How the model would be loaded."""

    n_ctx: int
    batch: int = 512
    """Tokens that are computed at once."""
    type_k: str = "f16"
    type_v: str = "f16"
    flash_attention: bool = True
    gpu_layers: int = ALL_THAT_FIT
    """Layers on the GPUs, the output counted as one; `ALL_THAT_FIT` for as many as fit."""
    mapped: bool = True
    """Whether the file is mapped into memory."""
    only_gpu: int | None = None
    """The place of the one GPU that is used; None for all of them."""


@dataclass(frozen=True, slots=True)
class DeviceRoom:
    """What is free on one device."""

    name: str
    free_bytes: int
    reserve_bytes: int = 0
    """What has to stay free there besides."""


@dataclass(frozen=True, slots=True)
class Room:
    """What is free on the machine."""

    host: DeviceRoom
    gpus: tuple[DeviceRoom, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """What a model would take of one device."""

    device: DeviceRoom
    weights_bytes: int = 0
    kv_bytes: int = 0
    compute_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes

    @property
    def fits(self) -> bool:
        """Whether there is room for it."""
        room = self.device.free_bytes - self.device.reserve_bytes
        return not self.total_bytes or self.total_bytes <= room


@dataclass(frozen=True, slots=True)
class Fit:
    """The answer: what it takes, device by device."""

    shares: tuple[Share, ...]
    """The host first."""
    gpu_layers: int
    """Layers on the GPUs."""

    @property
    def weights_bytes(self) -> int:
        """The weights, with the copies that are made of them and with the adapter."""
        return sum(share.weights_bytes for share in self.shares)

    @property
    def kv_bytes(self) -> int:
        """Keys and values, recurrent states included."""
        return sum(share.kv_bytes for share in self.shares)

    @property
    def compute_bytes(self) -> int:
        """What is computed in."""
        return sum(share.compute_bytes for share in self.shares)

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return sum(share.total_bytes for share in self.shares)

    @property
    def free_bytes(self) -> int:
        """What is free on the devices that it would be on."""
        return sum(share.device.free_bytes for share in self.shares if share.total_bytes)

    @property
    def fits(self) -> bool:
        """Whether every device has room for its share."""
        return all(share.fits for share in self.shares)


class FitModel:
    """A model to ask about.

    Args:
        headers: The headers of the file, one for each of its parts.
        repacked: Tensor types that the processor computes faster in another order, and that are copied for it.
        adapter: The header of the LoRA that is put on; None for none. llama.cpp copies it, it is never mapped.
    """

    def __init__(
        self, headers: Sequence[Header], repacked: Container[str] = frozenset(), adapter: Header | None = None
    ) -> None:
        self._metadata = headers[0].metadata
        self.adapter_bytes = adapter.tensor_bytes if adapter is not None else 0
        """What of the weights is the adapter's."""
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
        """The most that `gpu_layers` can be: every layer, and the output."""
        return len(self._sums) - 1

    @property
    def trained_context(self) -> int | None:
        """The longest context that the model was trained for, in tokens."""
        return get_int(self._metadata, f"{get_text(self._metadata, 'general.architecture')}.context_length")

    def question(self, load: LoadSettings) -> FitQuestion:
        """What has to fit where the model is loaded with these settings."""
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
        )

    def price(self, question: FitQuestion, room: Room) -> Fit:
        """What the model takes, loaded like this."""
        room = _used(question, room)
        caches = self._caches(question)
        layers = min(question.gpu_layers, self.layers) if room.gpus else 0
        if layers < 0:
            layers = self._most_layers(question, room, caches)
        return self._fit(question, room, caches, layers)

    def most_layers(self, question: FitQuestion, room: Room) -> int:
        """The most layers that fit on the GPUs with this context, the output counted as one."""
        room = _used(question, room)
        return self._most_layers(question, room, self._caches(question)) if room.gpus else 0

    def largest_context(self, question: FitQuestion, room: Room) -> int:
        """The longest context that fits, up to what the model was trained for; 0 where none does.

        With `ALL_THAT_FIT`, layers move from the GPUs to the host for it.
        """
        ceiling = self.trained_context or LONGEST_CONTEXT
        low, high = 0, max(1, -(-ceiling // CELL_PADDING))
        while low < high:
            middle = (low + high + 1) // 2
            if self.price(replace(question, n_ctx=middle * CELL_PADDING), room).fits:
                low = middle
            else:
                high = middle - 1
        return min(low * CELL_PADDING, ceiling)

    def _caches(self, question: FitQuestion) -> list[int]:
        """Bytes of the caches of the first layers, for any number of them."""
        return _sums(cache_bytes_by_layer(self._metadata, _settings(question)))

    def _most_layers(self, question: FitQuestion, room: Room, caches: Sequence[int]) -> int:
        low, high = 0, self.layers
        while low < high:
            middle = (low + high + 1) // 2
            if all(share.fits for share in self._fit(question, room, caches, middle).shares[1:]):
                low = middle
            else:
                high = middle - 1
        return low

    def _fit(self, question: FitQuestion, room: Room, caches: Sequence[int], layers: int) -> Fit:
        settings = _settings(question)
        tokens = min(settings.ubatch, settings.cells)
        compute = self._widths.bytes(tokens, settings.cells, flash_attention=question.flash_attention)
        if not layers:
            return Fit((Share(room.host, self._host_weights[question.mapped], caches[-1], compute),), 0)
        first, last = self.layers - layers, len(caches) - 1
        # With layers left here, a whole graph is computed here too; else only what goes in and comes out.
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


def _used(question: FitQuestion, room: Room) -> Room:
    """The devices that count for the question."""
    if question.only_gpu is None:
        return room
    return Room(room.host, room.gpus[question.only_gpu : question.only_gpu + 1])


def _sums(sizes: Iterable[int]) -> list[int]:
    """The sums of the first sizes, from none of them to all."""
    return [0, *accumulate(sizes)]


def _settings(question: FitQuestion) -> CacheSettings:
    return CacheSettings(
        n_ctx=question.n_ctx,
        type_k=question.type_k,
        type_v=question.type_v,
        ubatch=min(question.batch, UBATCH),
        # What the engine asks for: a cache of the window alone cannot go back to an earlier turn.
        full_window=True,
        flash_attention=question.flash_attention,
    )


def _ends(gpus: Sequence[DeviceRoom], layers: int) -> list[int]:
    """How many of the offloaded layers come to each GPU and those before it: by what is free, as llama.cpp does it."""
    free = [max(0, gpu.free_bytes) for gpu in gpus]
    total = sum(free) or 1
    return [*(-(-taken * layers // total) for taken in _sums(free)[1:-1]), layers]
