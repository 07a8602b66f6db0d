"""Mutants of the headers of model files: random, but equal for an equal seed.

A header is taken apart into keys and tensors, some of which are changed, and put together again. Most mutants get
offsets and data that agree with their tensors, because the reader refuses all others at once.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import gguf

from workbench.gguf.header import Array
from workbench.gguf.reader import read_header
from workbench.gguf.types import TENSOR_TYPES

CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
FLOATS, STRING, ARRAY = {6, 12}, 8, 9
LIMITS = {"B": (0, 2**8 - 1), "b": (-(2**7), 2**7 - 1), "H": (0, 2**16 - 1), "h": (-(2**15), 2**15 - 1),
          "I": (0, 2**32 - 1), "i": (-(2**31), 2**31 - 1), "Q": (0, 2**64 - 1), "q": (-(2**63), 2**63 - 1)}  # fmt: skip
NUMBERS = (0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 257, 511, 512, 513, 1000, 1024,
           4096, 2**15, 2**16, 2**20, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1, -1, -2)  # fmt: skip
FRACTIONS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-5, 1e-45, 1e5, 3e38, float("nan"), float("inf"), float("-inf"))
TEXTS = (b"", b"a", b"\0", b"\xff\xfe", b"none", b"no_vocab", "\N{GRINNING FACE}".encode(), b"x" * 3000)
CHOICES = {
    b"tokenizer.ggml.model": (b"llama", b"gpt2", b"bert", b"t5", b"rwkv", b"plamo2", b"none", b"no_vocab", b"gemma4"),
    b"tokenizer.ggml.pre": (
        b"default", b"llama-bpe", b"deepseek-llm", b"falcon", b"gpt-2", b"qwen2", b"tekken", b"smollm", b"bloom",
        b"gpt-4o", b"superbpe", b"kimi-k2", b"grok-2", b"youtu", b"gemma4", b"hunyuan-dense", b"jais-2", b"plamo2",
    ),
    b"scaling": (b"none", b"linear", b"yarn", b"longrope"),
}  # fmt: skip
KEYS = sorted(
    {
        name
        for group in vars(gguf.Keys).values()
        if isinstance(group, type)
        for name in vars(group).values()
        if isinstance(name, str) and "." in name and not name.startswith("clip")
    }
)
"""Every key that llama.cpp reads, with `{arch}` for the architecture."""


@dataclass
class Key:
    """A metadata key; an array has a list of values, and the type of its elements."""

    name: bytes
    kind: int
    value: object
    element: int = 0

    def pack(self) -> bytes:
        head = text(self.name) + struct.pack("<I", self.kind)
        if self.kind != ARRAY:
            return head + scalar(self.kind, self.value)
        items = list(self.value)
        return head + struct.pack("<IQ", self.element, len(items)) + b"".join(scalar(self.element, x) for x in items)


@dataclass
class Tensor:
    name: bytes
    shape: list[int]
    kind: int
    offset: int = 0

    def size(self) -> int:
        kind = TENSOR_TYPES.get(self.kind)
        elements = 1
        for length in self.shape:
            elements *= length
        return kind.row_bytes(elements) if kind and elements % kind.block == 0 else 4 * elements

    def pack(self) -> bytes:
        dims = struct.pack(f"<I{len(self.shape)}Q", len(self.shape), *(length % 2**64 for length in self.shape))
        return text(self.name) + dims + struct.pack("<IQ", self.kind, self.offset)


def text(raw: bytes) -> bytes:
    return struct.pack("<Q", len(raw)) + raw


def scalar(kind: int, value: object) -> bytes:
    if kind == STRING:
        return text(value if isinstance(value, bytes) else str(value).encode())
    if kind not in CODES:
        return b"\0" * 8
    if isinstance(value, bytes):
        value = len(value)
    if kind in FLOATS:
        number = float(value)
        return struct.pack(f"<{CODES[kind]}", number if abs(number) < 3.4e38 or number != number else float("inf"))
    if kind == 7:
        return struct.pack("<?", bool(value))
    low, high = LIMITS[CODES[kind]]
    whole = int(value) if isinstance(value, int) or abs(value) < 2**62 else 0
    return struct.pack(f"<{CODES[kind]}", (whole - low) % (high - low + 1) + low)


@dataclass
class Parts:
    """A model file, taken apart."""

    keys: list[Key]
    tensors: list[Tensor]
    data: bytes = field(repr=False, default=b"")

    def arch(self) -> bytes:
        values = (key.value for key in self.keys if key.name == b"general.architecture")
        return next((value for value in values if isinstance(value, bytes)), b"llama")

    def lay_out(self) -> int:
        """Give the tensors the offsets that the format asks for; the size of the data."""
        end = 0
        for tensor in self.tensors:
            tensor.offset = end % 2**64
            end += -(-tensor.size() // 32) * 32
        return end

    def header(self) -> bytes:
        counts = struct.pack("<IQQ", 3, len(self.tensors), len(self.keys))
        head = b"GGUF" + counts + b"".join(key.pack() for key in self.keys) + b"".join(t.pack() for t in self.tensors)
        return head + b"\0" * (-len(head) % 32)


def take_apart(path: Path, *, data: bool = True) -> Parts:
    """The parts of a model file; without its data, which is then zeros."""
    header = read_header(path, arrays=True)
    keys = []
    for name, value in header.metadata.items():
        kind = int(header.value_types[name])
        if isinstance(value, Array):
            element = int(value.element_type)
            items = [as_bytes(item) for item in value.values or ()]
            keys.append(Key(name.encode(), kind, items, element))
        else:
            keys.append(Key(name.encode(), kind, as_bytes(value)))
    tensors = [Tensor(t.name.encode(), list(t.shape), t.type.id, t.offset) for t in header.tensors]
    return Parts(keys, tensors, path.read_bytes()[header.data_offset :] if data else b"")


def as_bytes(value: object) -> object:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


class Mutator:
    """Makes mutants of a model. `last` describes the newest one."""

    def __init__(self, parts: Parts, random: Random) -> None:
        self._parts, self._random = parts, random
        self.last: list[str] = []

    def write(self, path: Path) -> None:
        """Write one mutant."""
        random = self._random
        self.last = []
        source = self._parts
        parts = Parts([replace(key) for key in source.keys], [replace(t, shape=[*t.shape]) for t in source.tensors])
        changes: list[Callable[[Parts], str]] = [self._value, self._value, self._key, self._tensor, self._add]
        for _ in range(random.choice((1, 1, 1, 2, 2, 3))):
            self.last.append(random.choice(changes)(parts))
        size = parts.lay_out()
        if random.random() < 0.1 and parts.tensors:
            tensor = random.choice(parts.tensors)
            tensor.offset = (tensor.offset + random.choice((32, -32, 1, 2**40))) % 2**64
            self.last.append(f"offset of {tensor.name!r}")
        header = bytearray(parts.header())
        if random.random() < 0.25:
            self._bytes(header)
        with path.open("wb") as file:
            file.write(header)
            file.write(source.data[:size])
        # Zeros, which take no room on the disk.
        os.truncate(path, len(header) + min(max(size, 0), 2**31))
        if random.random() < 0.05:
            os.truncate(path, random.randrange(path.stat().st_size))
            self.last.append("cut")

    def _number(self, old: object = 0) -> int:
        choices = [*NUMBERS]
        if isinstance(old, int):
            choices += [old + 1, old - 1, old * 2, old // 2, old + 32, -old] * 3
        return self._random.choice(choices)

    def _changed(self, key: Key, kind: int, old: object) -> object:
        random = self._random
        if kind == STRING:
            for end, choices in CHOICES.items():
                if end in key.name and random.random() < 0.8:
                    return random.choice(choices)
            return random.choice(TEXTS)
        if kind == 7:
            return not old
        return random.choice(FRACTIONS) if kind in FLOATS else self._number(old)

    def _value(self, parts: Parts) -> str:
        """Another value of a key."""
        random = self._random
        key = random.choice(parts.keys)
        if key.kind != ARRAY:
            key.value = self._changed(key, key.kind, key.value)
            return f"{key.name!r} = {key.value!r:.80}"
        items = [*key.value]
        for _ in range(random.choice((1, 1, 3))):
            how = random.randrange(5)
            place = random.randrange(len(items)) if items else 0
            if how == 0 and items:
                del items[place:]
            elif how == 1 and items:
                del items[place]
            elif how == 2:
                items.insert(place, self._changed(key, key.element, 0))
            elif items:
                items[place] = self._changed(key, key.element, items[place])
        key.value = items
        return f"array {key.name!r}"

    def _key(self, parts: Parts) -> str:
        """A key less, doubled, with another name or of another type."""
        random = self._random
        key = random.choice(parts.keys)
        how = random.randrange(4)
        if how == 0:
            parts.keys.remove(key)
        elif how == 1:
            parts.keys.insert(random.randrange(len(parts.keys)), replace(key))
        elif how == 2:
            key.name = random.choice((random.choice(parts.keys).name, key.name[:-1], key.name + b"x", b""))
        elif key.kind == ARRAY and random.random() < 0.5:
            key.element = random.choice([*CODES, STRING, ARRAY])
        elif key.kind == ARRAY:
            key.kind, key.value = random.choice([*CODES]), self._number()
        elif random.random() < 0.3:
            layers = random.choice((0, 1, 2, 3, 600))
            key.kind, key.element, key.value = ARRAY, key.kind, [key.value] * layers
        else:
            key.kind = random.choice([*CODES, STRING])
        return f"{('without', 'doubled', 'name', 'type')[how]} {key.name!r} {key.kind}"

    def _add(self, parts: Parts) -> str:
        """A key that was not there, of a type that fits or does not."""
        random = self._random
        name = random.choice(KEYS).replace("{arch}", parts.arch().decode("utf-8", "replace")).encode()
        kind = random.choice((4, 4, 4, 5, 6, 6, 7, STRING, ARRAY))
        parts.keys = [key for key in parts.keys if key.name != name]
        key = Key(name, kind, 0)
        if kind == ARRAY:
            key.element = random.choice((4, 5, 6, 7, STRING))
            length = random.choice((0, 1, 2, 3, 4, 5))
            key.value = [self._changed(key, key.element, 0) for _ in range(length)]
        else:
            key.value = self._changed(key, kind, 0)
        parts.keys.append(key)
        return f"added {name!r} ({kind}) {key.value!r:.80}"

    def _tensor(self, parts: Parts) -> str:
        """A tensor less, more, with another name, shape or type."""
        random = self._random
        tensor = random.choice(parts.tensors)
        how = random.randrange(6)
        other = random.choice(parts.tensors)
        if how == 0 and len(parts.tensors) > 1:
            parts.tensors.remove(tensor)
        elif how == 1:
            name = (
                tensor.name.replace(b"blk.0", b"blk.1")
                if random.random() < 0.5
                else tensor.name.replace(b"weight", b"bias")
            )
            parts.tensors.append(replace(tensor, name=name, shape=[*tensor.shape]))
        elif how == 2:
            tensor.name, other.name = other.name, tensor.name
        elif how == 3:
            tensor.kind = random.choice((*TENSOR_TYPES, *TENSOR_TYPES, 4, 31, 99))
        elif how == 4:
            self._shape(tensor)
        else:
            # Matrices of the same type throughout, as quantizing makes them.
            kind = random.choice([*TENSOR_TYPES])
            for each in parts.tensors:
                if len(each.shape) == 2 and each.shape[0] % TENSOR_TYPES[kind].block == 0:
                    each.kind = kind
            return f"all matrices of type {kind}"
        return f"{('without', 'more', 'name', 'type', 'shape')[how]} {tensor.name!r} {tensor.shape} {tensor.kind}"

    def _shape(self, tensor: Tensor) -> None:
        random, shape = self._random, tensor.shape
        how = random.randrange(4)
        if how == 0:
            shape.reverse()
        elif how == 1 and len(shape) < 5:
            shape.append(random.choice((0, 1, 1, 2)))
        elif how == 2 and shape:
            shape.pop()
        elif shape:
            place = random.randrange(len(shape))
            shape[place] = random.choice(
                (0, 1, 2, 31, 32, 33, shape[place] * 2, shape[place] // 2, shape[place] + 32, 2**31)
            )

    def _bytes(self, header: bytearray) -> None:
        random = self._random
        for _ in range(random.choice((1, 1, 2, 4))):
            place = random.randrange(len(header) - 8)
            how = random.randrange(3)
            if how == 0:
                header[place] ^= 1 << random.randrange(8)
            elif how == 1:
                header[place] = random.randrange(256)
            else:
                header[place : place + 4] = scalar(4, self._number(struct.unpack_from("<I", header, place)[0]))
            self.last.append(f"byte {place}")
