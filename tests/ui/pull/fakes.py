"""Registries and a book of downloads in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, NotPublishedError, ParameterError, WorkbenchError
from workbench.core.pulls import FileCheck, Offer, Offers, PullProgress, PullRequest, RepositoryHit

REPOSITORY = "maker/Tiny-GGUF"
OFFERS = Offers(
    REPOSITORY,
    (
        Offer(
            f"hf.co/{REPOSITORY}:Q4_K_M", "Q4_K_M", 4_000_000_000, ("Tiny-Q4_K_M.gguf",), True, 5_000_000_000,
            4.85, "mmproj-Tiny-F16.gguf", 600_000_000, 32_768, estimated=False,
        ),
        Offer(
            f"hf.co/{REPOSITORY}:F16", "F16", 16_000_000_000, ("Tiny-F16-1.gguf", "Tiny-F16-2.gguf"), False,
            18_000_000_000, 16.0, largest_ctx=0,
        ),
        Offer(f"hf.co/{REPOSITORY}:Q8_0", "Q8_0", 8_000_000_000, ("Tiny-Q8_0.gguf",), True, 9_000_000_000,
              is_here=True),
    ),
    0,
    "Q4_K_M",
)  # fmt: skip


class FakePulls:
    """One repository, and downloads that end when the test says so."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fetching: list[PullRequest] = []
        self.error: WorkbenchError | None = None
        self.checks: list[tuple[str, bool]] = []
        self.check = FileCheck(True, ("sound",))
        self._release = asyncio.Event()
        self.listeners: list[Callable[[PullProgress], object]] = []

    def release(self) -> None:
        """Let the running download end."""
        self._release.set()

    async def search(self, words: str) -> Sequence[RepositoryHit]:
        self.asked.append(f"search {words}")
        found = RepositoryHit(REPOSITORY, 1234, 7, "2026-10-01", gated=True)
        return [found] if words.casefold() in REPOSITORY.casefold() else []

    async def offers(self, ref: str) -> Offers:
        if "/" not in ref and ":" not in ref:
            raise ParameterError(f"{ref!r} is not a model of a registry.")
        self.asked.append(ref)
        if REPOSITORY not in ref:
            raise NotPublishedError(f"Hugging Face shows no repository {ref}.", "Check the spelling.")
        return OFFERS

    async def fetch(
        self, request: PullRequest, on_progress: Callable[[PullProgress], object], cancel: CancelToken
    ) -> str:
        self.fetching.append(request)
        self.listeners.append(on_progress)
        self._release.clear()
        cancel.on_set(self._release.set)
        await self._release.wait()
        if cancel.is_set:
            raise CancelledError("Stopped.")
        if self.error is not None:
            raise self.error
        return f"/models/{request.ref.rpartition(':')[2]}.gguf"

    async def verify(
        self, ref: str, on_progress: Callable[[PullProgress], object], cancel: CancelToken, *, repair: bool
    ) -> FileCheck:
        self.checks.append((ref, repair))
        return FileCheck(True, ("repaired",)) if repair else self.check


class FakePullBook:
    """Keeps the queue in memory."""

    def __init__(self, left: Sequence[PullRequest] = ()) -> None:
        self.kept: Sequence[PullRequest] = ()
        self._left = left

    def keep(self, requests: Sequence[PullRequest]) -> None:
        self.kept = list(requests)

    def take_over(self) -> Sequence[PullRequest]:
        left, self._left = self._left, ()
        return left
