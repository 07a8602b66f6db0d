"""The child process that reads NVML for another process: a line for each question, a line of JSON for each answer.

It ends when nobody can ask any more.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from workbench.telemetry.nvml import NvmlSource
from workbench.telemetry.source import SourceError
from workbench.telemetry.wire import sample_to_dict


def answer(source: NvmlSource) -> dict[str, Any]:
    """One reading."""
    try:
        samples = source.read()
    except SourceError as error:
        return {"error": error.reason, "absent": error.absent, "code": error.code}
    return {"samples": [sample_to_dict(sample) for sample in samples], "versions": source.versions()}


def main() -> None:
    """Answer until the questions end."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    source = NvmlSource(int(sys.argv[1]))
    for _ in sys.stdin:
        channel.write(json.dumps(answer(source)) + "\n")
        channel.flush()
    # Whatever the driver registered for the end of a process may block.
    os._exit(0)


if __name__ == "__main__":
    main()
