"""The pipe between the program and a child that hosts an engine: frames, and what goes through them.

A frame is the number of its parts as `<I`, the length of each as `<Q`, and the parts: a pickle (protocol 5), and the
buffers that belong to it, which are neither copied nor made into a part of the pickle. Both ends are the same version
of this program, and the child has no less to say about this process than llama.cpp in it would have.
"""

from __future__ import annotations

import ctypes
import io
import pickle
import struct
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import IO, Any

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.engine.child.values import Called, CancelSet, Passed
from workbench.engine.llama.states import new_buffer

_COUNT, _LENGTH = struct.Struct("<I"), struct.Struct("<Q")
MOST_PARTS = 1 << 16


class Callback:
    """A function of this end in the arguments of a call; the child gets a function that calls it."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function


def _same(value: Passed) -> Passed:
    return value


class _Pickler(pickle.Pickler):
    """Replaces cancel tokens and callbacks by the numbers that `name` gives them; native arrays become buffers."""

    def __init__(self, file: IO[bytes], buffers: list[pickle.PickleBuffer], name: Callable[[Any], int]) -> None:
        super().__init__(file, 5, buffer_callback=buffers.append)
        self._name = name

    @override
    def persistent_id(self, obj: Passed) -> tuple[str, int] | None:
        if isinstance(obj, CancelToken):
            return "cancel", self._name(obj)
        if isinstance(obj, Callback):
            return "callback", self._name(obj)
        return None

    @override
    def reducer_override(self, obj: Passed) -> Passed:
        return (_same, (pickle.PickleBuffer(obj),)) if isinstance(obj, ctypes.Array) else NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, buffers: Sequence[Any], find: Callable[[str, int], Any]) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._find = find

    @override
    def persistent_load(self, pid: Passed) -> Passed:
        return self._find(*pid)


Frame = Sequence[Any]
"""The parts of a frame: objects with the buffer protocol."""


def pack(message: object, name: Callable[[Any], int] = lambda _: 0) -> Frame:
    """A message as a frame; `name` numbers its cancel tokens and callbacks.

    Raises:
        Exception: It cannot be pickled.
    """
    file = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    _Pickler(file, buffers, name).dump(message)
    return [file.getbuffer(), *(buffer.raw() for buffer in buffers)]


def write(stream: IO[bytes], frame: Frame) -> None:
    """Write a frame. Raises OSError or ValueError where the other end is gone."""
    lengths = [part.nbytes for part in frame]
    stream.write(_COUNT.pack(len(lengths)) + b"".join(map(_LENGTH.pack, lengths)))
    for part in frame:
        stream.write(part)
    stream.flush()


def messages(stream: IO[bytes], find: Callable[[str, int], Any]) -> Iterator[Any]:
    """The messages that arrive, until the other end is gone; `find` gives the objects of their numbers."""
    while head := stream.read(_COUNT.size):
        count = _COUNT.unpack(head)[0] if len(head) == _COUNT.size else 0
        lengths = stream.read(_LENGTH.size * min(count, MOST_PARTS))
        if not count or count > MOST_PARTS or len(lengths) < _LENGTH.size * count:
            return
        size, *sizes = (length for (length,) in _LENGTH.iter_unpack(lengths))
        data = stream.read(size)
        buffers = [new_buffer(each) if each else bytearray() for each in sizes]
        if len(data) < size or any(_read_into(stream, buffer) < len(buffer) for buffer in buffers):
            return
        yield _Unpickler(data, buffers, find).load()


def _read_into(stream: IO[bytes], buffer: Passed) -> int:
    view, done = pickle.PickleBuffer(buffer).raw(), 0
    while done < len(view):
        count = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            break
        done += count
    return done


class ChildEnd:
    """The child's end: what it sends, and the cancel tokens and callbacks that it was given numbers of."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._tokens: weakref.WeakValueDictionary[int, CancelToken] = weakref.WeakValueDictionary()

    def send(self, message: object) -> None:
        """Send a message, from any thread."""
        frame = pack(message)
        with self._lock, suppress(OSError, ValueError):
            write(self._stream, frame)

    def find(self, kind: str, number: int) -> Passed:
        """The object of this end for one of the other end."""
        if kind == "callback":
            return partial(self._call_back, number)
        token = self._tokens.get(number)
        if token is None:
            token = self._tokens[number] = CancelToken()
        return token

    def _call_back(self, number: int, *arguments: Passed) -> None:
        self.send(Called(number, arguments))

    def cancel(self, message: CancelSet) -> None:
        """Set a token, where its call still runs."""
        if (token := self._tokens.get(message.token)) is not None:
            token.set()
