from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.telemetry import ComputeDevice, normal_pci_id


@pytest.mark.parametrize(("text", "normal"), [
    ("00000000:C1:00.0", "0000:c1:00.0"), ("0000:c1:00.0", "0000:c1:00.0"), ("c1:00.0", "0000:c1:00.0"),
    ("0000000F:01:00.0", "000f:01:00.0"), ("10000:e1:00.0", "10000:e1:00.0"), ("0000:01:00", "0000:01:00.0"),
    (" 0000:01:1f.7\n", "0000:01:1f.7"),
    ("", None), ("CUDA0", None), ("0000:c1:00.9", None), ("0000:c1:20.0", None), ("0000:1c1:00.0", None),
    ("1:2:3:4.5", None), ("0000:-1:00.0", None), ("zz:00.0", None),
])  # fmt: skip
def test_pci_addresses_in_one_form(text, normal):
    assert normal_pci_id(text) == normal


@given(st.text())
def test_no_text_breaks_the_reading_of_an_address(text):
    normal = normal_pci_id(text)
    assert normal is None or normal_pci_id(normal) == normal


def test_which_devices_take_layers():
    kinds = {kind: ComputeDevice("x", kind).is_gpu for kind in ("cpu", "gpu", "integrated", "accelerator", "other")}
    assert [kind for kind, is_gpu in kinds.items() if is_gpu] == ["gpu", "integrated"]
