"""Listing a library of 1,000 models: without the cache of the scan, and from it; and reading one large header.

The files have real headers and holes for weights: 125 models in 8 quantizations each, 291 tensors a file, and
vocabularies as models have them: 32,000 tokens with scores (60 % of the files, headers of 0.8 MB), 49,152 tokens with
merges (30 %, 1.8 MB), 151,936 tokens with merges (10 %, 6 MB), four, four and two different ones. They take some
1.6 GB. The system's own cache of the disk is warm, as it is when a program was used a moment ago: what is timed is the
program and not the disk.

    python -m benchmarks.library_scan [--rounds 5] [--files 1000]
"""

from __future__ import annotations

import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.common import WORKBENCH, Bar, finish, interleave, log, parser, print_samples
from workbench.gguf.reader import read_header
from workbench.gguf.targets import FILE_TYPES
from workbench.gguf.types import TENSOR_TYPES_BY_NAME
from workbench.library.catalog import LibraryCatalog

QUANTS = {"F16": "F16", "Q8_0": "Q8_0", "Q6_K": "Q6_K", "Q5_K_M": "Q5_K", "Q4_K_M": "Q4_K", "Q4_K_S": "Q4_K"} | {
    "Q3_K_M": "Q3_K",
    "Q2_K": "Q2_K",
}
LAYERS, WIDTH, WIDE = 32, 256, 768
VOCABULARIES = ((32_000, False),) * 4 + ((49_152, True),) * 4 + ((151_936, True),) * 2
SHARES = (0, 1, 2, 3, 0, 1, 4, 5, 6, 8, 0, 1, 2, 3, 2, 3, 4, 5, 7, 9)
"""Which vocabulary each model of twenty has."""
ALIGNMENT = 32
HEADER_READINGS = 9
_FILE_TYPE = {name: number for number, name in FILE_TYPES.items()}


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def string_key(key: str, value: str) -> bytes:
    return text(key) + struct.pack("<I", 8) + text(value)


