"""Checks a model file against the assertions of llama.cpp's loader, which would abort the process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NoReturn

from workbench.core.errors import ModelFileError
from workbench.gguf.family_checks import family_fault
from workbench.gguf.header import Array, Header, Value
from workbench.gguf.kinds import why_no_text, why_not_loadable
from workbench.gguf.layers import MAX_LAYERS, LayerKind, cache_widths, is_hybrid, plan_layers
from workbench.gguf.model import get_int, get_per_layer, get_text
from workbench.gguf.names import parse_shard
from workbench.gguf.reader import DEFAULT_ALIGNMENT, read_header
from workbench.gguf.types import ValueType

MAX_EXPERTS = 1024
ROPE_SCALINGS = frozenset({"none", "linear", "yarn", "longrope"})
_TOKENS, _TOKEN_TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
_BYTE = 6
"""The token type of tokens that stand for one byte."""
_DAMAGED = "The file is damaged, or was converted wrongly: download it again, or from another source."
_NO_WEIGHT_TYPES = frozenset({"Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64"})
"""Types that llama.cpp uses for intermediate results and indices only: it multiplies by no such tensor."""
_INDICES = ".ffn_gate_tid2eid.weight"
"""Suffix of the tables of expert numbers by token, the only tensors of integers."""
_DIVISORS = (("full_attention_interval", ""), ("interleave_moe_layer_step", "ernie4_5-moe"))
"""Keys whose value llama.cpp divides by, and the architecture for which it does; all where that is empty."""
_ELEMENTWISE = (
    ".bias", "norm.weight", "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight",
    "attn_sinks.weight", "ssm_conv1d.weight", "ssm_a", "ssm_d", "shortconv.conv.weight", "norm_1.weight",
    "norm_2.weight", "layer_output_scale.weight", "altup_correct_scale.weight", "mix_lerp_fused.weight",
    *(f"mix_lerp_{name}.weight" for name in "gkrvwx"), "time_mix_first.weight", "time_mix_decay.weight",
    *(f"time_mix_{name}.weight" for name in ("ln", "w0", "a0", "v0", "k_k", "k_a", "r_k")),
)  # fmt: skip
"""Suffixes of tensors of element-wise operations, which the CPU computes in F32 only."""
_NO_TOKENIZER = frozenset({"none", "no_vocab"})
_WHOLLY_ROTATED = frozenset(
    {
        "apertus", "arcee", "arctic", "baichuan", "chameleon", "codeshell", "cogvlm", "cohere2moe", "dbrx", "deci",
        "deepseek", "dots1", "ernie4_5", "ernie4_5-moe", "exaone", "exaone-moe", "exaone4", "falcon", "granite",
        "granite_swa", "granitemoe", "graniteswitch", "grok", "grovemoe", "hunyuan-dense", "hunyuan-moe",
        "hunyuan_vl", "hy_v3", "internlm2", "jais2", "llama", "llama4", "maincoder", "mellum", "minicpm",
        "mistral3", "olmo", "olmo2", "olmoe", "orion", "paddleocr", "pangu-embedded", "plamo", "qwen2", "qwen2moe",
        "qwen2vl", "qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe", "seed_oss", "smallthinker", "smollm3",
        "starcoder2", "talkie", "xverse",
    }
)  # fmt: skip
"""Architectures whose RoPE rotates all dimensions of a head, and whose keys and values have the same width."""
_ONE_WIDTH = _WHOLLY_ROTATED | {
    "afmoe", "bailingmoe2", "bitnet", "bloom", "chatglm", "cohere2", "command-r", "glm4", "glm4moe", "gpt2",
    "gptneox", "granitehybrid", "jais", "laguna", "maple", "minimax-01", "minimax-m2", "minimax-m3", "mpt",
    "muse-glimmer", "nanbeige", "nemotron", "nemotron_h", "nemotron_h_moe", "openelm", "phi2", "phi3", "qwen",
    "qwen35", "qwen35moe", "qwen3next", "qwen4exp", "refact", "spark2_5", "stablelm", "starcoder",
}  # fmt: skip
"""Architectures whose keys and values have the same width."""
_SECTIONED = frozenset({"paddleocr", "qwen2vl", "qwen35", "qwen35moe", "qwen3vl", "qwen3vlmoe"})
"""Architectures whose RoPE always rotates sections, one for each axis of a picture."""
_LEAST = (
    ("bailingmoe2", "expert_count", 1, 0), ("glm4moe", "expert_count", 1, 0), ("grovemoe", "expert_count", 1, 0),
    ("smallthinker", "expert_count", 1, 0), ("lfm2moe", "expert_count", 1, 0), ("lfm2moe", "shortconv.l_cache", 2, 0),
    ("lfm2", "shortconv.l_cache", 2, 0),
)  # fmt: skip
"""Architecture, key, the least value that llama.cpp asserts, and its default."""
_WITH_ROPE = frozenset({"falcon-h1", "lfm2", "lfm2moe", "plamo2", "qwen3next", "qwen35", "qwen35moe"})
"""Hybrid architectures whose layers with attention always have RoPE."""
_DEFAULT_BOS: Mapping[str, int] = {"llama": 1, "gpt2": 11, "bert": 101, "plamo2": 1}
"""The default BOS token by tokenizer."""


def check_loadable(path: str | PathLike[str], *, writes: bool = True) -> tuple[Header, ...]:
    """Check that llama.cpp will load or refuse the model at `path`, and not abort; its headers, one for each part.

    `writes` states whether the model must be one that writes text.

    Raises:
        ModelFileError: The file cannot be read, is not a model, or would make llama.cpp abort.
    """
    first = read_header(path, arrays=frozenset({_TOKENS, _TOKEN_TYPES}))
    headers = (first, *_other_parts(Path(path), first))
    _LoadCheck(Path(path), first.metadata, headers, writes).run()
    return headers


def _other_parts(path: Path, first: Header) -> tuple[Header, ...]:
    count = get_int(first.metadata, "split.count") or 0
    if count <= 1:
        return ()
    number = get_int(first.metadata, "split.no") or 0
    shard = parse_shard(path.name)
    if shard is None or shard.count != count:
        raise ModelFileError(
            f"{path}: this is part {number + 1} of {count}, and its name does not say so.",
            f"Give all parts their names back: NAME-00001-of-{count:05}.gguf and so on.",
        )
    if shard.number != 1 or number != 0:
        raise ModelFileError(f"{path}: this is part {number + 1} of {count}.", f"Open the first part: {shard.name(1)}")
    parts = [path.with_name(name) for name in shard.names[1:]]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        named = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        raise ModelFileError(
            f"{path}: {len(missing)} of its {count} parts are missing: {named}.", "Download them to the same folder."
        )
    headers = tuple(read_header(part) for part in parts)
    for index, header in enumerate(headers, start=1):
        if header.value_types.get("split.no") is not ValueType.UINT16 or header.metadata["split.no"] != index:
            raise ModelFileError(f"{header.path}: it does not say that it is part {index + 1} of {count}.", _DAMAGED)
    return headers


@dataclass(frozen=True, slots=True)
class _LoadCheck:
    """Checks one model; each method covers one group of llama.cpp's assertions."""

    path: Path
    metadata: Mapping[str, Value]
    headers: Sequence[Header]
    writes: bool

    def run(self) -> None:
        """All checks, those with the clearest reasons first."""
        architecture = self._kind()
        self._tensors()
        self._alignment()
        self._layers(architecture)
        self._heads(architecture)
        self._experts(architecture)
        self._numbers(architecture)
        self._vocabulary()

    def _fail(self, what: str, hint: str = _DAMAGED) -> NoReturn:
        raise ModelFileError(f"{self.path}: {what}.", hint)

    def _kind(self) -> str:
        tensors = [tensor for header in self.headers for tensor in header.tensors]
        obstacle = why_not_loadable(self.metadata, tensors) or (why_no_text(self.metadata) if self.writes else None)
        if obstacle is not None:
            self._fail(*obstacle)
        architecture = get_text(self.metadata, "general.architecture")
        if architecture is None:
            self._fail("the metadata key 'general.architecture' is missing, which names the kind of model")
        return architecture

    def _tensors(self) -> None:
        tensors = [tensor for header in self.headers for tensor in header.tensors]
        if not tensors:
            self._fail("it has no weights, only a vocabulary", "Get the file with the weights.")
        names = {tensor.name for tensor in tensors}
        if len(names) != len(tensors):
            self._fail("two of its parts hold the same tensor")
        total = get_int(self.metadata, "split.tensors.count")
        if len(self.headers) > 1 and total is not None and total != len(tensors):
            self._fail(f"its parts hold {len(tensors)} tensors instead of {total}")
        for tensor in tensors:
            kind = tensor.type.name
            if kind != "F32" and tensor.name.endswith(_ELEMENTWISE):
                self._fail(f"the tensor {tensor.name!r} has the type {kind}; llama.cpp computes it as F32")
            if tensor.name.endswith(_INDICES):
                if kind != "I32":
                    self._fail(f"the tensor {tensor.name!r} has the type {kind}; it holds indices, which are I32")
            elif kind in _NO_WEIGHT_TYPES:
                self._fail(f"the tensor {tensor.name!r} has the type {kind}, which cannot hold weights")

    def _alignment(self) -> None:
        """The first tensor in a memory-mapped buffer must be aligned; which one that is depends on the devices."""
        for header in self.headers:
            for tensor in header.tensors:
                if (header.data_offset + tensor.offset) % DEFAULT_ALIGNMENT:
                    self._fail(f"the data of {tensor.name!r} is not aligned to {DEFAULT_ALIGNMENT} bytes")

    def _int(self, architecture: str, key: str, default: int = 0) -> int:
        value = get_int(self.metadata, f"{architecture}.{key}")
        return default if value is None else value

    def _layers(self, architecture: str) -> None:
        count = self._int(architecture, "block_count", -1)
        if not 1 <= count <= MAX_LAYERS:
            claim = "the number of layers is missing" if count < 0 else f"it claims {count} layers"
            self._fail(f"{claim}; llama.cpp takes 1 to {MAX_LAYERS}")
        nextn = self._int(architecture, "nextn_predict_layers")
        if nextn > count:
            self._fail(f"{nextn} of its {count} layers are declared as next-token prediction layers")
        plan = plan_layers(self.metadata, architecture)
        if plan.window and LayerKind.WINDOW not in plan.kinds:
            self._fail(f"it has a sliding window of {plan.window} tokens, but no layer that uses it")
        if architecture == "gemma4" and count - self._int(architecture, "attention.shared_kv_layers") < 2:
            self._fail("fewer than two of its layers have a KV cache of their own")

    def _heads(self, architecture: str) -> None:
        count = self._int(architecture, "block_count")
        heads = get_per_layer(self.metadata, f"{architecture}.attention.head_count", count) or (0,) * count
        kv_heads = get_per_layer(self.metadata, f"{architecture}.attention.head_count_kv", count) or heads
        for layer, (query, key_value) in enumerate(zip(heads, kv_heads, strict=True)):
            if query and key_value and query % key_value:
                self._fail(f"layer {layer} has {query} attention heads, not a multiple of its {key_value} KV heads")
        attends = any(".attn_" in tensor.name for header in self.headers for tensor in header.tensors)
        if attends and max(heads) <= 0 and not is_hybrid(architecture):
            self._fail("it has layers with attention, and no attention heads")
        if heads[0]:
            self._widths(architecture, heads[0])
            self._key_value_tensors(architecture)
            self._projections(architecture)

    def _widths(self, architecture: str, heads: int) -> None:
        """RoPE rotates pairs of dimensions within a head."""
        default = self._int(architecture, "embedding_length") // heads
        width = self._int(architecture, "attention.key_length", default)
        turned = self._int(architecture, "rope.dimension_count", width)
        for suffix in ("", "_swa"):
            width = self._int(architecture, f"attention.key_length{suffix}", width)
            turned = self._int(architecture, f"rope.dimension_count{suffix}", turned)
            # Hybrid models may lack RoPE; for others its kernel never returns with zero dimensions.
            may_lack_it = is_hybrid(architecture) and architecture not in _WITH_ROPE
            if turned % 2 or turned > width or (turned == 0 < width and not may_lack_it):
                self._fail(f"RoPE rotates {turned} of the {width} dimensions of its attention heads")
            if not suffix and turned != width and architecture in _WHOLLY_ROTATED:
                self._fail(f"RoPE rotates {turned} of the {width} dimensions of its heads; {architecture} rotates all")
        sections = self.metadata.get(f"{architecture}.rope.dimension_sections")
        sizes = sections.values if isinstance(sections, Array) and sections.values else ()
        if architecture in _SECTIONED and not any(isinstance(size, int) and size > 0 for size in sizes[:3]):
            self._fail("its RoPE has no sections")
        key, value = (self._int(architecture, f"attention.{name}_length", default) for name in ("key", "value"))
        if key != value and architecture in _ONE_WIDTH:
            self._fail(f"its heads have keys of {key} dimensions and values of {value}; {architecture} has one width")

    def _key_value_tensors(self, architecture: str) -> None:
        """The key and value matrices must match the widths of the cache."""
        plan = plan_layers(self.metadata, architecture)
        widths = cache_widths(self.metadata, architecture, plan)
        rows = {t.name: t.shape[1] for header in self.headers for t in header.tensors if len(t.shape) == 2}
        for layer, kind in enumerate(plan.kinds):
            if kind in {LayerKind.NONE, LayerKind.RECURRENT}:
                continue
            for letter, width in (("k", widths.key[layer]), ("v", widths.value[layer])):
                made = rows.get(f"blk.{layer}.attn_{letter}.weight", width)
                if made != width:
                    self._fail(f"layer {layer} has {letter.upper()} vectors of {made} dimensions instead of {width}")

    def _projections(self, architecture: str) -> None:
        """llama.cpp takes separate or joined matrices, for some architectures also none, and then reads address 0."""
        names = {tensor.name for header in self.headers for tensor in header.tensors}
        for layer, kind in enumerate(plan_layers(self.metadata, architecture).kinds):
            block = f"blk.{layer}.attn_"
            if kind in {LayerKind.NONE, LayerKind.RECURRENT} or f"{block}output.weight" not in names:
                continue
            for what, forms in (("queries", ("q", "qkv", "q_a")), ("keys", ("k", "qkv", "kv_a_mqa"))):
                if not any(f"{block}{form}.weight" in names for form in forms):
                    self._fail(f"layer {layer} has no matrix for the {what} of its attention")

    def _experts(self, architecture: str) -> None:
        count = self._int(architecture, "expert_count")
        if architecture in {"hunyuan_vl", "hunyuan-dense"} and count <= 1:
            return
        layers = self._int(architecture, "block_count")
        by_layer = get_per_layer(self.metadata, f"{architecture}.expert_used_count", layers) or (0,)
        used = max(by_layer)
        groups = self._int(architecture, "expert_group_count")
        groups_used = self._int(architecture, "expert_group_used_count")
        if count > MAX_EXPERTS:
            self._fail(f"it claims {count} experts; llama.cpp takes at most {MAX_EXPERTS}")
        if used > count or (count and not used):
            self._fail(f"{used} of its {count} experts are declared as used per token")
        routers = {tensor.name for header in self.headers for tensor in header.tensors}
        for layer, number in enumerate(by_layer):
            if number <= 0 and f"blk.{layer}.ffn_gate_inp.weight" in routers:
                self._fail(f"layer {layer} has experts, and {number} of them are declared as used per token")
        if groups and groups >= count:
            self._fail(f"its {count} experts are declared as {groups} groups")
        if groups > 1 and (count % groups or not 0 < groups_used < groups):
            self._fail(f"{groups_used} of {groups} groups of its {count} experts are declared as used per token")

    def _numbers(self, architecture: str) -> None:
        scaling = get_text(self.metadata, f"{architecture}.rope.scaling.type")
        if scaling is not None and scaling not in ROPE_SCALINGS:
            self._fail(
                f"its RoPE scaling is {scaling[:40]!r}; llama.cpp knows {', '.join(sorted(ROPE_SCALINGS))}",
                "A newer llama.cpp may load it.",
            )
        names = {tensor.name for header in self.headers for tensor in header.tensors}
        if fault := family_fault(self.metadata, architecture, names):
            self._fail(fault)
        for only, key, least, default in _LEAST:
            if only == architecture and self._int(architecture, key, default) < least:
                self._fail(f"the metadata key '{architecture}.{key}' is below {least}")
        for key, only in _DIVISORS:
            if only in {"", architecture} and get_int(self.metadata, f"{architecture}.{key}") == 0:
                self._fail(f"the metadata key '{architecture}.{key}' is 0")
        for key in ("layer_norm_epsilon", "layer_norm_rms_epsilon"):
            epsilon = self.metadata.get(f"{architecture}.attention.{key}", 0.0)
            if isinstance(epsilon, float) and not epsilon >= 0:
                self._fail(f"the metadata key '{architecture}.attention.{key}' is {epsilon}")

    def _vocabulary(self) -> None:
        tokens = self.metadata.get(_TOKENS)
        tokenizer = get_text(self.metadata, "tokenizer.ggml.model")
        if self.writes and tokenizer in _NO_TOKENIZER:
            self._fail("it has no tokenizer, so it cannot process text", "Get a file that has its tokenizer.")
        types = self.metadata.get(_TOKEN_TYPES)
        if tokenizer == "bert" and isinstance(types, Array) and _BYTE in (types.values or ()):
            self._fail("its tokenizer is WordPiece, and has tokens for single bytes")
        if not isinstance(tokens, Array) or tokens.element_type is not ValueType.STRING or tokens.values is None:
            return
        if tokenizer in _NO_TOKENIZER:
            return
        # llama.cpp truncates a token at its first zero byte, and names empty ones after their index.
        words = [str(token).partition("\0")[0] or f"[EMPTY_{index}]" for index, token in enumerate(tokens.values)]
        if len(set(words)) != len(words):
            first: dict[str, int] = {}
            again = next(index for index, word in enumerate(words) if first.setdefault(word, index) != index)
            word = words[again]
            self._fail(f"the tokens {first[word]} and {again} of its vocabulary are equal: {word[:40]!a}")
        if tokenizer == "llama":
            self._byte_tokens(frozenset(words))
        self._first_token(tokenizer or "", tokens.length)

    def _byte_tokens(self, words: frozenset[str]) -> None:
        """Text that no other token covers is encoded as bytes; llama.cpp requires a token for each of them."""
        for byte in range(256):
            alone = bytes([byte]).decode("utf-8", "surrogateescape")
            if f"<0x{byte:02X}>" not in words and alone not in words:
                self._fail(f"its vocabulary has no token for the byte {byte}, so it cannot encode every text")

    def _first_token(self, tokenizer: str, vocab: int) -> None:
        # For gemma4, llama.cpp overrides what the file says.
        if (
            tokenizer != "gemma4"
            and self.metadata.get("tokenizer.ggml.add_bos_token", tokenizer == "llama") is not True
        ):
            return
        named = get_int(self.metadata, "tokenizer.ggml.bos_token_id")
        default = _DEFAULT_BOS.get(tokenizer, vocab)
        if not any(0 <= token < vocab for token in (vocab if named is None else named, default)):
            self._fail("its BOS token, which begins every text, is not in its vocabulary")
