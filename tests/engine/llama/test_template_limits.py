from __future__ import annotations

import threading
import time
from contextlib import suppress

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.errors import CancelledError, TemplateError
from workbench.engine.llama import jinja
from workbench.engine.llama.jinja import MEMORY_BYTES, JinjaProcess, TemplateLimitError
from workbench.engine.llama.template import CHATML, ChatTemplate, open_template

MESSAGES = (Message("system", "be kind"), Message("user", "hello"))

ENDLESS = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% set x = a ~ b %}{% endfor %}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{{ 10 ** (10 ** 10) }}",
    "{{ (7 ** 999999) ** 9999 }}",
    "{{ lipsum(n=1000000000) | length }}",
    "{{ (7 ** 9999999) % 10 }}",
]
"""Templates that end after hours or never, in loops or inside one operation."""

LARGE = [
    '{{ "x" * 2000000000 }}',
    '{% set x = "x" * 2000000000 %}',
    '{{ "%2000000000d" % 1 }}',
    '{{ "{:2000000000}".format(1) }}',
    '{{ "%*d" | format(2000000000, 1) }}',
    '{{ "x".ljust(2000000000) }}',
    '{{ "x" | center(2000000000) }}',
    '{{ "x\\nx" | indent(2000000000) }}',
    '{{ "\\t".expandtabs(2000000000) }}',
    '{{ ("x" * 100000).replace("x", "y" * 100000) }}',
    '{{ ("x" * 99999) | replace("x", "y" * 99999) }}',
    '{{ ("x" * 99999) | list | join("y" * 99999) }}',
    '{{ [1] * 999999999 }}',
    '{{ [1] | batch(999999999, 0) | list }}',
    '{{ (1).to_bytes(2000000000, "big") | length }}',
    '{{ {"a": [1]} | tojson(indent=2000000000) }}',
    "{% set ns = namespace(x='x') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{{ 'x' * 3000000 }}",
]  # fmt: skip
"""Templates that take gigabytes, or write more than anybody would read."""

DEEP = [
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "not " * 100_000 + "1 }}",
    "{{ " + "[" * 3000 + "]" * 3000 + " }}",
    "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "{% for a in [1] %}" * 150 + "{% endfor %}" * 150,
    "{{ 1" + " + 1" * 100_000 + " }}",
    "{{ x" + "|list" * 50_000 + " }}",
]
"""Templates that are nested, or call themselves, more deeply than the interpreter goes."""


@pytest.fixture(scope="module")
def process():
    one = JinjaProcess(cpu_s=0.3)
    yield one
    one.close()


@pytest.fixture
def quick(process, monkeypatch):
    """Chat templates are rendered by a process with little time."""
    monkeypatch.setattr("workbench.engine.llama.template.shared_jinja", process)
    return process


def render(source: str, cancel: CancelToken | None = None) -> str:
    return ChatTemplate(source).render(MESSAGES, cancel or CancelToken())


@pytest.mark.parametrize("source", ENDLESS)
def test_a_template_without_end_is_stopped(quick, source):
    with pytest.raises(TemplateLimitError, match=r"longer than 0\.3 seconds|MiB of memory") as caught:
        render(source)
    assert "--raw" in caught.value.hint
    assert "be kind" in render(CHATML), "the next template is rendered"


@pytest.mark.parametrize("source", LARGE)
def test_a_template_that_takes_gigabytes_is_stopped(quick, source):
    with pytest.raises(TemplateError):
        render(source)
    render(CHATML)
    assert psutil.Process(quick._child.pid).memory_info().rss < MEMORY_BYTES


@pytest.mark.parametrize("source", DEEP, ids=range(len(DEEP)))
def test_a_template_that_is_nested_without_end_is_an_error(quick, source):
    with pytest.raises(TemplateError):
        render(source)
    render(CHATML)


@pytest.mark.parametrize("source", [*ENDLESS[:2], *ENDLESS[3:5], *LARGE[:3], *DEEP[1:6]])
def test_compiling_has_the_same_limits(quick, source):
    began = time.monotonic()
    with suppress(TemplateError):
        ChatTemplate(source).check(CancelToken())
    assert time.monotonic() - began < 10


def test_what_a_template_may_write_grows_with_the_conversation(quick):
    text = "word " * 200_000
    rendered = ChatTemplate(CHATML).render((Message("user", text),), CancelToken())
    assert text in rendered


def test_a_rendering_is_cancelled_at_once_and_the_next_one_works():
    slow = JinjaProcess(cpu_s=60, wall_s=60)
    cancel = CancelToken()
    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    began = time.monotonic()
    with pytest.raises(CancelledError):
        slow.render(ENDLESS[0], {"messages": []}, cancel)
    assert time.monotonic() - began < 30
    assert slow.render("ok", {"messages": []}, CancelToken()) == "ok"
    slow.close()


