"""Asking one candidate: its engine, and the answers that it gives to cases."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from workbench.core.answer import Answer, Outcome
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Engine, EngineHost, ProgressCallback, Request
from workbench.core.errors import CancelledError, EvalError, MemoryShortError, WorkbenchError
from workbench.core.events import Failed
from workbench.core.metrics import Meter
from workbench.core.models import EngineInfo, ModelEntry
from workbench.core.origins import Origins, set_names, sourced_values, with_recommended
from workbench.core.parameters import Sampling
from workbench.core.servers import is_server_ref
from workbench.lab.evals.pack import EvalCase
from workbench.lab.evals.record import EvalLane
from workbench.lab.race.lane import LaneSpec

MOST_TOKENS = 512
"""Tokens of an answer where neither the case nor the user says how many."""
AT_ONCE = 4
"""Samples of a case that are computed together where `num_parallel` is not set and memory allows it."""
FIRST_SEED = 1
"""The seed of the first sample where none is set; the others follow, the same for all candidates."""

Digest = Callable[[ModelEntry], Awaitable[str]]
"""Gives the digest of a model's file; empty where it has none."""


class AskedModel:
    """A model with its settings, which is asked for so many `samples` of a case. `cancel` stops everything."""

    def __init__(self, spec: LaneSpec, host: EngineHost, digest: Digest, cancel: CancelToken, samples: int = 1) -> None:
        self.spec = spec
        self._host = host
        self._digest = digest
        self._cancel = cancel
        together = 1 if is_server_ref(spec.ref) else min(samples, AT_ONCE)
        self.load = replace(spec.load, num_parallel=max(spec.load.num_parallel, together))
        """How it is opened if there is memory for it."""
        self._engine: Engine | None = None
        self._info: EngineInfo | None = None
        self._file_digest = ""
        self.error: WorkbenchError | None = None
        """Why it is not asked any more."""
        self.load_fraction: float | None = None
        """The progress of its load; None while it does not load."""

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return self._engine is not None

    @property
    def label(self) -> str:
        """Its name."""
        return self._info.model.label if self._info else self.spec.label

    async def open(self) -> None:
        """Load the model; afterwards it `is_open` or has an `error`, unless that was cancelled."""
        self.load_fraction = 0.0

        def progress(fraction: float) -> None:
            self.load_fraction = fraction

        try:
            self._engine = await self._open(progress)
        except CancelledError:
            return
        except WorkbenchError as error:
            self.error = error
            return
        finally:
            self.load_fraction = None
        self._info = self._engine.info
        self._file_digest = await self._digest(self._info.model)

    async def _open(self, progress: ProgressCallback) -> Engine:
        """Open it so that samples are computed together, if there is memory for it."""
        ref, load = self.spec.ref, self.spec.load
        if self.load != load:
            with suppress(MemoryShortError):
                return await self._host.open(ref, self.load, progress, self._cancel)
        return await self._host.open(ref, load, progress, self._cancel)

    @property
    def at_once(self) -> int:
        """Answers that are computed together."""
        return self._info.settings.num_parallel if self._info else 1

    async def close(self) -> None:
        """Release the memory."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()

    @property
    def identity(self) -> object:
        """Equal for models that answer alike: the same file, adapter and settings."""
        spec, model = self.spec, self._info.model if self._info else None
        adapter = model.adapter_path if model else None
        return self._file_digest or spec.ref, adapter, spec.load, self.sampling, spec.system, spec.opening

    @property
    def sampling(self) -> Sampling:
        """Its sampling parameters, with those that its author recommends."""
        return self._sourced[0]

    @property
    def _sourced(self) -> tuple[Sampling, Origins]:
        recommended = self._info.recommended if self._info else ()
        return with_recommended(self.spec.sampling, self.spec.origins, recommended)

    @property
    def lane(self) -> EvalLane:
        """It as it is kept."""
        info, spec = self._info, self.spec
        model = info.model if info else spec.model
        return EvalLane(
            spec.ref,
            self.label,
            model.quant if model else None,
            model.size_bytes if model else None,
            self._file_digest,
            info.backend if info else "",
            sourced_values(self.sampling, spec.load, self._sourced[1]),
            spec.system,
            str(self.error) if self.error else "",
            str(model.adapter_path or "") if model else "",
        )

    def request(self, case: EvalCase, sample: int) -> Request:
        """The request for one sample of a case."""
        sampling = self.sampling
        limit = sampling.num_predict if sampling.num_predict >= 0 else case.max_tokens or MOST_TOKENS
        seed = (FIRST_SEED if sampling.seed < 0 else sampling.seed) + sample
        sampling = replace(sampling, num_predict=limit, seed=seed)
        given = set_names(self._sourced[1]) | {"num_predict", "seed"}
        if case.raw:
            return Request(prompt=case.question, sampling=sampling, given=given)
        first, *rest = case.messages
        system = first.content if first.role == "system" else self.spec.system
        opening = (Message("system", system),) if system.strip() else ()
        turns = rest if first.role == "system" else case.messages
        return Request(messages=(*opening, *self.spec.opening, *turns), sampling=sampling, given=given)

    async def answer(self, request: Request) -> Outcome:
        """The answer to a request; one that failed has an error, one that was stopped the reason `cancelled`."""
        engine = self._opened
        answer = Answer(Meter(time.perf_counter_ns(), None, engine.info.measured_by))
        try:
            async for batch in engine.generate(request, self._cancel):
                for event in batch:
                    answer.feed(event)
        except WorkbenchError as error:
            answer.feed(Failed(error, time.perf_counter_ns()))
        except BaseException:
            # An engine without a listener must not continue to compute.
            self._cancel.set()
            raise
        return answer.outcome()

    async def rank(self, request: Request, choices: tuple[str, ...]) -> tuple[float, ...]:
        """The log-probabilities of choices. Raises WorkbenchError."""
        engine = self._opened
        if not engine.capabilities.score:
            raise EvalError(
                "Choices are compared by their probabilities, which this model does not report.",
                "Name a model file, or give the case a check of the answer.",
            )
        return await engine.rank(request, choices, self._cancel)

    @property
    def _opened(self) -> Engine:
        if self._engine is None:
            raise EvalError("The model is not open.")
        return self._engine
