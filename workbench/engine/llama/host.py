"""Opening models in this process.

llama.cpp is imported with the first model, in the thread that owns it: importing it and starting its backends take a
good part of a second, which must not block the screen.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, EngineHost, ProgressCallback
from workbench.core.errors import CancelledError, ModelFileError, TemplateError, WorkbenchError
from workbench.core.memory import Correction
from workbench.core.models import EngineInfo, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.core.speculation import OFF, draft_model
from workbench.engine.llama.checkpoints import CheckpointLimits, CheckpointPool
from workbench.engine.llama.jinja import shared_jinja
from workbench.engine.llama.plan import Plan, make_plan, read_files
from workbench.engine.llama.runtime import current_machine, shared_runtime
from workbench.engine.llama.states import StateCache
from workbench.engine.llama.template import CHATML, ChatTemplate, PromptTemplate, open_template
from workbench.gguf.draft import Draft
from workbench.gguf.header import Header
from workbench.gguf.model import describe, get_text
from workbench.gguf.recommended import recommended_sampling

if TYPE_CHECKING:
    from workbench.engine.llama.engine import LlamaEngine
    from workbench.engine.llama.model import Model

Resolve = Callable[[str], ModelEntry]

NO_TEMPLATE = "The model has no chat template: ChatML is used. It may be a base model; --raw gives it plain text."

NO_RENDERER = (
    "The file has no chat template that could take the place of the renderer {}: the prompt is not Ollama's. ChatML is "
    "used; --raw gives the model plain text."
)


class LlamaHost(EngineHost):
    """Opens GGUF files with llama.cpp.

    `resolve` finds the model that a reference names, and raises a WorkbenchError. The KV caches of closed models and of
    branches get `state_budget_bytes`; `checkpoints` bounds those of the open models. `memory_guard` refuses a model
    that cannot fit in memory before it is loaded. `correction` has what earlier loads of an architecture took. With
    `typed_control_tokens`, the text of a control token in a message is that token.
    """

    def __init__(
        self,
        resolve: Resolve,
        *,
        state_budget_bytes: int = 2**30,
        checkpoints: CheckpointLimits = CheckpointLimits(),  # noqa: B008 - immutable
        memory_guard: bool = True,
        typed_control_tokens: bool = False,
        correction: Callable[[str], Awaitable[Correction]] | None = None,
    ) -> None:
        self._correction = correction
        self._resolve = resolve
        self._typed_control_tokens = typed_control_tokens
        self._memory_guard = memory_guard
        self.states = StateCache(state_budget_bytes)
        """The KV caches of closed models and of branches. Used in the runtime's thread."""
        self._checkpoints = CheckpointPool(checkpoints)
        self._engines: set[LlamaEngine] = set()

    @override
    async def open(
        self, ref: str, settings: LoadSettings, on_progress: ProgressCallback, cancel: CancelToken
    ) -> Engine:
        began = time.perf_counter()
        entry, headers, adapter, files = await asyncio.to_thread(self._read, ref)
        settings, draft, problem = await asyncio.to_thread(_read_draft, entry, settings, headers[0])
        settings, warnings = _within_training(entry, settings)
        own = entry.recipe.template if entry.recipe else ""
        machine = await current_machine()
        correction = await self._correction(entry.architecture or "") if self._correction is not None else {}
        plan = make_plan(
            headers, settings, machine, adapter=adapter, guard=self._memory_guard, correction=correction, draft=draft
        )
        recommended, problems = recommended_sampling(headers[0].metadata)
        plan = replace(plan, warnings=(*warnings, *problem, *plan.warnings, *problems))
        if cancel.is_set:
            raise CancelledError("Loading was stopped.")
        jinja = _chat_template(headers[0])
        template = await asyncio.to_thread(open_template, own, jinja, cancel)
        lora = "" if adapter is None else adapter.path

        def load() -> LlamaEngine:
            from workbench.engine.llama.model import Model

            model = Model(headers[0].path, plan.settings, on_progress, cancel, lora, self._checkpoints, plan.draft)
            try:
                if cancel.is_set:
                    raise CancelledError("Loading was stopped.")
                load_ms = (time.perf_counter() - began) * 1e3
                engine = self._assemble(model, entry, plan, template, own or jinja, files, load_ms)
                engine.info = replace(engine.info, recommended=recommended)
                return engine
            except BaseException:
                model.close()
                raise

        engine = await shared_runtime.load(load, lambda unwanted: unwanted.free(), cancel)
        self._engines.add(engine)
        return engine

    @override
    async def shutdown(self) -> None:
        # Nothing opens these models again: to copy their caches would take time and memory at the end.
        self.states.close()
        for engine in tuple(self._engines):
            await engine.close()

    def _read(self, ref: str) -> tuple[ModelEntry, tuple[Header, ...], Header | None, Hashable]:
        entry = self._resolve(ref)
        if entry.recipe is None or not entry.recipe.template:
            shared_jinja.start()
        headers, adapter = read_files(entry)
        facts = describe(headers[0], headers[1:])
        known = replace(
            entry,
            quant=entry.quant or facts.quant,
            size_bytes=entry.size_bytes or sum(header.file_size for header in headers),
            parameters=entry.parameters or facts.parameters,
            architecture=entry.architecture or facts.architecture,
            bits_per_weight=entry.bits_per_weight or facts.bits_per_weight,
            context_length=entry.context_length or facts.context_length,
        )
        return known, headers, adapter, _identity(entry)

    def _assemble(
        self,
        model: Model,
        entry: ModelEntry,
        plan: Plan,
        template: PromptTemplate | TemplateError,
        source: str,
        files: Hashable,
        load_ms: float,
    ) -> LlamaEngine:
        from workbench.engine.llama.control_texts import ControlTexts
        from workbench.engine.llama.engine import LlamaEngine

        controls = ControlTexts() if self._typed_control_tokens else model.vocabulary.controls(source or CHATML)
        warnings = list(plan.warnings)
        if isinstance(template, TemplateError):
            warnings.append(str(template))
        elif isinstance(template, ChatTemplate):
            template = replace(template, bos=model.vocabulary.bos, eos=model.vocabulary.eos)
        if not source:
            renderer = entry.recipe.renderer if entry.recipe else ""
            warnings.append(NO_RENDERER.format(renderer) if renderer else NO_TEMPLATE)
        settings = replace(plan.settings, num_ctx=model.n_ctx)
        info = EngineInfo(
            model=entry,
            settings=settings,
            backend=plan.backend,
            load_ms=load_ms,
            memory=model.memory_use,
            estimate=plan.needed,
            layers=model.layers,
            gpu_layers=min(settings.num_gpu, model.layers + 1) if model.gpu_layers is None else model.gpu_layers,
            vocabulary=model.vocabulary.fingerprint,
            has_template=bool(source),
            warnings=tuple(warnings),
        )
        state_key = files, settings.type_k, settings.type_v, settings.flash_attn, settings.swa_full
        return LlamaEngine(model, info, template, controls, self.states, state_key, self._engines.discard)


