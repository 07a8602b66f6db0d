"""The functions of llama.cpp that the engine calls, and which of them keep Python's global interpreter lock.

Importing this module loads the native library. It is imported late, in the thread that owns llama.cpp.

A call through `ctypes.CDLL` gives the interpreter lock up and has to win it back, which may cost a whole switch
interval while the screen is drawn. That is right for `llama_decode`, which computes for milliseconds, and wrong for
calls that take microseconds: those go through `ctypes.PyDLL`, which keeps the lock. Sampling is of either kind.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from workbench.engine.llama.aborts import abort_hooks
from workbench.engine.llama.bindings import libggml, llama_cpp

KEEP_LOCK = os.environ.get("WORKBENCH_RELEASE_LOCK") is None
"""Whether short calls keep the interpreter lock. The variable exists so that a benchmark can show the difference."""

_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
_CONTINUED = 5
_ABORTS = (
    "sched_graph_compute_async failed with error 1",
    "failed to compute graph, compute status: 1",
    "removing memory module entries",
    "failed to decode, ret = 2",
)
"""What llama.cpp calls errors and warnings where a computation was aborted, which is what stopping an answer does.

1 is GGML_STATUS_ABORTED, 2 the same of `llama_decode`; real failures have other numbers.
"""

api: Any = llama_cpp
"""The binding itself, for functions that are called rarely or compute for long."""

Pointer: TypeAlias = Any
"""A native object or function: ctypes has no more specific types."""

LogEntry = tuple[int, str]
"""The level, as Python's logging numbers it, and the text of one line."""

_logger = logging.getLogger("workbench.llama_cpp")
# Without any handler Python would print warnings on the terminal.
_logger.addHandler(logging.NullHandler())


def _short(name: str) -> Pointer:
    """The native function `name`, as a call that keeps the interpreter lock."""
    known, function = getattr(api, name), getattr(_SHORT, name)
    function.argtypes, function.restype = known.argtypes, known.restype
    return function


_SHORT = (ctypes.PyDLL if KEEP_LOCK else ctypes.CDLL)(api._lib._name)

sample = _short("llama_sampler_sample")
sampler_apply = _short("llama_sampler_apply")
sampler_accept = _short("llama_sampler_accept")
token_to_piece = _short("llama_token_to_piece")
vocab_is_eog = _short("llama_vocab_is_eog")
vocab_get_attr = _short("llama_vocab_get_attr")
logits_address = _short("llama_get_logits_ith")
logits_address.restype = ctypes.c_void_p

KV_TYPE_IDS = {
    "f32": api.GGML_TYPE_F32,
    "f16": api.GGML_TYPE_F16,
    "bf16": 30,
    "q8_0": api.GGML_TYPE_Q8_0,
    "q5_1": api.GGML_TYPE_Q5_1,
    "q5_0": api.GGML_TYPE_Q5_0,
    "q4_1": api.GGML_TYPE_Q4_1,
    "q4_0": api.GGML_TYPE_Q4_0,
    "iq4_nl": api.GGML_TYPE_IQ4_NL,
}
"""ggml's numbers of the types that a KV cache can have."""

LOAD_MODE_IDS = {"auto": -1, "none": 0, "mmap": 1, "mlock": 2, "mmap+mlock": 3, "dio": 4}
"""llama.cpp's numbers of the load modes."""

FLASH_ATTN_IDS = {
    "auto": api.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": api.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": api.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}


