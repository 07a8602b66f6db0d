"""Which types of the KV cache llama.cpp refuses for a model, by the rules of `llama_init_from_model`."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.core.errors import ModelLoadError
from workbench.gguf.compute import NO_FLASH_ATTENTION
from workbench.gguf.header import Value
from workbench.gguf.layers import cache_widths, head_widths, is_latent, plan_layers
from workbench.gguf.model import get_text
from workbench.gguf.types import TENSOR_TYPES_BY_NAME


def cache_refusal(
    metadata: Mapping[str, Value], type_k: str, type_v: str, *, flash_attention: bool
) -> ModelLoadError | None:
    """Why a model is not loaded with these types of keys and values; None where it is.

    `flash_attention` is False where it is off, and True where it is on or chosen by llama.cpp.
    """
    architecture = get_text(metadata, "general.architecture") or ""
    flash_attention = flash_attention and architecture not in NO_FLASH_ATTENTION
    block_k, block_v = (TENSOR_TYPES_BY_NAME[name.upper()].block for name in (type_k, type_v))
    if block_v > 1 and not flash_attention:
        return ModelLoadError("A quantized V cache needs flash attention.", "Set flash_attn to auto, or type_v to f16.")
    if is_latent(metadata, architecture) and type_k != type_v:
        return ModelLoadError(
            f"This model keeps K and V together (MLA): their types cannot be {type_k} and {type_v}.",
            "Set type_k and type_v to the same type.",
        )
    plan = plan_layers(metadata, architecture)
    heads = head_widths(metadata, architecture, plan)
    # Without flash attention, whole rows of K are quantized.
    rows_k = cache_widths(metadata, architecture, plan).key
    for name, kind, block, widths, what in (
        ("type_k", type_k, block_k, heads.key if flash_attention else rows_k, "keys"),
        ("type_v", type_v, block_v, heads.value, "values"),
    ):
        odd = next((width for width in widths if width % block), None)
        if odd is not None:
            return ModelLoadError(
                f"The {what} of this model are {odd} wide, which {kind} cannot hold: it needs multiples of {block}.",
                f"Set {name} to f16.",
            )
    return None
