"""The demo model with its first layers alone: its vocabulary and its template, at a tenth of the computing.

It writes words without sense, the same ones every time.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

from workbench.gguf.reader import read_header
from workbench.library.demo import PACKAGE

LAYERS = 4
BLOCK_COUNT = b"llama.block_count" + struct.pack("<I", 4)
"""The key and its type."""


def make_package(folder: Path, demo: Path) -> None:
    """Make a package in `folder` that has the short model, under the names of the demo's package and file."""
    path = folder / PACKAGE / demo.name
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "__init__.py").touch()
    part = path.with_suffix(f".{os.getpid()}")
    shorten(demo, part)
    # Another worker may have made it meanwhile.
    part.replace(path)


def shorten(source: Path, target: Path) -> None:
    """Write the model `source`, of the Llama architecture, with its first `LAYERS` layers.

    The vocabulary is copied as bytes: to take it apart would cost every run a second.
    """
    header = read_header(source)
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        names = [tensor.name.encode() for tensor in header.tensors]
        place = whole.find(struct.pack("<Q", len(names[0])) + names[0])
        metadata, descriptions, data = bytearray(whole[24:place]), bytearray(), []
        struct.pack_into("<I", metadata, metadata.index(BLOCK_COUNT) + len(BLOCK_COUNT), LAYERS)
        size = 0
        for name, tensor in zip(names, header.tensors, strict=True):
            begin, place = place, place + 8 + len(name) + 4 + 8 * len(tensor.shape) + 4 + 8
            if name.startswith(b"blk.") and int(name.split(b".")[1]) >= LAYERS:
                continue
            descriptions += whole[begin : place - 8] + struct.pack("<Q", size)
            begin = header.data_offset + tensor.offset
            data.append(whole[begin : begin + tensor.size_bytes])
            data.append(bytes(-tensor.size_bytes % header.alignment))
            size += len(data[-2]) + len(data[-1])
    counts = struct.pack("<4sIQQ", b"GGUF", header.version, len(data) // 2, len(header.metadata))
    head = counts + metadata + descriptions
    with target.open("wb") as file:
        file.writelines([head, bytes(-len(head) % header.alignment), *data])