class NativeLog:
    """Sends every line that llama.cpp and ggml log to Python's logging, so that none reaches the terminal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line = ""
        self._level = logging.INFO
        self._collectors: list[list[LogEntry]] = []
        self._callback = api.llama_log_callback(self._on_text)
        api.llama_log_set(self._callback, None)

    def _on_text(self, level: int, text: bytes, _: object) -> None:
        with self._lock:
            if level != _CONTINUED:
                self._level = _LEVELS.get(level, logging.INFO)
            *lines, self._line = (self._line + text.decode("utf-8", "replace")).split("\n")
            for line in lines:
                if line.strip():
                    level = logging.DEBUG if any(words in line for words in _ABORTS) else self._level
                    _logger.log(level, "%s", line)
                    for collector in self._collectors:
                        collector.append((level, line))

    @contextmanager
    def collect(self) -> Iterator[list[LogEntry]]:
        """The lines that are logged inside the `with` block, with their levels."""
        lines: list[LogEntry] = []
        with self._lock:
            self._collectors.append(lines)
        try:
            yield lines
        finally:
            with self._lock:
                # By identity: another one that has seen the same lines is equal to it.
                self._collectors = [each for each in self._collectors if each is not lines]


log = NativeLog()
"""The one log of the process: llama.cpp knows only one callback."""


def _on_abort(message: bytes) -> None:
    text = message.decode("utf-8", "replace").strip()
    _logger.critical("%s", text)
    for hook in abort_hooks:
        hook(text)


_abort_callback = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(_on_abort)
libggml.ggml_set_abort_callback(_abort_callback)


class AbortFlag:
    """Makes `llama_decode` return early, on CPU graphs, without running any Python.

    llama.cpp asks a C function between the nodes of a graph whether to stop. That function is libc's `strlen`, on a
    buffer that holds an empty string until the flag is raised: raising it needs no lock, and asking costs nothing.
    """

    def __init__(self, ctx: Pointer) -> None:
        libc = ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)
        self._buffer = ctypes.create_string_buffer(b"\0\0", 2)
        self._callback = ctypes.cast(libc.strlen, api.ggml_abort_callback)
        self.is_up = False
        api.llama_set_abort_callback(ctx, self._callback, ctypes.addressof(self._buffer))

    def up(self) -> None:
        """Abort the `llama_decode` that runs, or else the next one; from any thread."""
        self._buffer[0] = b"\1"
        self.is_up = True

    def down(self) -> None:
        """Let `llama_decode` run again."""
        self._buffer[0] = b"\0"
        self.is_up = False


class TokenBatch:
    """Tokens that one `llama_decode` computes, at most `capacity`."""

    def __init__(self, capacity: int) -> None:
        self.native = api.llama_batch_init(capacity, 0, 1)

    @property
    def size(self) -> int:
        """The number of tokens."""
        count: int = self.native.n_tokens
        return count

    def clear(self) -> None:
        """Take all tokens out."""
        self.native.n_tokens = 0

    def add(self, token: int, position: int, sequence: int, *, output: bool) -> None:
        """Append a token at a position of a sequence; `output` says whether its logits are computed."""
        batch, index = self.native, self.native.n_tokens
        batch.token[index] = token
        batch.pos[index] = position
        batch.n_seq_id[index] = 1
        batch.seq_id[index][0] = sequence
        batch.logits[index] = output
        batch.n_tokens = index + 1

    def free(self) -> None:
        """Free its memory."""
        api.llama_batch_free(self.native)


class PieceCache:
    """The bytes of each token, looked up once; a control token has none."""

    def __init__(self, vocab: Pointer) -> None:
        self._vocab = vocab
        self._pieces: dict[int, bytes] = {}
        self._widths: dict[int, int] = {}
        self._buffer = ctypes.create_string_buffer(256)

    def __getitem__(self, token: int) -> bytes:
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._look_up(token, special=False)
        return piece

    def whole(self, token: int) -> bytes:
        """The bytes of a token of any kind."""
        return self._look_up(token, special=True)

    def width(self, token: int) -> int:
        """The bytes of a token in a prompt, where control tokens have a text too."""
        width = self._widths.get(token)
        if width is None:
            width = self._widths[token] = len(self.whole(token))
        return width

    def control(self, token: int) -> str:
        """The text of a token that is no text of an answer, such as the end of a turn; empty where it has none."""
        return self.whole(token).decode("utf-8", "replace")

    def _look_up(self, token: int, *, special: bool) -> bytes:
        size = token_to_piece(self._vocab, token, self._buffer, len(self._buffer), 0, special)
        if size < 0:
            self._buffer = ctypes.create_string_buffer(-size)
            size = token_to_piece(self._vocab, token, self._buffer, len(self._buffer), 0, special)
        return self._buffer.raw[:size]


def tokenize(vocab: Pointer, text: str, *, add_special: bool = False, parse_special: bool = True) -> list[int]:
    """The token ids of `text`, in which lone surrogates are replaced.

    `add_special` adds the tokens that the model requires at the start and the end (BOS, EOS). With `parse_special` the
    text of a control token stands for it. A long text can overflow the stack: `Vocabulary` cuts it.
    """
    data = text.encode("utf-8", "replace")
    room = len(data) + 8
    tokens = (api.llama_token * room)()
    count = api.llama_tokenize(vocab, data, len(data), tokens, room, add_special, parse_special)
    if count < 0:
        tokens = (api.llama_token * -count)()
        count = api.llama_tokenize(vocab, data, len(data), tokens, -count, add_special, parse_special)
    found: list[int] = tokens[:count]
    return found


# Everything imported by now stays for good. Scanning it again took the garbage collector a tenth of a second, several
# times during an answer, and delayed keys.
gc.freeze()
