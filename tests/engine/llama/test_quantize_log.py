"""The log of a quantization, which arrives in pieces and in any amount."""

from __future__ import annotations

import os
from typing import Any

import pytest

from workbench.engine.llama.quantize.worker import _QuantizeLog

STDERR = 2
TENSOR = "[{0:4d}/ 300] blk.{0}.w - [ 576, 192, 1, 1], type = f16, "


def logged(*pieces: str, log: _QuantizeLog | None = None) -> _QuantizeLog:
    log = log or _QuantizeLog()
    with log.reading():
        for piece in pieces:
            os.write(STDERR, piece.encode())
    return log


def test_a_tensor_has_the_type_that_it_becomes() -> None:
    made = logged(TENSOR.format(1), "converting to q5_0 .. ", "size = 1.00 MiB -> 0.40 MiB\n")
    planned = logged(TENSOR.format(2) + "size = 1.00 MiB -> 0.30 MiB (q4_K)\n", TENSOR.format(3) + "size = 0.1 MiB\n")
    assert made.chosen == {"blk.1.w": "q5_0"}
    assert planned.chosen == {"blk.2.w": "q4_K"}


def test_a_log_longer_than_a_pipe_is_read_to_its_end() -> None:
    lines = [TENSOR.format(number) + "x" * 900 + " converting to q4_K .. size\n" for number in range(300)]
    log = logged("".join(lines[:150]), *lines[150:], "180 of 300 tensor(s) required fallback quantization\n")
    assert len(log.chosen) == 300
    assert log.fallbacks == 180


def test_progress_names_the_tensor_in_work_and_those_before_it_once() -> None:
    reports: list[dict[str, Any]] = []
    log = _QuantizeLog(lambda **event: reports.append(event))
    logged(*(TENSOR.format(number) + "size = 0.1 MiB\n" for number in range(1, 5)), TENSOR.format(5), log=log)
    assert reports[-1]["tensor"] == "blk.5.w"
    assert (reports[-1]["done"], reports[-1]["total"]) == (4, 300)
    assert [name for report in reports for name in report["finished"]] == [f"blk.{n}.w" for n in range(1, 5)]


@pytest.mark.parametrize("before", ["", TENSOR.format(7) + "converting to q8_0 .. "])
def test_the_reason_of_a_failure_is_found_also_behind_a_tensor(before: str) -> None:
    assert logged(before + "llama_model_quantize: failed to quantize: no space left\n").error == "no space left"


def test_bytes_that_are_no_text_and_a_last_line_without_an_end_are_harmless() -> None:
    log = _QuantizeLog()
    with log.reading():
        os.write(STDERR, b"\xff\xfe will require an imatrix\n[ 1/")
    assert log.needs_imatrix
    assert log.chosen == {}


def test_standard_error_is_given_back() -> None:
    before = os.fstat(STDERR)
    with pytest.raises(ZeroDivisionError), _QuantizeLog().reading():
        raise ZeroDivisionError
    assert os.path.samestat(before, os.fstat(STDERR))