def test_compiling_is_cancelled_at_once(monkeypatch):
    slow = JinjaProcess(cpu_s=60, wall_s=60)
    monkeypatch.setattr("workbench.engine.llama.template.shared_jinja", slow)
    cancel = CancelToken()
    threading.Timer(0.3, cancel.set).start()
    with pytest.raises(CancelledError):
        open_template("", "{{ 10 ** (10 ** 10) }}", cancel)
    slow.close()


def test_one_that_waits_for_another_is_cancelled_too():
    slow = JinjaProcess(cpu_s=60, wall_s=60)
    first, second = CancelToken(), CancelToken()
    ended = []

    def run(cancel):
        with pytest.raises(CancelledError):
            slow.render(ENDLESS[0], {"messages": []}, cancel)
        ended.append(cancel)

    threads = [threading.Thread(target=run, args=(cancel,)) for cancel in (first, second)]
    for thread in threads:
        thread.start()
    second.set()
    first.set()
    for thread in threads:
        thread.join(30)
    assert len(ended) == 2
    slow.close()


def test_time_is_limited_by_the_clock_too():
    idle = JinjaProcess(cpu_s=60, wall_s=0.3)
    with pytest.raises(TemplateLimitError, match="longer"):
        idle.render(ENDLESS[0], {"messages": []}, CancelToken())
    idle.close()


def test_a_process_that_was_killed_between_two_renderings_is_replaced(quick):
    render(CHATML)
    quick._child.kill()
    quick._child.close()
    assert "hello" in render(CHATML)


def test_a_process_that_is_killed_while_it_renders_is_an_error_and_is_replaced(quick):
    render(CHATML)
    quick._child.kill()
    quick._running = lambda: quick._child
    with pytest.raises(TemplateError, match="ends the process"):
        render(CHATML)
    del quick._running
    assert "hello" in render(CHATML)


def test_a_long_reason_is_cut(quick):
    with pytest.raises(TemplateError) as caught:
        render("{{ raise_exception('no ' * 30000) }}")
    assert len(caught.value.message) < 3000


def test_a_program_that_starts_no_process_says_so(monkeypatch):
    def refuse(*_):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(jinja, "ChildProcess", refuse)
    process = JinjaProcess()
    # A model can be opened without its template.
    process.start()
    with pytest.raises(TemplateError, match="no process starts"):
        process.compile("x", CancelToken())


NUMBERS = st.sampled_from(["0", "3", "1000", "99999", "2000000000", "10 ** 18"])
ATOMS = st.one_of(
    NUMBERS,
    st.sampled_from(["'x'", "'%s'", "'{:9999999999}'", "[1]", "messages", "messages[0].content", "{'a': 'b'}", "none"]),
)
FILTERS = st.one_of(
    st.sampled_from(["center", "indent", "join", "replace", "format", "wordwrap", "batch", "slice", "list", "string"]),
    st.sampled_from(
        ["length", "tojson", "reverse", "sort", "sum", "int", "float", "round", "title", "unique", "items"]
    ),
)
METHODS = st.sampled_from(["ljust", "zfill", "replace", "join", "format", "expandtabs"])


@st.composite
def grown(draw, inner):
    left, right = draw(inner), draw(inner)
    return draw(
        st.sampled_from(
            [
                f"({left} {draw(st.sampled_from(['*', '+', '%', '**', '~', '-', '//', 'in', '==']))} {right})",
                f"({left} | {draw(FILTERS)})",
                f"({left} | {draw(FILTERS)}({right}))",
                f"({left} | {draw(FILTERS)}({right}, {draw(inner)}))",
                f"{left}.{draw(METHODS)}({right})",
                f"({left} if {right} else {draw(inner)})",
            ]
        )
    )


EXPRESSIONS = st.recursive(ATOMS, grown, max_leaves=12)
SOURCES = st.one_of(
    EXPRESSIONS.map(lambda text: f"{{{{ {text} }}}}"),
    st.tuples(EXPRESSIONS, EXPRESSIONS).map(
        lambda pair: "{{% for a in {} %}}{{% set x = {} %}}{{{{ x }}}}{{% endfor %}}".format(*pair)
    ),
)


@settings(max_examples=60)
@given(SOURCES)
def test_any_template_ends_with_a_text_or_an_error(process, source):
    try:
        text = process.render(source, {"messages": [{"role": "user", "content": "hello"}]}, CancelToken())
    except TemplateError:
        return
    assert len(text) < 200_000
