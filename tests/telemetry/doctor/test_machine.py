from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workbench.telemetry.doctor.machine import machine_info, processor_features, processor_name

X86 = "model name\t: AMD EPYC 9654\nflags\t\t: fpu sse4_2 avx2 avx512f new\n\nprocessor\t: 1\nflags\t: \n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\nModel\t\t: Raspberry Pi 5\n"


def test_the_processor():
    assert processor_name(X86) == "AMD EPYC 9654"
    assert processor_features(X86) == ("sse4_2", "avx2", "avx512f")
    assert processor_name(ARM) == "Raspberry Pi 5"
    assert processor_features(ARM) == ("asimd", "asimddp", "i8mm")
    assert processor_name("") is None
    assert processor_features("") is None


@given(st.text())
def test_no_description_of_a_processor_breaks_the_reading(text):
    processor_name(text)
    processor_features(text)


def test_this_machine():
    machine = machine_info()
    assert machine.system
    assert machine.logical_cores >= 1
    assert machine.processor


def test_a_container_under_windows(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    (tmp_path / "proc").mkdir()
    assert not machine_info(tmp_path).wsl
    assert not machine_info(tmp_path).container
    (tmp_path / "proc/version").write_text("Linux version 5.15-Microsoft-standard-WSL2")
    (tmp_path / "proc/cpuinfo").write_text(X86)
    (tmp_path / ".dockerenv").touch()
    machine = machine_info(tmp_path)
    assert (machine.wsl, machine.container, machine.processor) == (True, True, "AMD EPYC 9654")