def number_key(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


def array_key(key: str, kind: int, count: int, raw: bytes) -> bytes:
    return text(key) + struct.pack("<IIQ", 9, kind, count) + raw


def strings(values: Iterable[str]) -> bytes:
    return b"".join(map(text, values))


def vocabulary(number: int) -> bytes:
    """The keys of a tokenizer, six of them."""
    count, merged = VOCABULARIES[number]
    words = [f"▁{index * 7919 % 1_000_003:x}{number}" for index in range(count)]
    keys = [
        string_key("tokenizer.ggml.model", "gpt2" if merged else "llama"),
        array_key("tokenizer.ggml.tokens", 8, count, strings(words)),
        array_key("tokenizer.ggml.token_type", 5, count, struct.pack("<i", 1) * count),
        number_key("tokenizer.ggml.bos_token_id", 1),
        number_key("tokenizer.ggml.eos_token_id", 2),
    ]
    if merged:
        pairs = (f"{word[:3]} {word[3:]}" for word in words[256:])
        keys.append(array_key("tokenizer.ggml.merges", 8, count - 256, strings(pairs)))
    else:
        keys.append(array_key("tokenizer.ggml.scores", 6, count, struct.pack("<f", 0) * count))
    return b"".join(keys)


def tensors(kind: str) -> Iterator[tuple[str, tuple[int, ...], str]]:
    yield "token_embd.weight", (WIDTH, 1024), kind
    for layer in range(LAYERS):
        for name, shape in (("attn_q", (WIDTH, WIDTH)), ("attn_k", (WIDTH, WIDTH)), ("attn_v", (WIDTH, WIDTH))):
            yield f"blk.{layer}.{name}.weight", shape, kind
        yield f"blk.{layer}.attn_output.weight", (WIDTH, WIDTH), kind
        for name, shape in (("ffn_gate", (WIDTH, WIDE)), ("ffn_up", (WIDTH, WIDE)), ("ffn_down", (WIDE, WIDTH))):
            yield f"blk.{layer}.{name}.weight", shape, kind
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", (WIDTH,), "F32"
    yield "output_norm.weight", (WIDTH,), "F32"
    yield "output.weight", (WIDTH, 1024), kind


def write_model(path: Path, name: str, quant: str, words: bytes) -> None:
    """A model file with a real header, and a hole in the place of its weights."""
    keys = [
        string_key("general.architecture", "llama"),
        string_key("general.name", name),
        number_key("general.file_type", _FILE_TYPE[quant]),
        number_key("llama.block_count", LAYERS),
        number_key("llama.context_length", 8192),
        number_key("llama.embedding_length", WIDTH),
        number_key("llama.feed_forward_length", WIDE),
        number_key("llama.attention.head_count", 4),
        number_key("llama.attention.head_count_kv", 4),
    ]
    infos, offset = [], 0
    for tensor, shape, kind in tensors(QUANTS[quant]):
        form = TENSOR_TYPES_BY_NAME[kind]
        elements = shape[0] * (shape[1] if len(shape) > 1 else 1)
        infos.append(text(tensor) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, form.id, offset))
        offset += -(-form.row_bytes(elements) // ALIGNMENT) * ALIGNMENT
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(infos), len(keys) + 6) + b"".join(keys) + words + b"".join(infos)
    begin = -(-len(head) // ALIGNMENT) * ALIGNMENT
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(begin + offset)


def write_library(folder: Path, count: int) -> None:
    """`count` files, a folder for each model."""
    known: dict[int, bytes] = {}
    for number in range(count):
        model, variant = divmod(number, len(QUANTS))
        quant = list(QUANTS)[variant]
        chosen = SHARES[model % len(SHARES)]
        if chosen not in known:
            known[chosen] = vocabulary(chosen)
        name = f"Model{model}-7B-Instruct"
        write_model(folder / f"user/{name}-GGUF/{name}-{quant}.gguf", name, quant, known[chosen])


def scan(library: Path, cache: Path, *, cold: bool, count: int) -> dict[str, float]:
    """The scan alone, in this process, by a catalogue that knows nothing."""
    if cold:
        cache.unlink(missing_ok=True)
    began = time.perf_counter()
    found = LibraryCatalog([library], find_demo_file=lambda: None, cache=cache).list_models()
    took = time.perf_counter() - began
    assert len(found) == count, len(found)
    return {"scan": took}


def command(library: Path, home: Path, *, cold: bool, count: int) -> dict[str, float]:
    """The whole command, with its start."""
    if cold:
        (home / "cache" / "library.json").unlink(missing_ok=True)
    began = time.perf_counter()
    done = subprocess.run(
        [WORKBENCH, "models", str(library), "--json"],
        env={**os.environ, "WORKBENCH_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    took = time.perf_counter() - began
    assert done.stdout.count('"id": ') == count, done.stdout[:200]
    return {"workbench models": took}


def header(path: Path) -> dict[str, float]:
    """One header without its long arrays, in milliseconds: the middle one of some readings."""
    took = []
    for _ in range(HEADER_READINGS):
        began = time.perf_counter()
        read_header(path)
        took.append(1e3 * (time.perf_counter() - began))
    return {"header": statistics.median(took)}


def main() -> int:
    """Run it."""
    options = parser(__doc__, rounds=5)
    options.add_argument("--files", type=int, default=1000, help="how many files to write (default: %(default)s)")
    chosen = options.parse_args()
    count = chosen.files
    with tempfile.TemporaryDirectory(prefix="workbench-library-") as folder:
        library, home, cache = Path(folder) / "models", Path(folder) / "home", Path(folder) / "scan.json"
        log(f"  writing {count} files")
        write_library(library, count)
        # What is still on its way to the disk, and whoever reads the files first, would be timed otherwise.
        os.sync()
        scan(library, cache, cold=True, count=count)
        large = library / "large.gguf"
        listing = interleave(
            {
                "cold": lambda: {
                    **scan(library, cache, cold=True, count=count),
                    **command(library, home, cold=True, count=count),
                },
                "warm": lambda: {
                    **scan(library, cache, cold=False, count=count),
                    **command(library, home, cold=False, count=count),
                },
            },
            chosen.rounds,
            "listing",
        )
        write_model(large, "Large", "Q4_K_M", vocabulary(len(VOCABULARIES) - 1))
        reading = interleave({"151,936 tokens": lambda: header(large)}, chosen.rounds, "header")
    print(f"\n{count} models, seconds\n")
    print_samples(listing)
    print("\nOne header, milliseconds\n")
    print_samples(reading)
    bars = [
        Bar(f"listing {count} models, no cache", listing.median("cold workbench models"), 5, unit="s"),
        Bar(f"listing {count} models from the cache", listing.median("warm workbench models"), 1, unit="s"),
        Bar("header with 151,936 tokens", reading.median("151,936 tokens header"), 30, unit="ms"),
    ]
    return finish("library_scan", bars, {"listing": listing, "reading": reading})


if __name__ == "__main__":
    sys.exit(main())
