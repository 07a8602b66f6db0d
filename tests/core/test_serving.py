from __future__ import annotations

import pytest

from workbench.core.errors import ParameterError
from workbench.core.serving import PORT, ServingAddress


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("", "127.0.0.1", PORT), (":8080", "127.0.0.1", 8080), ("localhost", "localhost", PORT),
        ("localhost:0", "localhost", 0), ("[::1]:9000", "::1", 9000), ("[::1]", "::1", PORT),
        ("http://127.0.0.1:1/", "127.0.0.1", 1),
    ],
)  # fmt: skip
def test_an_address_as_it_is_typed(text, host, port):
    assert ServingAddress.parse(text, "") == ServingAddress(host, port)


@pytest.mark.parametrize("text", ["localhost:x", ":99999", ":-1", "gpu.local", "0.0.0.0:80"])
def test_an_address_that_cannot_be_used(text):
    with pytest.raises(ParameterError):
        ServingAddress.parse(text, "")


def test_others_may_ask_with_a_key():
    assert ServingAddress.parse("gpu.local:80", "secret").key == "secret"
