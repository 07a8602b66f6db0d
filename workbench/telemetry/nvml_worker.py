"""The child process that reads NVML for another process: one event answers each order."""

from __future__ import annotations

import sys
from typing import Any

from workbench.processes import ParentChannel, engines
from workbench.telemetry.nvml import NvmlSource
from workbench.telemetry.source import SourceError, sample_to_dict


def answer(source: NvmlSource) -> dict[str, Any]:
    """One reading."""
    try:
        samples = source.read()
    except SourceError as error:
        return {"error": error.reason, "absent": error.absent, "code": error.code}
    return {"samples": [sample_to_dict(sample) for sample in samples], "versions": source.versions()}


def main() -> None:
    """Answer until the parent closes the channel."""
    channel = ParentChannel()
    source = NvmlSource(int(sys.argv[1]))
    for order in channel.orders():
        engines.clear()
        engines.update(order.get("engines", ()))
        channel.emit(**answer(source))


if __name__ == "__main__":
    main()
