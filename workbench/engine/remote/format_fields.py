"""The format of an answer in the words of each kind of server with the OpenAI API.

Sources: https://platform.openai.com/docs/guides/structured-outputs, llama.cpp's `tools/server/README.md`,
https://docs.vllm.ai/en/latest/features/structured_outputs/, https://lmstudio.ai/docs/app/api/structured-output and
`GrammarType` in https://github.com/huggingface/text-generation-inference/blob/main/router/src/lib.rs.
"""

from __future__ import annotations

from typing import Any

from workbench.core.servers import ServerInfo
from workbench.engine.formats.answer_format import AnswerFormat, read_format

STRUCTURED_OUTPUTS_FROM = (0, 11)
"""The version of vLLM in which `structured_outputs` took the place of `guided_grammar`; unknown fields are ignored."""


def format_fields(value: str, server: ServerInfo) -> dict[str, Any]:
    """The fields for a value of the parameter `format`; none where the server does not take it.

    Raises:
        FormatError: It cannot be read.
    """
    form = read_format(value)
    if form is None:
        return {}
    if form.kind == "grammar":
        return _grammar(form, server)
    if server.kind == "llama-server":
        return {"json_schema": form.schema}
    if server.kind == "TGI":
        return {"response_format": {"type": "json_object", "value": form.schema}}
    if form.kind == "json" and server.kind != "LM Studio":
        return {"response_format": {"type": "json_object"}}
    schema = {"name": "answer", "strict": True, "schema": form.schema}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _grammar(form: AnswerFormat, server: ServerInfo) -> dict[str, Any]:
    match server.kind:
        case "llama-server":
            return {"grammar": form.text}
        case "vLLM" if (version := parse_version(server.version)) and version < STRUCTURED_OUTPUTS_FROM:
            return {"guided_grammar": form.text}
        case "vLLM":
            return {"structured_outputs": {"grammar": form.text}}
        case _:
            return {}


def parse_version(text: str | None) -> tuple[int, int] | None:
    """The first two numbers of a version; None where there are none."""
    parts = (text or "").split("-")[0].split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (ValueError, IndexError):
        return None
