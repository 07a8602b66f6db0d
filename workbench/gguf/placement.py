"""On which device the tensors of a model lie: their layer's, unless a pattern or the place of the experts says another.

The patterns are those of llama.cpp's options `--override-tensor`, `--cpu-moe` and `--n-cpu-moe`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate

from workbench.core.errors import ParameterError
from workbench.core.load_settings import LoadSettings
from workbench.gguf.weights import PlacedTensor

HOST = "CPU"
"""llama.cpp's name of the memory of the host."""
ALL_LAYERS = -1
"""The value of `num_cpu_moe` for every layer."""
_EXPERTS = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
_IS_EXPERTS = re.compile(_EXPERTS)


def override_rules(load: LoadSettings) -> tuple[tuple[str, str], ...]:
    """The patterns for llama.cpp with the device of each; the first match counts, so those of the user come first."""
    layers = range(max(0, load.num_cpu_moe))
    experts = [_EXPERTS] if load.num_cpu_moe == ALL_LAYERS else [rf"blk\.{layer}{_EXPERTS}" for layer in layers]
    return (*map(split_override, load.override_tensor), *((pattern, HOST) for pattern in experts))


def split_override(override: str) -> tuple[str, str]:
    """The pattern and the device of an override."""
    pattern, _, device = override.partition("=")
    return pattern, device


def idle_overrides(overrides: Iterable[str], tensors: Sequence[PlacedTensor]) -> tuple[str, ...]:
    """The overrides that match no tensor."""
    return tuple(
        override
        for override in overrides
        if not any(re.search(split_override(override)[0], tensor.name) for tensor in tensors)
    )


def check_devices(load: LoadSettings, devices: Sequence[str]) -> None:
    """See that the settings name only GPUs that are there, and no more shares than GPUs.

    Raises:
        ParameterError: They name others.
    """
    there = f"Of those here, it takes {', '.join(devices)}."
    for device in load.devices:
        if device not in devices:
            raise ParameterError(f"devices: there is no GPU {device!r}.", there)
    used = load.devices or devices
    if len(load.tensor_split) > len(used):
        raise ParameterError(
            f"tensor_split has {len(load.tensor_split)} shares for {len(used)} GPU{'s' * (len(used) != 1)}.",
            f"Give one share each for {', '.join(used)}.",
        )
    for pattern, device in map(split_override, load.override_tensor):
        if device not in (HOST, *used):
            raise ParameterError(
                f"override_tensor: there is no device {device!r} for {pattern!r}.",
                f"It takes {', '.join((HOST, *used))}.",
            )


@dataclass(slots=True)
class LayerBytes:
    """The bytes of one layer's tensors."""

    rest: int = 0
    """What goes to the device of the layer."""
    experts: int = 0
    """The same of the experts, which can stay on the host."""
    moved: dict[str, int] = field(default_factory=dict)
    """What overrides put on other devices, by their names."""
    largest: int = 0
    """The largest tensor."""


def is_expert(name: str) -> bool:
    """Whether a tensor is one of experts, by its name."""
    return _IS_EXPERTS.search(name) is not None


def bytes_by_layer(tensors: Iterable[PlacedTensor], layers: int, overrides: Sequence[str]) -> list[LayerBytes]:
    """The tensors of each layer, of the output after them, and of the input as the last."""
    found = [LayerBytes() for _ in range(layers + 2)]
    rules = [(re.compile(pattern), device) for pattern, device in map(split_override, overrides)]
    for tensor in tensors:
        layer = found[tensor.layer]
        layer.largest = max(layer.largest, tensor.size_bytes)
        device = next((device for pattern, device in rules if pattern.search(tensor.name)), None)
        if device is not None:
            layer.moved[device] = layer.moved.get(device, 0) + tensor.size_bytes
        elif is_expert(tensor.name):
            layer.experts += tensor.size_bytes
        else:
            layer.rest += tensor.size_bytes
    return found


def devices_of_layers(layers: int, on_gpus: int, shares: Sequence[float]) -> list[int]:
    """The device of each layer and of the output: 0 is the host, 1 the first GPU.

    The last `on_gpus` are dealt to the GPUs in order, in proportion to `shares`, as llama.cpp does.
    """
    whole = [Fraction(share) for share in shares]
    total = sum(whole)
    ends = [end / total for end in accumulate(whole)] if total else [Fraction(1)] * len(whole)
    host = layers + 1 - on_gpus
    return [0] * host + [
        min(bisect_right(ends, Fraction(index, on_gpus)), len(shares) - 1) + 1 for index in range(on_gpus)
    ]
