from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.telemetry import ComputeDevice
from workbench.engine.llama import probe, probe_worker
from workbench.engine.llama.probe import LlamaBuild, probe_llama, read_answer

BUILD = {
    "event": "build", "binding": "0.3.36", "ggml": "0.25.3", "commit": "0c1e570", "backends": ["CUDA", "CPU"],
    "gpu_offload": True,
    "system_info": "CUDA : ARCHS = 500,610,750 | USE_GRAPHS = 1 | "
                   "CPU : SSE3 = 1 | AVX2 = 1 | AVX512 = 0 | REPACK = 1 | ",
}  # fmt: skip
DEVICE = {
    "event": "device", "name": "CUDA0", "kind": "gpu", "description": "NVIDIA H200", "backend": "CUDA",
    "pci_id": "0000:c1:00.0", "free_bytes": 5, "total_bytes": 9,
}  # fmt: skip
END = {"event": "end", "log": ["a warning"]}


def test_the_real_llama_cpp():
    found = probe_llama()
    assert found.problem == ""
    assert found.build.binding.startswith("0.3.")
    assert found.build.ggml
    assert found.build.commit
    assert "CPU" in found.build.backends
    assert found.build.features
    cpu = next(device for device in found.devices if device.name == "CPU")
    assert (cpu.kind, cpu.backend, cpu.free_bytes) == ("cpu", "CPU", None)
    assert cpu.total_bytes > 2**28
    assert cpu.description


def test_what_the_child_reports():
    found = read_answer([BUILD, DEVICE, END])
    assert found.build.backends == ("CUDA", "CPU")
    assert found.build.archs == (500, 610, 750)
    assert found.build.features == {"USE_GRAPHS": True, "SSE3": True, "AVX2": True, "AVX512": False, "REPACK": True}
    assert found.devices == (
        ComputeDevice("CUDA0", "gpu", "NVIDIA H200", "CUDA", "0000:c1:00.0", 5, 9),
    )  # fmt: skip
    assert (found.problem, found.warnings) == ("", ("a warning",))


@pytest.mark.parametrize(
    ("noted", "arguments"),
    [('{"cmake_args": "-DGGML_CUDA=on"}', "-DGGML_CUDA=on"), ("{}", ""), ("[]", ""), ("{", ""), (None, "")],
)
def test_the_arguments_that_make_has_noted(tmp_path, monkeypatch, noted, arguments):
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    if noted is not None:
        (tmp_path / "workbench-setup.json").write_text(noted, encoding="utf-8")
    assert probe_worker._cmake_args() == arguments


def test_a_build_that_names_no_archs():
    assert LlamaBuild("1", None, None, (), False, "CPU : AVX = 1").archs == ()


def test_what_was_reported_before_a_crash_is_kept():
    found = read_answer([BUILD, DEVICE], "it ended with status -6")
    assert found.build is not None
    assert len(found.devices) == 1
    assert found.problem == "it ended with status -6"


def test_the_message_of_an_abort_says_more_than_the_status():
    found = read_answer([BUILD, {"event": "abort", "message": "ggml-sycl.cpp:12: GGML_ASSERT"}], "status -6")
    assert found.problem == "ggml-sycl.cpp:12: GGML_ASSERT"


def test_a_library_that_does_not_load():
    found = read_answer([{"event": "failed", "message": "OSError: libcudart.so.12: no such file"}])
    assert found.build is None
    assert "libcudart" in found.problem


def test_a_child_that_says_nothing():
    assert read_answer([]).problem == "it ended before its answer was complete"


@given(
    st.lists(
        st.dictionaries(st.text(), st.text())
        | st.sampled_from([BUILD, DEVICE, END, {"event": 3}, {"event": "device"}, {}])
    )
)
def test_no_answer_breaks_the_reading(events):
    read_answer(events)


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """Puts another program in the place of the child."""

    def put(code):
        (tmp_path / "other_worker.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(probe, "WORKER", "other_worker")

    return put


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_a_child_that_aborts(worker):
    worker(f"import os; print({json.dumps(BUILD)!r}, flush=True); os.abort()")
    found = probe_llama()
    assert found.build.commit == "0c1e570"
    assert found.problem == "it ended with status -6"


def test_a_child_that_complains_before_it_ends(worker):
    worker("import sys; print('first\\nCUDA error: unknown', file=sys.stderr); sys.exit(3)")
    assert probe_llama().problem == "it ended with status 3: CUDA error: unknown"


def test_a_machine_that_starts_no_process(monkeypatch):
    def refuse(*_, **__):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(probe, "ChildProcess", refuse)
    assert "Resource temporarily unavailable" in probe_llama().problem


def test_a_child_that_hangs(worker):
    worker(f"print({json.dumps(DEVICE)!r}, flush=True)\nimport threading; threading.Event().wait()")
    found = probe_llama(patience_s=2.0)
    assert found.problem == "it did not answer for 2 seconds"
    assert len(found.devices) == 1
