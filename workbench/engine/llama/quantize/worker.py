"""The child process that quantizes with llama.cpp."""

from __future__ import annotations

import ctypes
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from workbench.processes import END, ParentChannel

_TENSOR = re.compile(r"\[\s*(\d+)/\s*(\d+)\]\s+(\S+)\s+-\s+\[[\d, ]+\], type =")
_BECOMES = re.compile(r"converting to (\S+)|size = .* -> .*\((\w+)\)")
_FALLBACKS = re.compile(r"(\d+) of \d+ tensor\(s\) required fallback")
_NEEDS_IMATRIX = "will require an imatrix"
_FAILED = "failed to quantize: "
_REPORT_EVERY_S = 0.1
_PIPE_BYTES = 2**16
_MUCH_BYTES = 2**12
_NO_REASON = "llama.cpp gave no reason"
_OVERRIDE_INT, _OVERRIDE_STRING = 0, 3
_OVERRIDE_ROOM = 127
_STDERR = 2


class _QuantizeLog:
    """Progress, chosen types and errors, parsed from llama.cpp's log of one quantization.

    llama.cpp writes the log to a pipe in place of standard error, as it does without a callback: the threads that
    compute wait for each piece of a line, and a call of Python would take ten times as long. `on_progress` is called
    about every tenth of a second, with what a `tensor` event has.
    """

    def __init__(self, on_progress: Callable[..., object] = lambda **_: None) -> None:
        self._on_progress = on_progress
        self._ended = threading.Event()
        self._tensor = ""
        self._finished: list[str] = []
        self.chosen: dict[str, str] = {}
        """The new type of each tensor that changes."""
        self.fallbacks = 0
        self.needs_imatrix = False
        self.error = ""

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read what is logged inside the `with` block."""
        output, log = os.pipe()
        before = os.dup(_STDERR)
        os.dup2(log, _STDERR)
        os.close(log)
        reader = threading.Thread(target=self._read, args=(output,), name="log of llama.cpp")
        reader.start()
        try:
            yield
        finally:
            # Without a writer the pipe ends.
            os.dup2(before, _STDERR)
            os.close(before)
            self._ended.set()
            reader.join()

    def _read(self, output: int) -> None:
        unfinished = b""
        with open(output, "rb", buffering=0) as pipe:
            while data := pipe.read(_PIPE_BYTES):
                *lines, unfinished = (unfinished + data).split(b"\n")
                for line in lines:
                    self._add(line.decode("utf-8", "replace"))
                # The line of a tensor is begun when its work begins.
                self._begin(unfinished.decode("utf-8", "replace"))
                if len(data) < _MUCH_BYTES:
                    # A full pipe would make llama.cpp wait, and so would a reader that wakes for each tensor.
                    self._ended.wait(_REPORT_EVERY_S)

    def _add(self, line: str) -> None:
        if _FAILED in line:
            # It may stand behind the tensor at which writing failed.
            self.error = line.partition(_FAILED)[2].strip()
        elif found := _TENSOR.match(line):
            self._finished.append(found[3])
            if becomes := _BECOMES.search(line, found.end()):
                self.chosen[found[3]] = becomes[1] or becomes[2]
        elif found := _FALLBACKS.search(line):
            self.fallbacks = int(found[1])
        self.needs_imatrix = self.needs_imatrix or _NEEDS_IMATRIX in line

    def _begin(self, line: str) -> None:
        if (found := _TENSOR.match(line)) and found[3] != self._tensor:
            self._tensor = found[3]
            self._on_progress(done=int(found[1]) - 1, total=int(found[2]), tensor=self._tensor, finished=self._finished)
            self._finished = []


class _NativeImatrix:
    """An importance matrix in llama.cpp's structures."""

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
            # For an expert that no token was routed to, all columns weigh the same.
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

    def __init__(self, channel: ParentChannel) -> None:
        from workbench.engine.llama import native
        from workbench.engine.llama.aborts import abort_hooks

        abort_hooks.append(lambda message: channel.emit(event="failed", message=message))
        self._api = native.api
        # Without a callback llama.cpp logs to standard error.
        native.api.llama_log_set(native.api.llama_log_callback(0), None)
        self._channel = channel
        self._matrices: dict[str, _NativeImatrix] = {}

    def plan(self, order: Mapping[str, Any]) -> None:
        """A dry run for each type."""
        for file_type in order["types"]:
            log = _QuantizeLog()
            succeeded = self._quantize(order, file_type, log)
            self._channel.emit(
                event="plan",
                type=file_type,
                problem="" if succeeded else log.error or _NO_REASON,
                chosen=log.chosen,
                fallbacks=log.fallbacks,
                needs_imatrix=log.needs_imatrix,
            )

    def make(self, order: Mapping[str, Any]) -> None:
        """The work itself. Where the parent dies meanwhile, the unfinished file is removed."""
        self._channel.on_orphaned = partial(_remove, order["target"])
        log = _QuantizeLog(partial(self._channel.emit, event="tensor"))
        began = time.perf_counter()
        if not self._quantize(order, order["type"], log, order["target"]):
            self._channel.emit(event="failed", message=log.error or _NO_REASON)
            return
        seconds = time.perf_counter() - began
        _sync(order["target"])
        self._channel.emit(event="made", seconds=seconds)

    def _quantize(self, order: Mapping[str, Any], file_type: int, log: _QuantizeLog, target: str = "") -> bool:
        """Call llama.cpp; without a target it only chooses the types."""
        from workbench.engine.llama.devices import physical_cores

        params = self._api.llama_model_quantize_default_params()
        params.nthread = order.get("threads") or physical_cores()
        params.ftype = file_type
        # Whether that is wanted was decided before: the sizes are of interest either way.
        params.allow_requantize = True
        params.dry_run = not target
        if path := order["imatrix"]:
            matrix = self._matrices.get(path) or self._matrices.setdefault(path, _NativeImatrix(Path(path)))
            params.imatrix = ctypes.cast(matrix.data, type(params.imatrix))
            params.kv_overrides = ctypes.cast(matrix.notes, type(params.kv_overrides))
        paths = os.fsencode(order["source"]), os.fsencode(target)
        with log.reading():
            code = self._api.llama_model_quantize(*paths, ctypes.byref(params))
        return bool(code == 0)


def _remove(path: str) -> None:
    with suppress(OSError):
        Path(path).unlink()


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main() -> None:
    """Take orders until there are no more."""
    channel = ParentChannel()
    try:
        worker = _Worker(channel)
        for order in channel.orders():
            (worker.make if order["order"] == "make" else worker.plan)(order)
            channel.emit(**END)
            if order["order"] == "make":
                break
    except Exception as error:  # noqa: BLE001 - the parent reports it, whichever it is
        channel.emit(event="failed", message=f"{type(error).__name__}: {error}")
    channel.exit()


if __name__ == "__main__":
    main()
