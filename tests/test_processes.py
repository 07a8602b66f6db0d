from __future__ import annotations

import asyncio
import sys
import tempfile
import textwrap

import psutil
import pytest

from workbench.processes import ChildProcess, ProcessEndedError

ECHO = """
    from workbench.processes import END, ParentChannel
    print("printed before")
    channel = ParentChannel()
    print("printed by somebody else")
    for order in channel.orders():
        for _ in range(order["times"]):
            channel.emit(heard=order["word"])
        channel.emit(**END)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts a child that runs some code, and ends it with the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    children = []

    def run(code, **options):
        (tmp_path / "some_worker.py").write_text(textwrap.dedent(code))
        children.append(ChildProcess("some_worker", **options))
        return children[-1]

    yield run
    for child in children:
        child.kill()
        child.close()


async def test_orders_are_answered_one_after_the_other(start):
    child = start(ECHO)
    assert [event async for event in child.ask(word="a", times=2)] == [{"heard": "a"}, {"heard": "a"}]
    assert [event async for event in child.ask(word="ü", times=0)] == []
    assert [event async for event in child.ask(word="c" * 10**6, times=1)] == [{"heard": "c" * 10**6}]


def test_a_child_can_be_asked_without_an_event_loop(start):
    child = start(ECHO)
    child.send(word="a", times=1)
    assert child.receive(20) == {"heard": "a"}
    assert child.receive(20) == {"event": "end"}
    with pytest.raises(TimeoutError):
        child.receive(0.01)


def test_a_child_exits_when_its_input_closes(start):
    child = start(ECHO)
    child.send(word="a", times=1)
    assert child.receive(20) is not None
    assert child.status is None
    assert child.close(20) == 1
    while child.receive(20) is not None:
        pass
    # It stays ended, and an order to it is no error.
    assert child.receive() is None
    child.send(word="b", times=1)


def test_a_child_whose_work_hangs_exits_with_its_parent_and_cleans_up(start, tmp_path):
    child = start(
        f"""
        import pathlib, threading
        from workbench.processes import ParentChannel
        channel = ParentChannel(lambda: pathlib.Path({str(tmp_path / "cleaned")!r}).touch())
        channel.emit(ready=True)
        threading.Event().wait()
        """
    )
    assert child.receive(20) == {"ready": True}
    child.close(20)
    assert (tmp_path / "cleaned").exists()


async def test_a_child_that_dies_in_the_middle_of_an_answer(start):
    child = start(
        """
        import os, sys
        sys.stdin.readline()
        os.write(1, b'{"first": 1}\\nno JSON\\n[1]\\n{"sec')
        os._exit(3)
        """
    )
    answer = child.ask(word="a")
    assert await anext(answer) == {"first": 1}
    with pytest.raises(ProcessEndedError):
        await anext(answer)
    assert await asyncio.to_thread(child.close) == 3


def test_the_last_line_of_its_errors_is_kept(start):
    with tempfile.TemporaryFile() as errors:
        child = start("import sys; sys.exit('first\\nthe reason\\n\\n')", errors=errors)
        assert child.receive(20) is None
        assert child.close(20) == 1
        assert child.last_error() == "the reason"


async def test_a_killed_child_ends_its_answer(start):
    child = start("import threading; threading.Event().wait()")
    asyncio.get_running_loop().call_soon(child.kill)
    with pytest.raises(ProcessEndedError):
        await anext(child.ask(word="a"))


@pytest.mark.skipif(sys.platform == "win32", reason="no sessions")
def test_a_child_is_not_in_the_terminals_group_and_gets_its_variables(start):
    child = start(
        """
        import os
        from workbench.processes import ParentChannel
        ParentChannel().emit(group=os.getpgid(0), mine=os.environ["SOME_VARIABLE"])
        import threading; threading.Event().wait()
        """,
        environment={"SOME_VARIABLE": "x"},
    )
    found = child.receive(20)
    assert found["mine"] == "x"
    assert found["group"] in {each.pid for each in psutil.Process().children()}
