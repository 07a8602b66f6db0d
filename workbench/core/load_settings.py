"""The settings with which a model is loaded, and their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.core.engine_hosts import BUILD_NAME, CHILD, PROCESS
from workbench.core.parameter import INT32, Parameter
from workbench.core.speculation import MOST_DRAFTED, NGRAM, OFF

SPLIT_MODES = ("layer", "row", "none")
KV_TYPES = ("f16", "f32", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
LOAD_MODES = ("mmap", "mlock", "mmap+mlock", "dio", "none", "auto")
"""The ways in which a file is read, by llama.cpp's names; `dio` is direct I/O."""
MOST_PARALLEL = 64
_MAPPED = frozenset({"mmap", "mmap+mlock", "auto"})


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How a model is loaded. A change takes effect when the model is loaded again."""

    num_ctx: int = 0
    num_batch: int = 512
    num_ubatch: int = 512
    num_parallel: int = 1
    num_gpu: int = -1
    num_cpu_moe: int = 0
    override_tensor: tuple[str, ...] = ()
    split_mode: str = "layer"
    tensor_split: tuple[str, ...] = ()
    main_gpu: int = 0
    devices: tuple[str, ...] = ()
    offload_kqv: bool = True
    num_thread: int = 0
    num_thread_batch: int = 0
    adapt_threads: bool = True
    use_mmap: bool = True
    load_mode: str = "mmap"
    type_k: str = "f16"
    type_v: str = "f16"
    flash_attn: str = "auto"
    swa_full: bool = False
    speculation: str = OFF
    draft_tokens: int = 8
    engine_host: str = PROCESS

    @property
    def reading(self) -> str:
        """The load mode in force: `use_mmap`, Ollama's word, forbids only the default."""
        return "none" if self.load_mode == "mmap" and not self.use_mmap else self.load_mode

    @property
    def is_mapped(self) -> bool:
        """Whether the file is mapped into memory."""
        return self.reading in _MAPPED

    @property
    def ubatch(self) -> int:
        """Prompt tokens in one graph at most."""
        return min(self.num_batch, self.num_ubatch)


