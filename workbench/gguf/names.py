"""Names of model files: the model, its quantization, and the part of a split file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import PurePath

SUFFIX = ".gguf"

_QUANT = re.compile(
    r"(?<![A-Za-z0-9])(?P<quant>"
    r"(?:UD-)?I?Q[1-8]_(?:K_(?:XXL|XL|L|M|S|XS|P)|K|[01]|XXS|XS|S|M|NL(?:_XL)?)(?:_[48]_[48])?(?:_R\d{1,2})?"
    # Of ik_llama.cpp.
    r"|(?:I?Q[1-8]_(?:K[SLT]|KSS|BN)|Q6_0|Q8_KV)(?:_R\d{1,2})?|BF16_R16"
    r"|Q[1-8]_K_[A-Z]{1,3}|(?:UD-)?TQ[12]_0|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32|Q[1-8](?!\.\d)"
    r")(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_SHARD = re.compile(r"^(?P<prefix>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})$", re.IGNORECASE)
_PIECE = re.compile(
    r"(?P<whole>.+\.gguf)"
    r"(?:\.part[-_]?(?P<part>\d{1,4}|[a-z]{1,2})(?:[-_]?of[-_]?(?P<count>\d{1,4}))?"
    r"|-split-(?P<split>\d{1,4}|[a-z]{1,2})|\.(?P<digits>\d{3}))",
    re.IGNORECASE,
)
_SEPARATORS = " .-_"
_SPELLINGS = {"FP16": "F16", "FP32": "F32"}
_COUNT = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMBT])", re.IGNORECASE)
_SCALE = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of a split file."""

    prefix: str
    """The beginning of the name, which all shards share."""
    number: int
    """Counted from 1."""
    count: int

    def name(self, number: int) -> str:
        """The file name of shard `number`."""
        return f"{self.prefix}-{number:05}-of-{self.count:05}{SUFFIX}"

    @property
    def names(self) -> tuple[str, ...]:
        """The file names of all shards, in order."""
        return tuple(self.name(number) for number in range(1, self.count + 1))


@dataclass(frozen=True, slots=True)
class Piece:
    """One of the files that a model was cut into without regard to its format, which `cat` joins."""

    whole: str
    """The file name of the model."""
    number: str
    """A number or letters that state the order."""
    count: int | None
    """The number of pieces; None where the name does not state it."""

    def is_beside(self, name: str) -> bool:
        """Whether `name` is that of a piece of the same model."""
        other = parse_piece(name)
        return other is not None and (other.whole, other.count) == (self.whole, self.count)


@dataclass(frozen=True, slots=True)
class FileName:
    """A parsed file name."""

    base: str
    """The name of the model, without quantization and shard number."""
    quant: str | None
    """The quantization in the name, in upper case; None where it has none."""
    shard: Shard | None


def parse_shard(name: str) -> Shard | None:
    """The shard of a file with this name; None for a whole file."""
    match = _SHARD.match(_stem(name))
    if match is None:
        return None
    number, count = int(match["number"]), int(match["count"])
    return Shard(match["prefix"], number, count) if 1 <= number <= count else None


def parse_piece(name: str) -> Piece | None:
    """The piece that a file with this name is; None for a whole file."""
    match = _PIECE.fullmatch(PurePath(name).name)
    if match is None:
        return None
    number = match["part"] or match["split"] or match["digits"]
    return Piece(match["whole"], number, int(match["count"]) if match["count"] else None)


def piece_order(name: str) -> tuple[int, str]:
    """A sorting key for the names of the pieces of one model."""
    piece = parse_piece(name)
    number = piece.number.lstrip("0").casefold() if piece is not None else name
    return len(number), number


def parse_name(name: str) -> FileName:
    """Parse the name of a model file."""
    shard = parse_shard(name)
    stem = shard.prefix if shard else _stem(name)
    matches = list(_QUANT.finditer(stem))
    if not matches:
        return FileName(stem, None, shard)
    # The quantization comes last; an earlier match is part of the name of the model.
    last = matches[-1]
    rest = stem[: last.start()].rstrip(_SEPARATORS) + stem[last.end() :]
    quant = last["quant"].upper()
    return FileName(rest.strip(_SEPARATORS) or stem, _SPELLINGS.get(quant, quant), shard)


def parameter_count(text: object) -> int | None:
    """The number of parameters in a text such as `8.0B`; None for anything else."""
    match = _COUNT.fullmatch(text.strip()) if isinstance(text, str) else None
    count = float(match["number"]) * _SCALE[match["unit"].upper()] if match else math.inf
    return round(count) if math.isfinite(count) else None


def _stem(name: str) -> str:
    piece = parse_piece(name)
    plain = PurePath(name).name if piece is None else piece.whole
    has_suffix = plain.casefold().endswith(SUFFIX) and len(plain) > len(SUFFIX)
    return plain[: -len(SUFFIX)] if has_suffix else plain
