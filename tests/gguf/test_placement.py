from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reliability.toys import experts
from workbench.core.errors import ParameterError
from workbench.core.parameters import LoadSettings
from workbench.gguf.fit import FitModel, FitQuestion
from workbench.gguf.placement import check_devices, devices_of_layers, idle_overrides, override_rules
from workbench.gguf.reader import read_header
from workbench.gguf.shares import DeviceRoom, Room

GIB = 2**30
HOST = DeviceRoom("CPU", 64 * GIB)
GPUS = (DeviceRoom("CUDA0", 8 * GIB), DeviceRoom("CUDA1", 8 * GIB))


@pytest.fixture(scope="module")
def mixture(tmp_path_factory) -> FitModel:
    """Two layers with four experts each."""
    return FitModel([read_header(experts(tmp_path_factory.mktemp("toys") / "m.gguf"))])


def weights(fit) -> dict[str, int]:
    return {share.device.name: share.weights_bytes for share in fit.shares}


def test_rules_of_the_user_come_before_those_of_the_experts():
    load = LoadSettings(num_cpu_moe=2, override_tensor=("blk\\.0=CUDA0",))
    experts = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
    assert override_rules(load) == (
        ("blk\\.0", "CUDA0"), (rf"blk\.0{experts}", "CPU"), (rf"blk\.1{experts}", "CPU")
    )  # fmt: skip
    assert override_rules(replace(load, num_cpu_moe=-1))[1:] == ((experts, "CPU"),)
    assert override_rules(LoadSettings()) == ()


def test_experts_move_to_the_host_layer_by_layer(mixture):
    question = FitQuestion(512, gpu_layers=3)
    room = Room(HOST, GPUS[:1])
    found = [weights(mixture.price(replace(question, cpu_experts=count), room)) for count in (0, 1, 2, -1)]
    one_layer = 3 * 4 * 32 * 64 * 4
    assert [each["CUDA0"] for each in found] == [found[0]["CUDA0"] - one_layer * count for count in (0, 1, 2, 2)]
    assert len({sum(each.values()) for each in found}) == 1
    assert mixture.expert_layers == 2


def test_the_fewest_experts_on_the_host_let_all_layers_fit(mixture):
    question = FitQuestion(512, gpu_layers=3)
    needs = [mixture.price(replace(question, cpu_experts=count), Room(HOST, GPUS[:1])).shares[1].total_bytes
             for count in range(3)]  # fmt: skip
    assert needs == sorted(needs, reverse=True)
    for count, needed in enumerate(needs):
        room = Room(HOST, (DeviceRoom("CUDA0", needed),))
        fewest = mixture.fewest_cpu_experts(question, room)
        assert fewest is not None
        assert needs[fewest] <= needed
        assert fewest <= count
    assert mixture.fewest_cpu_experts(question, Room(HOST, (DeviceRoom("CUDA0", 1000),))) is None
    assert mixture.fewest_cpu_experts(question, Room(HOST)) is None


def test_overrides_put_tensors_on_other_devices(mixture):
    room, question = Room(HOST, GPUS), FitQuestion(512, gpu_layers=3, split=(1.0, 0.0))
    plain = weights(mixture.price(question, room))
    moved = weights(mixture.price(replace(question, overrides=(r"blk\.1\.ffn_up=CUDA1", "ffn_up=CPU")), room))
    up = 4 * 32 * 64 * 4
    assert "CUDA1" not in plain
    assert moved == {"CPU": plain["CPU"] + up, "CUDA0": plain["CUDA0"] - 2 * up, "CUDA1": up}


def test_the_cache_can_stay_on_the_host(mixture):
    room, question = Room(HOST, GPUS[:1]), FitQuestion(512, gpu_layers=3)
    host, gpu = mixture.price(replace(question, kv_on_gpus=False), room).shares
    assert (host.kv_bytes, gpu.kv_bytes) == (mixture.price(question, room).kv_bytes, 0)


def test_only_the_device_of_the_output_holds_logits(tmp_path, model_writer):
    model = FitModel([read_header(model_writer(tmp_path / "m.gguf", layers=4, width=64, vocab=8000))])
    fit = model.price(FitQuestion(512, gpu_layers=5, split=(1.0, 1.0)), Room(HOST, GPUS))
    _, first, second = fit.shares
    assert second.compute_bytes > 512 * 8000 * 4 > first.compute_bytes > 0


def test_devices_are_chosen_by_name(mixture):
    fit = mixture.price(FitQuestion(512, devices=("CUDA1",)), Room(HOST, GPUS))
    assert list(weights(fit)) == ["CPU", "CUDA1"]


def test_shares_are_those_of_the_gpus_in_the_order_in_which_they_are_named(mixture):
    named = FitQuestion(512, gpu_layers=3, devices=("CUDA1", "CUDA0"))
    room = Room(HOST, GPUS)
    assert list(weights(mixture.price(replace(named, split=(1.0, 0.0)), room))) == ["CPU", "CUDA1"]
    assert list(weights(mixture.price(replace(named, only_gpu=0), room))) == ["CPU", "CUDA1"]
    first, second = mixture.price(replace(named, split=(2.0, 1.0)), room).shares[1:]
    assert (first.device.name, second.device.name) == ("CUDA1", "CUDA0")
    assert first.weights_bytes > second.weights_bytes


@given(st.lists(st.floats(0, 9), min_size=2, max_size=2).filter(any), st.integers(1, 3), st.integers(-1, 2))
def test_each_tensor_and_each_cache_is_on_one_device(mixture, split, layers, experts):
    question = FitQuestion(512, gpu_layers=layers, cpu_experts=experts)
    one = mixture.price(question, Room(HOST, GPUS[:1]))
    two = mixture.price(replace(question, split=tuple(split)), Room(HOST, GPUS))
    assert (two.weights_bytes, two.kv_bytes) == (one.weights_bytes, one.kv_bytes)
    assert weights(two)["CPU"] == weights(one)["CPU"]
    assert two.gpu_layers == layers


@given(st.integers(1, 80), st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any), st.data())
def test_layers_are_dealt_as_llama_cpp_deals_them(layers, shares, data):
    on_gpus = data.draw(st.integers(1, layers + 1))
    found = devices_of_layers(layers, on_gpus, shares)
    assert found == sorted(found)
    assert found.count(0) == layers + 1 - on_gpus
    for index, device in enumerate(found[layers + 1 - on_gpus :]):
        # std::upper_bound over the running shares.
        ends = [Fraction(sum(shares[: count + 1]), sum(shares)) for count in range(len(shares))]
        assert device - 1 == next(number for number, end in enumerate(ends) if end > Fraction(index, on_gpus))


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (LoadSettings(devices=("CUDA7",)), "there is no GPU 'CUDA7'"),
        (LoadSettings(tensor_split=("1", "1", "1")), "3 shares for 2 GPUs"),
        (LoadSettings(tensor_split=("1", "1"), devices=("CUDA0",)), "2 shares for 1 GPU"),
        (LoadSettings(override_tensor=("exps=ROCm0",)), "there is no device 'ROCm0' for 'exps'"),
    ],
)
def test_devices_that_are_not_there_are_named(load, words):
    with pytest.raises(ParameterError, match=words) as caught:
        check_devices(load, ["CUDA0", "CUDA1"])
    assert "CUDA0" in caught.value.hint


def test_overrides_that_match_nothing_are_named(mixture):
    assert idle_overrides((r"blk\.0=CPU", r"blk\.7=CPU"), mixture.tensors) == (r"blk\.7=CPU",)