def load_parameters() -> Sequence[Parameter]:
    """The parameters of `LoadSettings`, in the order in which the screen shows them."""
    load = LoadSettings()
    # fmt: off
    return (
        Parameter("num_ctx", "Context length", "int", load.num_ctx,
                  "Tokens that the model can see at once; 0 is its training context, but at most 8192.",
                  0, INT32, reload=True),
        Parameter("num_batch", "Batch size", "int", load.num_batch,
                  "Prompt tokens computed in one step.", 1, 65536, reload=True),
        Parameter("num_ubatch", "Micro-batch size", "int", load.num_ubatch,
                  "Prompt tokens in one graph, at most the batch size; a larger one takes more memory.",
                  1, 65536, reload=True, in_modelfile=False),
        Parameter("num_parallel", "Answers at once", "int", load.num_parallel,
                  "Answers computed together, each with the whole context: each takes a KV cache of its own.",
                  1, MOST_PARALLEL, reload=True, in_modelfile=False),
        Parameter("num_gpu", "GPU layers", "int", load.num_gpu,
                  "Layers offloaded to the GPU; -1 is as many as fit, 0 is none.", -1, 100000, reload=True),
        Parameter("num_cpu_moe", "Experts on the CPU", "int", load.num_cpu_moe,
                  "Layers, from the first, whose experts (MoE) stay on the CPU; -1 is all, 0 is none.",
                  -1, 512, reload=True, in_modelfile=False),
        Parameter("override_tensor", "Tensor overrides", "strings", load.override_tensor,
                  "PATTERN=DEVICE puts the tensors whose name matches a regular expression on a device; the first "
                  "match counts.", form=r"[^=\s,;]+=[A-Za-z0-9_.:\[\]-]+",
                  form_text="PATTERN=DEVICE with a regular expression, such as blk\\.[0-3]\\.ffn_.*=CPU", regex=True,
                  separators=";,", reload=True, in_modelfile=False),
        Parameter("split_mode", "Split over GPUs", "choice", load.split_mode,
                  "layer gives each GPU whole layers, row a part of each matrix, none uses only the main GPU.",
                  choices=SPLIT_MODES, reload=True, in_modelfile=False),
        Parameter("tensor_split", "Shares of the GPUs", "strings", load.tensor_split,
                  "How the layers are shared among the GPUs, such as 3,1; empty is by their free memory.",
                  form=r"[0-9]{1,6}(\.[0-9]{1,6})?", form_text="numbers, such as 3,1", separators=",;|/", reload=True,
                  in_modelfile=False),
        Parameter("main_gpu", "Main GPU", "int", load.main_gpu,
                  "The GPU that holds the model where split_mode is none, by llama.cpp's numbering.",
                  0, 255, reload=True),
        Parameter("devices", "GPUs to use", "strings", load.devices,
                  "The GPUs by llama.cpp's names, such as CUDA0,CUDA1; empty is all.",
                  form=r"[A-Za-z0-9_.:\[\]-]+", form_text="names of devices, such as CUDA0", separators=",;|/",
                  reload=True, in_modelfile=False),
        Parameter("offload_kqv", "KV on the GPU", "bool", load.offload_kqv,
                  "Keep the KV cache of a layer on the device of the layer; without it, in the memory of the host.",
                  reload=True, in_modelfile=False),
        Parameter("num_thread", "Threads", "int", load.num_thread,
                  "CPU threads; 0 is one per physical core.", 0, 1024, reload=True),
        Parameter("num_thread_batch", "Prompt threads", "int", load.num_thread_batch,
                  "CPU threads that compute prompts; 0 is as many as for the answer.",
                  0, 1024, reload=True, in_modelfile=False),
        Parameter("adapt_threads", "Adapt threads", "bool", load.adapt_threads,
                  "Write with fewer threads while other programs use the cores; not where num_thread, a seed or a "
                  "temperature of 0 is set.",
                  reload=True, in_modelfile=False),
        Parameter("use_mmap", "Memory map", "bool", load.use_mmap,
                  "Map the file instead of reading it; pages are loaded when they are used.", reload=True),
        Parameter("load_mode", "Load mode", "choice", load.load_mode,
                  "mmap maps the file, none reads it; mlock keeps it from being swapped out, dio reads past the cache "
                  "of the system.", choices=LOAD_MODES, reload=True, in_modelfile=False),
        Parameter("type_k", "K cache type", "choice", load.type_k, "The type of the keys in the KV cache.",
                  choices=KV_TYPES, reload=True, in_modelfile=False),
        Parameter("type_v", "V cache type", "choice", load.type_v,
                  "The type of the values in the KV cache; a quantized one needs flash attention.",
                  choices=KV_TYPES, reload=True, in_modelfile=False),
        Parameter("flash_attn", "Flash attention", "choice", load.flash_attn,
                  "auto lets llama.cpp decide.", choices=("auto", "on", "off"), reload=True, in_modelfile=False),
        Parameter("swa_full", "Full window cache", "bool", load.swa_full,
                  "Layers with a sliding window keep the whole context.", reload=True, in_modelfile=False),
        Parameter("speculation", "Speculation", "name", load.speculation,
                  "Verify several drafted tokens in one step: ngram drafts what followed the last tokens before; or "
                  "name a small model with the same vocabulary. The text stays the same.",
                  choices=(OFF, NGRAM), form=r"\S(?:.*\S)?", form_text="off, ngram, or a draft model", reload=True,
                  in_modelfile=False),
        Parameter("draft_tokens", "Drafted tokens", "int", load.draft_tokens,
                  "The most tokens that are drafted for one step.", 1, MOST_DRAFTED, reload=True, in_modelfile=False),
        Parameter("engine_host", "Engine", "name", load.engine_host,
                  "What computes: this process, a child that may crash alone, or a build of the config.",
                  choices=(PROCESS, CHILD), form=BUILD_NAME, form_text="process, child, or the name of a build",
                  reload=True, in_modelfile=False),
    )
    # fmt: on
