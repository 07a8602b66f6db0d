"""Checking the format of answers before it is set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from workbench.core.errors import FormatError
from workbench.core.models import ModelEntry
from workbench.core.parameters import check_value
from workbench.core.servers import is_server_ref

Values = Mapping[str, object]


async def without_bad_format(
    values: Values, model: ModelEntry | None, check: Callable[[str, bool], object]
) -> tuple[Values, FormatError | None]:
    """The values of parameters without a format that `model` cannot be held to, and why it cannot.

    Raises:
        ParameterError: The format is no text.
    """
    value = str(check_value("format", values.get("format", "")))
    try:
        if value:
            await asyncio.to_thread(check, value, model is None or not is_server_ref(model.ref))
    except FormatError as error:
        return {name: each for name, each in values.items() if name != "format"}, error
    return values, None
