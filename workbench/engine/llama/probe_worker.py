"""The child process that asks llama.cpp what it is and what it computes on: lines of JSON on standard output.

Some backends end the process when they are asked. Every line is written as soon as it is known, so that what was found
before is not lost.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
from dataclasses import asdict
from typing import TextIO

MOST_LINES = 50


def _emit(channel: TextIO, event: str, **facts: object) -> None:
    channel.write(json.dumps({"event": event, **facts}) + "\n")
    channel.flush()


def _ask(channel: TextIO) -> None:
    from workbench.engine.llama import native
    from workbench.engine.llama.aborts import abort_hooks
    from workbench.engine.llama.devices import backend_names, describe_devices, library_version

    abort_hooks.append(lambda message: _emit(channel, "abort", message=message))
    with native.log.collect() as lines:
        version, commit = library_version()
        _emit(
            channel,
            "build",
            binding=importlib.metadata.version("llama-cpp-python"),
            ggml=version,
            commit=commit,
            # Backends are registered by the first question about them.
            backends=backend_names(),
            gpu_offload=bool(native.api.llama_supports_gpu_offload()),
            system_info=native.api.llama_print_system_info().decode("utf-8", "replace"),
        )
        for device in describe_devices():
            _emit(channel, "device", **asdict(device))
    told = [text for level, text in lines if level >= logging.WARNING]
    _emit(channel, "end", log=told[:MOST_LINES])


def main() -> None:
    """Tell everything, then end without running what a driver registered for that."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        _ask(channel)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to tell it
        _emit(channel, "failed", message=f"{type(error).__name__}: {error}")
    os._exit(0)


if __name__ == "__main__":
    main()
