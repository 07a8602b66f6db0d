from __future__ import annotations

import pickle
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core import errors
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import WorkbenchError, did_you_mean, nearest
from workbench.core.events import Failed, Finished, PromptProgress, Timings, Token, Usage
from workbench.core.logbook import LogBook, LogLine
from workbench.core.models import EngineInfo, MemoryUse, ModelEntry, estimate_error
from workbench.core.parameters import LoadSettings
from workbench.core.session import TITLE_LENGTH, Session
from workbench.core.tree import Tree, Turn

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, WorkbenchError)]


# What a model holds.


def test_what_a_split_model_holds_on_two_devices() -> None:
    memory = MemoryUse(8_000, 2_000, 1_000, "CUDA1", (("CPU", 500), ("CUDA0", 4_000), ("CUDA1", 6_500)))
    assert memory.on_gpus == {"CUDA0": 4_000, "CUDA1": 6_500}
    assert sum(memory.on_gpus.values()) == memory.total_bytes - 500
    assert memory.on_gpus[memory.device] == max(memory.on_gpus.values())


def test_what_lies_in_the_memory_of_the_host_is_on_no_gpu() -> None:
    assert MemoryUse(1, 2, 3, "CPU", (("CPU", 6),)).on_gpus == {}
    assert MemoryUse(1, 2, 3, "CUDA0").on_gpus == {}


@given(st.dictionaries(st.sampled_from(["CPU", "CUDA0", "CUDA1", "Vulkan0"]), st.integers(0, 2**40)))
def test_the_devices_share_all_there_is(held: dict[str, int]) -> None:
    memory = MemoryUse(sum(held.values()), 0, 0, by_device=tuple(held.items()))
    assert sum(memory.on_gpus.values()) + held.get("CPU", 0) == memory.total_bytes


def test_an_estimate_is_judged_by_all_devices_together() -> None:
    taken = MemoryUse(90, 5, 5, "CUDA1", (("CUDA0", 40), ("CUDA1", 60)))
    assert estimate_error(MemoryUse(100, 5, 5, "CUDA1"), taken) == pytest.approx(0.1)


# Errors.


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_survive_pickling(kind: type[WorkbenchError]) -> None:
    again = pickle.loads(pickle.dumps(kind("What is wrong.", "What to do.")))
    assert type(again) is kind
    assert (again.message, again.hint, again.kind) == ("What is wrong.", "What to do.", kind.kind)


def test_every_error_has_a_kind_of_its_own() -> None:
    # For a script, a command that a signal stopped was cancelled as every other.
    own = [kind for kind in KINDS if kind is not errors.StoppedError]
    assert len({kind.kind for kind in own}) == len(own)


def test_errors_as_a_sentence() -> None:
    assert str(WorkbenchError("What is wrong.", "What to do.")) == "What is wrong. What to do."
    assert str(WorkbenchError("What is wrong.")) == "What is wrong."


def test_the_nearest_names() -> None:
    known = ["Temperature", "top_k", "top_p", "seed"]
    assert nearest("temprature", known) == ["Temperature"]
    assert nearest("TOP_K", known, count=1) == ["top_k"]
    assert nearest("zzz", known) == []
    assert did_you_mean("top-k", known).startswith("Did you mean 'top_k'")
    assert did_you_mean("zzz", known) == ""


@given(st.text(), st.lists(st.text()))
def test_the_nearest_names_are_known_ones(word: str, known: list[str]) -> None:
    assert set(nearest(word, known)) <= set(known)


# Values go through a pipe as they are.


@pytest.mark.parametrize(
    "value",
    [
        PromptProgress(1, 2, 0, 3, 4),
        Token("x", 1, "answer", 2, 3),
        Finished("stop", Usage(1, 0, 2), 3, 4, seed=5, timings=Timings(1.0, 2.0)),
        Request((Message("user", "hello"),)),
        EngineInfo(ModelEntry("demo", "Demo"), LoadSettings(), "CPU", 1.0, MemoryUse(1, 2, 3)),
        LogLine(1, "info", "here", "text"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_survive_pickling(value: object) -> None:
    assert pickle.loads(pickle.dumps(value)) == value


def test_a_failure_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(Failed(errors.EngineError("no"), 7)))
    assert (again.error.message, again.at_ns) == ("no", 7)


def test_the_label_of_a_model() -> None:
    assert ModelEntry("r", "Tiny", "Q4_0").label == "Tiny Q4_0"
    assert ModelEntry("r", "Tiny").label == "Tiny"


def test_the_memory_of_a_model() -> None:
    assert MemoryUse(1, 2, 4).total_bytes == 7


# Cancelling.


def test_callbacks_run_once() -> None:
    token = CancelToken()
    calls: list[str] = []
    token.on_set(lambda: calls.append("before"))
    assert not token.is_set
    token.set()
    token.set()
    assert token.is_set
    token.on_set(lambda: calls.append("after"))
    assert calls == ["before", "after"]


def test_a_callback_may_ask_for_another() -> None:
    token = CancelToken()
    calls: list[int] = []
    token.on_set(lambda: token.on_set(lambda: calls.append(1)))
    token.set()
    assert calls == [1]


def test_no_callback_is_lost_between_threads() -> None:
    for _ in range(50):
        token = CancelToken()
        called = [threading.Event() for _ in range(8)]
        threads = [threading.Thread(target=token.on_set, args=(event.set,)) for event in called]
        threads.insert(4, threading.Thread(target=token.set))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(event.is_set() for event in called)


# The log.


def test_the_log_keeps_the_newest_lines() -> None:
    book = LogBook(capacity=3)
    for number in range(1, 6):
        book.add("info", "test", f"line {number}")
    assert [line.number for line in book.since(0)] == [3, 4, 5]
    assert [line.text for line in book.since(4)] == ["line 5"]
    assert book.since(5) == ()
    assert book.since(99) == ()


@given(st.integers(1, 20), st.integers(0, 50), st.integers(0, 60))
def test_reading_on_where_one_stopped(capacity: int, count: int, number: int) -> None:
    book = LogBook(capacity)
    for _ in range(count):
        book.add("debug", "s", "t")
    held = range(max(1, count - capacity + 1), count + 1)
    assert [line.number for line in book.since(number)] == [held_one for held_one in held if held_one > number]


def test_threads_may_log_at_once() -> None:
    book = LogBook(capacity=10_000)

    def log() -> None:
        for _ in range(500):
            book.add("info", "thread", "x")

    threads = [threading.Thread(target=log) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [line.number for line in book.since(0)] == list(range(1, 2001))


# Sessions.


def test_the_title_is_the_first_question() -> None:
    turns = (Turn(Message("assistant", "hi"), 1.0), Turn(Message("user", "  why\n is the sky\tblue? "), 2.0))
    assert Session("id", 0.0, 0.0, tree=Tree.of(turns)).title == "why is the sky blue?"
    assert Session("id", 0.0, 0.0).title == "empty session"


@given(st.text(min_size=1))
def test_titles_are_short_and_on_one_line(text: str) -> None:
    title = Session("id", 0.0, 0.0, tree=Tree.of([Turn(Message("user", text), 1.0)])).title
    assert len(title) <= TITLE_LENGTH
    assert len(title.splitlines()) <= 1


def test_the_system_prompt_comes_first() -> None:
    turns = (Turn(Message("user", "hello"), 1.0),)
    session = Session("id", 0.0, 0.0, system="Be brief.", tree=Tree.of(turns))
    assert session.messages == (Message("system", "Be brief."), Message("user", "hello"))
    assert Session("id", 0.0, 0.0, tree=Tree.of(turns)).messages == (Message("user", "hello"),)
