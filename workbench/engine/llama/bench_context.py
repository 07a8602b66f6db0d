"""A context timed as llama-bench does: random tokens, nothing sampled. Runs in the runtime's thread.

The work is divided into steps: a batch of the prompt, or one token of every sequence. Other work has its turn in
between, and the clock stops meanwhile.
"""

from __future__ import annotations

import ctypes
import random
import time
from collections.abc import Generator

from workbench.core.bench import BenchTest, RunTime
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, EngineError, ModelLoadError
from workbench.core.load_settings import LoadSettings
from workbench.engine.llama import native
from workbench.engine.llama.native import Pointer, TokenBatch, api
from workbench.engine.llama.runtime import Job
from workbench.engine.llama.weights import apply_adapter, make_context

_DECODED, _ABORTED = 0, 2

WARM_UP_SEED = 0


class BenchContext:
    """A context of a native model, and of its native adapter if it has one, for one test.

    Every value of `settings` has been chosen. The errors are those of `make_context` and `apply_adapter`.
    """

    def __init__(self, model: Pointer, settings: LoadSettings, test: BenchTest, adapter: Pointer | None = None) -> None:
        self._test = test
        vocab = api.llama_model_get_vocab(model)
        self._vocabulary: int = api.llama_vocab_n_tokens(vocab)
        self._bos: int | None = api.llama_vocab_bos(vocab) if api.llama_vocab_get_add_bos(vocab) else None
        self._ctx: Pointer = make_context(
            model,
            settings,
            n_ctx=test.context,
            # A batch without room for one token of each sequence would end the process.
            n_batch=max(settings.num_batch, test.sequences),
            n_seq_max=test.sequences,
            swa_full=False,
        )
        if adapter is not None:
            try:
                apply_adapter(self._ctx, adapter)
            except ModelLoadError:
                api.llama_free(self._ctx)
                raise
        self._memory = api.llama_get_memory(self._ctx)
        self._n_batch: int = api.llama_n_batch(self._ctx)
        self._abort = native.AbortFlag(self._ctx)
        self._depth_states: list[ctypes.Array[ctypes.c_uint8]] = []

    def abort(self) -> None:
        """End the `llama_decode` that runs, on a CPU; from any thread."""
        self._abort.up()

    def use_threads(self, decode: int, prompt: int) -> None:
        """Compute tokens and prompts with so many threads from now on."""
        if self._ctx:
            api.llama_set_n_threads(self._ctx, decode, prompt)

    def close(self) -> None:
        """Free the memory. Unfinished work ends as cancelled."""
        if self._ctx:
            api.llama_free(self._ctx)
            self._ctx = None
        self._depth_states.clear()

    def warm_up(self, job: Job, cancel: CancelToken) -> Generator[None, None, float]:
        """Compute the whole prompt and one generated token; returns the estimated seconds of a repetition."""
        test, rng = self._test, random.Random(WARM_UP_SEED)
        yield from self._begin(cancel)
        began = _lane(job)
        if test.n_prompt:
            yield from self._untimed_prompt(rng, test.n_prompt, cancel)
        middle = _lane(job)
        if test.n_gen:
            yield from self._generate(self._tokens(rng, 1), test.n_prompt, cancel)
        taken = (middle - began) + (_lane(job) - middle) * test.n_gen
        return taken / 1e9

    def repeat(self, job: Job, seed: int, cancel: CancelToken) -> Generator[None, None, RunTime]:
        """Do the test once."""
        test, rng = self._test, random.Random(seed)
        # Everything is prepared before the clock starts.
        prompt = self._prompt_batches(rng, test.n_prompt, test.n_depth)
        tokens = self._tokens(rng, test.n_gen)
        try:
            yield from self._begin(cancel)
            yield from self._go_deep(cancel)
            yield
            wall, began = time.perf_counter_ns(), _lane(job)
            middle = began
            if prompt:
                yield from self._prompt(prompt, cancel)
                middle = _lane(job)
            end = middle
            if tokens:
                yield from self._generate(tokens, test.n_depth + test.n_prompt, cancel)
                end = _lane(job)
            return RunTime(middle - began, end - middle, time.perf_counter_ns() - wall)
        finally:
            for batch in prompt:
                batch.free()

    def _begin(self, cancel: CancelToken) -> Generator[None, None, None]:
        self._abort.down()
        self._check(cancel)
        api.llama_memory_clear(self._memory, False)
        yield

    def _check(self, cancel: CancelToken) -> None:
        if cancel.is_set or not self._ctx:
            raise CancelledError("The measurement was stopped.")

    def _decode(self, batch: TokenBatch, cancel: CancelToken) -> None:
        self._check(cancel)
        code = api.llama_decode(self._ctx, batch.native)
        if code == _ABORTED:
            raise CancelledError("The measurement was stopped.")
        if code != _DECODED:
            raise EngineError(
                f"llama.cpp failed to compute (code {code}).", "A larger batch, or fewer sequences, may help."
            )

    def _prompt(self, batches: list[TokenBatch], cancel: CancelToken) -> Generator[None, None, None]:
        """Compute a prompt; the last step ends when the device is done."""
        for batch in batches[:-1]:
            self._decode(batch, cancel)
            yield
        self._decode(batches[-1], cancel)
        api.llama_synchronize(self._ctx)

    def _untimed_prompt(self, rng: random.Random, count: int, cancel: CancelToken) -> Generator[None, None, None]:
        batches = self._prompt_batches(rng, count, 0)
        try:
            yield from self._prompt(batches, cancel)
        finally:
            for batch in batches:
                batch.free()

    def _generate(self, rows: list[list[int]], position: int, cancel: CancelToken) -> Generator[None, None, None]:
        """Compute one token of every sequence at a time, each with its logits."""
        batch = TokenBatch(self._test.sequences)
        for sequence in range(self._test.sequences):
            batch.add(0, 0, sequence, output=True)
        slots, decode, synchronize = batch.native, self._decode, api.llama_synchronize
        try:
            for row in rows:
                for sequence, token in enumerate(row):
                    slots.token[sequence] = token
                    slots.pos[sequence] = position
                decode(batch, cancel)
                synchronize(self._ctx)
                position += 1
                yield
        finally:
            batch.free()

    def _go_deep(self, cancel: CancelToken) -> Generator[None, None, None]:
        """Fill the context to the depth of the test: the first time by computing, later from the saved state."""
        self._check(cancel)
        depth, sequences = self._test.n_depth, range(self._test.sequences)
        if not depth:
            return
        if self._depth_states and all(
            api.llama_state_seq_set_data(self._ctx, state, len(state), sequence)
            for sequence, state in zip(sequences, self._depth_states, strict=True)
        ):
            return
        api.llama_memory_clear(self._memory, False)
        yield from self._untimed_prompt(random.Random(WARM_UP_SEED), depth, cancel)
        self._depth_states = []
        for sequence in sequences:
            size = api.llama_state_seq_get_size(self._ctx, sequence)
            state = (ctypes.c_uint8 * size)()
            api.llama_state_seq_get_data(self._ctx, state, size, sequence)
            self._depth_states.append(state)

    def _prompt_batches(self, rng: random.Random, count: int, position: int) -> list[TokenBatch]:
        """`count` random tokens of every sequence, one sequence after the other, in batches."""
        total = count * self._test.sequences
        batches: list[TokenBatch] = []
        for index in range(total):
            if index % self._n_batch == 0:
                batches.append(TokenBatch(min(self._n_batch, total - index)))
            sequence, place = divmod(index, count)
            token = self._bos if place == 0 and self._bos is not None else rng.randrange(self._vocabulary)
            batches[-1].add(token, position + place, sequence, output=place == count - 1)
        # Where a prompt continues in another batch, llama-bench still computes the logits of the last token of each.
        if self._test.sequences == 1:
            for batch in batches:
                batch.native.logits[batch.native.n_tokens - 1] = True
        return batches

    def _tokens(self, rng: random.Random, count: int) -> list[list[int]]:
        """For each token that is generated, one random id for every sequence; the first is BOS if the model adds it."""
        rows = [[rng.randrange(self._vocabulary) for _ in range(self._test.sequences)] for _ in range(count)]
        if rows and self._bos is not None:
            rows[0] = [self._bos] * self._test.sequences
        return rows


def _lane(job: Job) -> int:
    """The job's own clock."""
    return job.lane_ns(time.perf_counter_ns())
