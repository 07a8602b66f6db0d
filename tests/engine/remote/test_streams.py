from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.engine.remote.streams import DONE, FramingError, JsonLines, LineBuffer, ServerSentEvents

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def cut(data, places):
    """`data` in pieces, cut at these places."""
    places = sorted(place % (len(data) + 1) for place in places)
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def fed(frames, pieces):
    return [value for piece in pieces for value in frames.push(piece)] + list(frames.end())


@given(st.lists(st.binary(max_size=8).map(lambda line: line.translate(None, b"\r\n")), max_size=6),
       st.data())  # fmt: skip
def test_lines_come_out_however_they_are_cut(lines, data):
    text = b"".join(line + data.draw(ENDS) for line in lines)
    # A line end that is written CR and an empty line that is written LF are one line end.
    expected = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    splitter = LineBuffer()
    pieces = cut(text, data.draw(st.lists(st.integers(0, 200), max_size=8)))
    assert [line for piece in pieces for line in splitter.push(piece)] == expected
    assert splitter.rest() == b""


@given(st.lists(VALUES, max_size=5), st.lists(st.integers(0, 500), max_size=10), st.booleans())
def test_json_lines_come_out_however_they_are_cut(values, places, ended):
    text = "\n".join(json.dumps(value, ensure_ascii=False) for value in values).encode() + b"\n" * ended
    assert fed(JsonLines(), cut(text, places)) == values


@given(st.lists(VALUES, max_size=5), st.lists(st.integers(0, 800), max_size=10), ENDS, st.booleans(), st.data())
def test_events_come_out_however_they_are_cut(values, places, end, blank, data):
    noise = st.sampled_from([b"", b": ping" + end, b"id: 3" + end, b"retry: 5" + end, b"event: message" + end, end])
    text = b""
    for value in values:
        written = json.dumps(value, ensure_ascii=False).encode()
        text += data.draw(noise) + (b"data: " if blank else b"data:") + written + end + end
    assert fed(ServerSentEvents(), cut(text + b"data: [DONE]" + end + end, places)) == [*values, DONE]


@pytest.mark.parametrize("size", [1, 2, 7, 100_000])
def test_a_long_line_is_refused_however_it_is_divided(size):
    frames = JsonLines(longest=50)
    text = b'{"a": "' + b"x" * 100
    with pytest.raises(FramingError, match="longer than"):
        fed(frames, [text[start : start + size] for start in range(0, len(text), size)])


def test_a_long_line_that_comes_with_its_end_is_refused():
    with pytest.raises(FramingError, match="longer than"):
        fed(JsonLines(longest=50), [b'"' + b"x" * 100 + b'"\n'])


def test_an_event_without_end_is_refused():
    frames = ServerSentEvents(longest=50)
    with pytest.raises(FramingError, match="longer than"):
        fed(frames, [b"data: 12345678\n"] * 100)


def test_ten_megabytes_are_refused_by_default():
    frames = ServerSentEvents()
    with pytest.raises(FramingError, match="8 MiB"):
        fed(frames, [b"x" * 2**16] * 160)


@pytest.mark.parametrize(("text", "values"), [
    (b'data: {"a":\ndata: 1}\n\n', [{"a": 1}]),
    (b'data: {"a": 1}\ndata: {"a": 2}\n\n', [{"a": 1}, {"a": 2}]),
    (b'event: error\ndata: {"message": "full"}\n\n', [{"error": "full"}]),
    (b'event: error\ndata: {"error": {"message": "x"}}\n\n', [{"error": {"message": "x"}}]),
    (b'event: error\n\ndata: {"a": 1}\n\n', [{"a": 1}]),
    (b"\xef\xbb\xbfdata: 1\n\n", [1]), (b"data: 1", [1]), (b"data: [DONE]", [DONE]), (b"data:\n\n", []), (b":\n\n", []),
])  # fmt: skip
def test_events_that_are_written_in_other_ways(text, values):
    assert fed(ServerSentEvents(), [text]) == values


@pytest.mark.parametrize(
    "text", [b'data: {"a": \n\n', b"data: <html>\n\n", b'data: "\xff\xfe"\n\n', b"data: " + b"[" * 10**5]
)
def test_what_is_no_json_is_an_error(text):
    with pytest.raises(FramingError, match="no JSON"):
        fed(ServerSentEvents(), [text])


@given(st.binary(max_size=200))
def test_any_bytes_are_values_or_an_error(data):
    for frames in (JsonLines(), ServerSentEvents()):
        try:
            fed(frames, [data])
        except FramingError as error:
            assert str(error)  # noqa: PT017 - either is right
