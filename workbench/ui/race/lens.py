"""The lens over the answer of a race's reference, through the model of another lane."""

from __future__ import annotations

from collections.abc import Callable

from textual.screen import Screen

from workbench.core.cancel import CancelToken
from workbench.core.engine import Request
from workbench.lab.quality.lens import Lens, LensJob, answer_tokens
from workbench.lab.quality.logits import ModelSpec
from workbench.lab.quality.passes import PassProgress
from workbench.lab.race.lane import Lane
from workbench.lab.race.race import Race
from workbench.ui.lens.screen import NEEDS_FILE, LensScreen, short_names
from workbench.ui.services import Services


def open_lane_lens(
    screen: Screen[None], services: Services, race: Race, lane: Lane, say: Callable[[str], object]
) -> None:
    """Look at the last answer of the reference through the model of `lane`, or say why that is not possible."""
    reference, make_host = race.reference, services.logits
    if reference is None or reference.running or reference.engine is None or reference.info is None:
        say("The lens looks at the answer of lane 1, while its model is open.")
        return
    engine, mine, other = reference.engine, reference.info, lane.model
    messages = reference.messages((*race.questions, ""))[:-1]
    if not messages or messages[-1].role != "assistant" or other is None:
        say("Lane 1 has no answer to look at.")
        return
    if make_host is None or not engine.capabilities.score or mine.model.path is None or other.path is None:
        say(NEEDS_FILE)
        return
    host, request = make_host(), Request(messages, sampling=reference.sampling, continues=True)
    specs = (
        ModelSpec(mine.model.ref, mine.settings),
        None if lane is reference else ModelSpec(other.ref, lane.spec.load),
    )

    async def look(cancel: CancelToken, on_progress: Callable[[PassProgress], None]) -> Lens:
        whole, first = await answer_tokens(engine, request)
        job = LensJob(host, services.adviser, *specs, whole, first)
        lens = await job.run(cancel, on_progress)
        tools = services.quality
        return lens if tools is None else await job.keep(tools, lens, f"an answer to {race.questions[-1][:60]}")

    screen.app.push_screen(
        LensScreen(look, short_names(mine.model, other), one_model=lane is reference, branches=False)
    )
