"""Checks a LoRA adapter against llama.cpp's assertions, and against failures that only appear while computing.

For each tensor that an adapter changes, it has a pair of small matrices, `NAME.lora_a` and `NAME.lora_b`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from workbench.core.errors import ModelFileError
from workbench.gguf.header import Header, TensorInfo
from workbench.gguf.reader import read_header
from workbench.gguf.types import ValueType

LORA_TYPES = frozenset({"F32", "F16", "BF16", "Q8_0"})
"""The tensor types that converters write to adapters."""

_TEXTS = ("general.type", "general.architecture", "adapter.type")
_EMBEDDINGS, _OUTPUT = "token_embd.weight", "output.weight"
_INVOCATION = "adapter.alora.invocation_tokens"
_OTHER_MODEL = "Use the model that it was made for."
_DAMAGED = "The file is damaged, or was converted wrongly: convert it again with llama.cpp's convert_lora_to_gguf.py."


def check_adapter(path: Path, model: Sequence[Header]) -> Header:
    """Check that llama.cpp will apply the adapter at `path` to a model, and not abort the process; its header.

    Raises:
        ModelFileError: It cannot be read, is not a LoRA adapter, or does not fit the model.
    """
    header = read_header(path)
    _AdapterCheck(path, header, model).run()
    return header


class _AdapterCheck:
    def __init__(self, path: Path, header: Header, model: Sequence[Header]) -> None:
        self._path = path
        self._header = header
        self._model = model

    def _fail(self, what: str, hint: str = _DAMAGED) -> NoReturn:
        raise ModelFileError(f"{self._path}: {what}.", hint)

    def run(self) -> None:
        """All checks, those with the clearest reasons first."""
        self._kind()
        weights = {tensor.name: tensor for header in self._model for tensor in header.tensors}
        for name, (first, second) in self._pairs().items():
            self._pair(name, first, second, weights)

    def _kind(self) -> None:
        metadata, types = self._header.metadata, self._header.value_types
        for key in _TEXTS:
            if key in types and types[key] is not ValueType.STRING:
                self._fail(f"its {key!r} is not a string")
        if metadata.get("general.type") != "adapter" or metadata.get("adapter.type") != "lora":
            self._fail("this is not a LoRA adapter", "Name a GGUF file of the type adapter.")
        alpha = "adapter.lora.alpha"
        if alpha in types and types[alpha] is not ValueType.FLOAT32:
            self._fail(f"its {alpha!r} is not of the type F32")
        if _INVOCATION in metadata:
            self._fail(
                "this adapter is activated by tokens in the text (aLoRA), which is unsupported", "Use a plain LoRA."
            )
        made_for = metadata.get("general.architecture")
        architecture = self._model[0].metadata.get("general.architecture")
        if made_for != architecture:
            self._fail(
                f"it was made for {made_for!r}, and the architecture of the model is {architecture!r}", _OTHER_MODEL
            )

    def _pairs(self) -> Mapping[str, tuple[TensorInfo, TensorInfo]]:
        halves: dict[str, dict[str, TensorInfo]] = {}
        for tensor in self._header.tensors:
            name, _, half = tensor.name.rpartition(".")
            if half in ("lora_a", "lora_b"):
                halves.setdefault(name, {})[half] = tensor
            elif not tensor.name.endswith("_norm.weight"):
                self._fail(f"it holds the tensor {tensor.name!r}, which is not part of a LoRA")
        for name, found in halves.items():
            if len(found) != 2:
                self._fail(f"one of the two matrices for {name!r} is missing")
        if not halves:
            self._fail("it has no matrices")
        return {name: (found["lora_a"], found["lora_b"]) for name, found in halves.items()}

    def _pair(self, name: str, first: TensorInfo, second: TensorInfo, weights: Mapping[str, TensorInfo]) -> None:
        for half in (first, second):
            if half.type.name not in LORA_TYPES:
                self._fail(f"the tensor {half.name!r} has the type {half.type.name}, which adapters cannot have")
        if name not in weights:
            self._fail(f"the model has no tensor {name!r}", _OTHER_MODEL)
        if name == _EMBEDDINGS and _OUTPUT not in weights:
            # llama.cpp would swap the matrices, and abort the process.
            self._fail(
                "it changes the token embeddings, which this model also uses for its output",
                "llama.cpp cannot apply such an adapter: make it again without the embeddings.",
            )
        whole, low, high = (_four(tensor) for tensor in (weights[name], first, second))
        if name.endswith("token_embd.weight"):
            # Rows of the first matrix are looked up by token.
            fits = (low[1], high[1], low[0]) == (whole[1], whole[0], high[0])
        else:
            fits = (low[0], high[1], low[1]) == (whole[0], whole[1], high[0])
        if not fits or not low[2:] == high[2:] == whole[2:]:
            shapes = f"{list(first.shape)} and {list(second.shape)} for {list(weights[name].shape)}"
            self._fail(f"its matrices for {name!r} have other shapes than the model's: {shapes}", _OTHER_MODEL)


def _four(tensor: TensorInfo) -> tuple[int, ...]:
    """The dimensions of a tensor, padded to the four of ggml."""
    return (*tensor.shape, *(1,) * (4 - len(tensor.shape)))
