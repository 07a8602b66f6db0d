"""Identification of files that are named as GGUF but are not."""

from __future__ import annotations

_AGAIN = "Download it again from the file's own download link."
_AS_GGUF = "get the model as a GGUF."

_BINARY = (
    (
        (b"lmgg", b"fmgg", b"tjgg", b"algg", b"ggml", b"ggmf", b"ggjt", b"ggla"),
        "this is a file in the older GGML format",
        f"llama.cpp no longer reads it: {_AS_GGUF}",
    ),
    (
        (b"PK\x03\x04", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"\xfd7zXZ"),
        "this is an archive or a PyTorch checkpoint",
        f"Unpack it, or {_AS_GGUF}",
    ),
    (
        (b"\x00\x05\x16\x07", b"\x00\x05\x16\x00"),
        "this is macOS' companion of a file on a foreign disk, not the file itself",
        "Open the file of this name without the leading `._`.",
    ),
)
_TEXT = (
    (
        (b"version https://git-lfs",),
        "this is a Git LFS pointer, not the model",
        "Run `git lfs pull` in its repository, or download the file itself.",
    ),
    (
        (b"<!doctype", b"<html", b"<head", b"<?xml"),
        "this is a web page, not the model",
        f"The link led to a page about the file. {_AGAIN}",
    ),
)


def identify(start: bytes) -> tuple[str, str]:
    """The apparent kind of a file that begins with `start`, and what to do."""
    if not start:
        return "the file is empty", "The download did not start, or the disk was full. Download it again."
    if not start.strip(b"\0"):
        return "it begins with zero bytes", "The download reserved the space and was not finished. Download it again."
    if start[8:10] in (b'{"', b"{ "):
        return "this is a safetensors file", f"Convert it to GGUF first, or {_AS_GGUF}"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for seen, table in ((start, _BINARY), (text, _TEXT)):
        for prefixes, what, hint in table:
            if seen.startswith(prefixes):
                return what, hint
    words = " ".join(start[:64].decode("utf-8", "replace").split())
    if len(words) >= 4 and words.isprintable() and "\N{REPLACEMENT CHARACTER}" not in words[:-1]:
        return f"it is text that begins with {words[:40]!r}", f"It may be a server's error message. {_AGAIN}"
    return f"it begins with {start[:4].hex(' ')} instead of the letters GGUF", _AGAIN
