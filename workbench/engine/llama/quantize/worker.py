"""The child process that quantizes: orders in, events out, each a line of JSON.

Standard input stays open for as long as anybody wants the result: when it closes, whoever asked is gone, and the
unfinished file goes with this process.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

_TENSOR = re.compile(r"^\[\s*(\d+)/\s*(\d+)\]\s+(\S+)\s+-\s+\[[\d, ]+\], type =")
_CONVERTING = re.compile(r"converting to (\S+)")
_CHOSEN = re.compile(r"size = .* -> .*\((\w+)\)")
_FALLBACKS = re.compile(r"(\d+) of \d+ tensor\(s\) required fallback")
_NEEDS_IMATRIX = "will require an imatrix"
_FAILED = "failed to quantize: "
_ERROR_LEVEL = 4
_TELL_EVERY_S = 0.05
_NO_REASON = "llama.cpp gave no reason"
_OVERRIDE_INT, _OVERRIDE_STRING = 0, 3
_OVERRIDE_ROOM = 127


class _Listener:
    """Makes sense of what llama.cpp logs while it quantizes."""

    def __init__(self, channel: BinaryIO | None = None) -> None:
        self._channel = channel
        self._line = ""
        self._tensor = ""
        self._finished: list[str] = []
        self._told_at = -1.0
        self.chosen: dict[str, str] = {}
        """The new type of each tensor that changes."""
        self.fallbacks = 0
        self.needs_imatrix = False
        self.error = ""

    def hear(self, level: int, text: bytes, _: object) -> None:
        # llama.cpp logs a tensor in pieces: what it is, what it becomes, and when that is done the sizes.
        piece = text.decode("utf-8", "replace")
        self._line += piece
        if match := _TENSOR.match(self._line.rstrip("\n")):
            if self._tensor != match[3]:
                self._finished += [self._tensor] if self._tensor else []
                self._tensor = match[3]
                self._tell(int(match[1]) - 1, int(match[2]))
            if becomes := _CONVERTING.search(piece) or _CHOSEN.search(piece):
                self.chosen[self._tensor] = becomes[1]
        if level == _ERROR_LEVEL and _FAILED in piece:
            self.error = piece.partition(_FAILED)[2].strip()
        if found := _FALLBACKS.search(piece):
            self.fallbacks = int(found[1])
        self.needs_imatrix = self.needs_imatrix or _NEEDS_IMATRIX in piece
        if piece.endswith("\n"):
            self._line = ""

    def _tell(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._channel is not None and now - self._told_at >= _TELL_EVERY_S:
            # Whoever reads this is woken, and takes the time from those that compute.
            self._told_at = now
            _emit(self._channel, event="tensor", done=done, total=total, tensor=self._tensor, finished=self._finished)
            self._finished = []


def _emit(channel: BinaryIO, **event: object) -> None:
    with suppress(BrokenPipeError):
        channel.write(json.dumps(event).encode() + b"\n")
        channel.flush()


def _own_output() -> BinaryIO:
    """Standard output for this module alone: what else is printed goes nowhere."""
    channel = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return channel


def _leave_with_parent(unfinished: str) -> None:
    """Wait until nobody wants the result any more."""
    while sys.stdin.buffer.read(4096):
        pass
    if unfinished:
        with suppress(OSError):
            Path(unfinished).unlink()
    os._exit(1)


class _Imatrix:
    """An importance matrix as llama.cpp takes it."""

    def __init__(self, path: Path) -> None:
        import numpy as np

        from workbench.engine.llama.native import api
        from workbench.gguf.imatrix import read_imatrix

        matrix = read_imatrix(path)
        self._values = []
        self.data = (api.llama_model_imatrix_data * (len(matrix.entries) + 1))()
        for slot, (name, entry) in zip(self.data, matrix.entries.items(), strict=False):
            counts = np.array(entry.counts, np.float32)[:, None]
            sums = np.frombuffer(entry.sums, np.float32).reshape(len(entry.counts), -1)
            # An expert that no token came to counts as if all of its columns mattered the same.
            values = np.ascontiguousarray(np.where(counts > 0, sums / np.maximum(counts, 1), 1), np.float32)
            self._values.append(values)
            slot.name = name.encode()
            slot.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            slot.size = values.size
        notes: list[tuple[str, int | str]] = [("file", path.name), ("entries_count", len(matrix.entries))]
        notes += [("dataset", matrix.datasets[0])] if matrix.datasets else []
        notes += [("chunks_count", matrix.chunks)] if matrix.chunks else []
        self.notes = (api.llama_model_kv_override * (len(notes) + 1))()
        for override, (key, value) in zip(self.notes, notes, strict=False):
            override.key = f"quantize.imatrix.{key}".encode()
            if isinstance(value, int):
                override.tag, override.value.val_i64 = _OVERRIDE_INT, value
            else:
                override.tag, override.value.val_str = _OVERRIDE_STRING, value.encode()[:_OVERRIDE_ROOM]


class _Worker:
    """Carries out orders."""

    def __init__(self, channel: BinaryIO) -> None:
        from workbench.engine.llama import native
        from workbench.engine.llama.aborts import abort_hooks

        abort_hooks.append(lambda message: _emit(channel, event="failed", message=message))
        self._api = native.api
        self._channel = channel
        self._matrices: dict[str, _Imatrix] = {}

    def plan(self, order: Mapping[str, Any]) -> None:
        """A dry run for each type."""
        for file_type in order["types"]:
            listener = _Listener()
            fine = self._quantize(order, file_type, listener)
            _emit(
                self._channel,
                event="plan",
                type=file_type,
                problem="" if fine else listener.error or _NO_REASON,
                chosen=listener.chosen,
                fallbacks=listener.fallbacks,
                needs_imatrix=listener.needs_imatrix,
            )

    def make(self, order: Mapping[str, Any]) -> None:
        """The work itself."""
        threading.Thread(target=_leave_with_parent, args=(order["target"],), daemon=True).start()
        listener = _Listener(self._channel)
        began = time.perf_counter()
        if not self._quantize(order, order["type"], listener, order["target"]):
            _emit(self._channel, event="failed", message=listener.error or _NO_REASON)
            return
        seconds = time.perf_counter() - began
        _sync(order["target"])
        _emit(self._channel, event="made", seconds=seconds)

    def _quantize(self, order: Mapping[str, Any], file_type: int, listener: _Listener, target: str = "") -> bool:
        """Call llama.cpp; without a target it only chooses the types."""
        from workbench.engine.llama.devices import physical_cores

        params = self._api.llama_model_quantize_default_params()
        params.nthread = order.get("threads") or physical_cores()
        params.ftype = file_type
        # Whether that is wanted has been decided by then: the sizes are of interest either way.
        params.allow_requantize = True
        params.dry_run = not target
        if path := order["imatrix"]:
            matrix = self._matrices.get(path) or self._matrices.setdefault(path, _Imatrix(Path(path)))
            params.imatrix = ctypes.cast(matrix.data, type(params.imatrix))
            params.kv_overrides = ctypes.cast(matrix.notes, type(params.kv_overrides))
        callback = self._api.llama_log_callback(listener.hear)
        self._api.llama_log_set(callback, None)
        code = self._api.llama_model_quantize(os.fsencode(order["source"]), os.fsencode(target), ctypes.byref(params))
        # The next one gets a listener of its own, and there is no telling what is logged in between.
        self._kept = callback
        return bool(code == 0)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main() -> None:
    """Take orders until there are no more."""
    channel = _own_output()
    try:
        worker = _Worker(channel)
        while line := sys.stdin.buffer.readline():
            order = json.loads(line)
            (worker.make if order["order"] == "make" else worker.plan)(order)
            _emit(channel, event="end")
            if order["order"] == "make":
                break
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to tell it
        _emit(channel, event="failed", message=f"{type(error).__name__}: {error}")
    # The thread that watches cannot be woken from its read.
    os._exit(0)


if __name__ == "__main__":
    main()