def _read_draft(
    entry: ModelEntry, settings: LoadSettings, target: Header
) -> tuple[LoadSettings, Draft | None, tuple[str, ...]]:
    """The draft model that the settings name; one that only the Modelfile names is left out where it cannot draft."""
    if not (named := draft_model(settings.speculation)):
        return settings, None, ()
    try:
        return settings, Draft.checked(named, target), ()
    except WorkbenchError as error:
        if entry.recipe is None or ("speculation", named) not in entry.recipe.parameters:
            raise
        return replace(settings, speculation=OFF), None, (f"Speculation is off: {error.message}",)


def _within_training(entry: ModelEntry, settings: LoadSettings) -> tuple[LoadSettings, tuple[str, ...]]:
    """The settings, and the notes on the Modelfile.

    As in Ollama, a context from a Modelfile is limited to the one that the model was trained for.
    """
    if entry.recipe is None:
        return settings, ()
    notes, trained = entry.recipe.notes, entry.context_length
    if not trained or settings.num_ctx <= trained:
        return settings, notes
    said = f"num_ctx {settings.num_ctx} is more than the model was trained for, and is reduced to {trained}."
    return replace(settings, num_ctx=trained), (*notes, said)


def _chat_template(header: Header) -> str:
    """The chat template in a file; that for conversations with tools where there is no other; empty for none."""
    key = "tokenizer.chat_template"
    return get_text(header.metadata, key) or get_text(header.metadata, f"{key}.tool_use") or ""


def _identity(entry: ModelEntry) -> Hashable:
    """The contents of the files of a model, as far as size and time tell: a sequence state fits no others."""
    found = []
    for path in (Path(name) for name in (entry.path, entry.adapter_path) if name):
        try:
            path = path.resolve()
            stat = path.stat()
        except OSError as error:
            raise ModelFileError(f"{path}: it cannot be read: {error.strerror or error}.") from None
        found.append((str(path), stat.st_size, stat.st_mtime_ns))
    return tuple(found)
