from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.bench.fake_bencher import case
from workbench.core.bench import BenchTest
from workbench.core.bench_loading import as_bench_settings, as_load_settings
from workbench.core.errors import ParameterError
from workbench.core.recipe import Recipe
from workbench.lab.bench.grid import OPTIONS, Grid, parse_numbers, parse_option, parse_pairs, parse_words

NUMBERS = st.lists(st.integers(0, 5000), min_size=1, max_size=4, unique=True).map(tuple)
CHOICES = st.lists(st.sampled_from(["f16", "q8_0", "q4_0"]), min_size=1, unique=True).map(tuple)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512", (512,)),
        ("128, 512", (128, 512)),
        ("1-4", (1, 2, 3, 4)),
        ("128-512+128", (128, 256, 384, 512)),
        ("128-1024*2", (128, 256, 512, 1024)),
        ("1-10*3", (1, 3, 9)),
        ("5-5", (5,)),
        ("0", (0,)),
        ("7,7,7", (7,)),
        ("16,1-2", (16, 1, 2)),
    ],
)
def test_lists_and_ranges(text, expected):
    assert parse_numbers(text, "-p") == expected


@pytest.mark.parametrize(
    "text",
    ["", ",", "1,", "x", "1.5", "-1", "5-1", "1-5+0", "1-5*1", "0-5*2", "1--5", "1-2-3", "99999999999", "9" * 5000,
     "10000001", "1-1000000", "٣", "1 2", "1-5+", "+5"],
)  # fmt: skip
def test_what_is_no_list_of_numbers_is_refused(text):
    with pytest.raises(ParameterError) as error:
        parse_numbers(text, "-p")
    assert error.value.hint


@given(st.text(alphabet="0123456789,-+* x", max_size=30))
def test_any_text_is_a_list_or_an_error(text):
    try:
        found = parse_numbers(text, "-p")
    except ParameterError:
        return
    assert found
    assert len(set(found)) == len(found) <= 1000
    assert all(0 <= number <= 10_000_000 for number in found)


@given(NUMBERS)
def test_a_list_is_read_as_it_is_written(numbers):
    assert parse_numbers(",".join(map(str, numbers)), "-p") == numbers


def test_layers_may_be_minus_one_for_all():
    assert parse_option("-ngl", "0,-1") == (0, -1)
    with pytest.raises(ParameterError, match="-2"):
        parse_option("-ngl", "-2")


def test_flash_attention_is_understood_as_llama_bench_writes_it():
    assert parse_option("-fa", "0,1,auto,on") == ("off", "on", "auto")


def test_an_unknown_word_has_a_hint():
    with pytest.raises(ParameterError, match="q8_0"):
        parse_words("q8_O", "-ctk", ("f16", "q8_0"))


@pytest.mark.parametrize("text", ["512", "512,128,3", "0,5", "5,0", "a,b"])
def test_what_is_no_pair_is_refused(text):
    with pytest.raises(ParameterError):
        parse_pairs(text, "-pg")
    assert parse_pairs("512,128", "-pg") == (512, 128)


def test_the_default_is_that_of_llama_bench():
    assert [one.test.label for one in Grid(("a",)).cases()] == ["pp512", "tg128"]
    settings = Grid(("a",)).cases()[0].settings
    assert (settings.n_batch, settings.n_ubatch, settings.n_gpu_layers, settings.flash_attn) == (2048, 512, -1, "auto")


def test_the_order_is_that_of_llama_bench():
    grid = Grid(("a", "b"), (64, 0), (8,), ((32, 4),), (0, 16), n_threads=(1, 2))
    assert [(one.ref, one.settings.n_threads, one.test.label) for one in grid.cases()] == [
        (ref, threads, label + depth)
        for ref in "ab"
        for threads in (1, 2)
        for depth in ("", " @ d16")
        for label in ("pp64", "tg8", "pp32+tg4")
    ]


def test_nothing_to_time_is_an_error():
    with pytest.raises(ParameterError, match="nothing to time"):
        Grid(("a",), (0,), (0,)).cases()
    with pytest.raises(ParameterError, match="nothing to time"):
        Grid(("a",), (0,), (0,), sequences=(2,)).cases()


def test_sequences_take_the_place_of_the_ordinary_tests():
    grid = Grid(("a",), (16,), (4,), sequences=(1, 8))
    assert grid.tests == (BenchTest(16, 4), BenchTest(16, 4, 0, 8))
    assert [test.label for test in grid.tests] == ["pp16+tg4", "pp16+tg4 x8"]


def test_a_graph_is_never_larger_than_a_batch():
    assert Grid(("a",), n_batch=(128,)).cases()[0].settings.n_ubatch == 128


@given(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=4).map(tuple),
    NUMBERS, NUMBERS, NUMBERS, CHOICES, st.lists(st.integers(-1, 3), min_size=1, unique=True).map(tuple),
)  # fmt: skip
def test_a_grid_is_a_cross_product_that_loads_rarely(models, prompts, gens, depths, types, layers):
    grid = Grid(models, prompts, gens, n_depth=depths, type_k=types, n_gpu_layers=layers)
    lengths = sum(map(bool, prompts)) + sum(map(bool, gens))
    if not lengths:
        return
    cases = grid.cases()
    assert len(set(cases)) == len(cases) == len(set(models)) * lengths * len(depths) * len(types) * len(layers)
    loads = [(one.ref, one.settings.n_gpu_layers) for one in cases]
    changes = sum(one != after for one, after in pairwise(loads))
    assert changes + 1 == len(set(models)) * len(layers)


@given(NUMBERS, NUMBERS, NUMBERS, CHOICES, st.lists(st.sampled_from(["auto", "on", "off"]), min_size=1, unique=True))
def test_the_arguments_of_a_grid_make_it_again(prompts, gens, depths, types, flash):
    grid = Grid(("a",), prompts, gens, n_depth=depths, type_v=types, flash_attn=tuple(flash))
    words = list(grid.arguments())
    assert words.pop(0) == "a"
    values = {OPTIONS[option]: parse_option(option, text) for option, text in zip(words[::2], words[1::2], strict=True)}
    assert Grid(("a",), **values) == grid


@pytest.mark.parametrize(
    ("test", "label", "tokens", "context"),
    [
        (BenchTest(512), "pp512", 512, 512),
        (BenchTest(0, 128, 4096), "tg128 @ d4096", 128, 4224),
        (BenchTest(8, 4, 2), "pp8+tg4 @ d2", 12, 14),
        (BenchTest(8, 4, 0, 3), "pp8+tg4 x3", 36, 36),
    ],
)
def test_a_test_is_named_as_in_llama_bench(test, label, tokens, context):
    assert (test.label, test.tokens, test.context) == (label, tokens, context)


def test_every_sequence_has_cells_of_its_own():
    one = case("a", BenchTest(100, 100, 100, 4), type_k="q8_0", n_threads=3)
    load = as_load_settings(one.settings, one.test)
    assert (load.num_ctx, load.type_k, load.num_thread) == (4 * 512, "q8_0", 3)


RECIPES = {
    "m": Recipe(parameters=(("num_thread", 2), ("num_batch", 64), ("num_gpu", 0), ("num_ctx", 99), ("top_k", 5))),
    "large": Recipe(parameters=(("num_batch", 4096),)),
    "plain": Recipe(parameters=(("temperature", 0.5),)),
    "none": None,
}


def ways(grid):
    return [(model, one.n_gpu_layers, one.n_batch, one.n_ubatch, one.n_threads) for model, one in grid.arms()]


def test_a_modelfile_says_how_its_model_is_loaded():
    grid = Grid(("m", "large", "plain", "none")).described(RECIPES, ())
    assert ways(grid) == [
        ("m", 0, 64, 64, 2),
        ("large", -1, 4096, 512, 0),
        ("plain", -1, 2048, 512, 0),
        ("none", -1, 2048, 512, 0),
    ]
    assert grid.own_words("m") == ("-ngl 0", "-t 2", "-b 64", "-ub 64")
    assert grid.own_words("plain") == grid.own_words("none") == ()


@pytest.mark.parametrize(
    ("given", "values", "expected"),
    [
        ({"n_batch"}, {"n_batch": (2048,)}, ("m", 0, 2048, 512, 2)),
        ({"n_ubatch"}, {"n_ubatch": (32,)}, ("m", 0, 64, 32, 2)),
        ({"n_threads"}, {"n_threads": (0,)}, ("m", 0, 64, 64, 0)),
        ({"n_gpu_layers"}, {"n_gpu_layers": (-1,)}, ("m", -1, 64, 64, 2)),
    ],
)
def test_what_the_user_says_overrules_it(given, values, expected):
    grid = Grid(("m",), **values).described(RECIPES, given)
    assert ways(grid) == [expected]
    words = list(grid.arguments())
    again = Grid(("m",), **{OPTIONS[words[1]]: parse_option(words[1], words[2])}).described(RECIPES, given)
    assert ways(again) == ways(grid)


def test_what_the_user_gives_as_a_list_stays_one():
    grid = Grid(("m", "none"), n_threads=(1, 2)).described(RECIPES, {"n_threads"})
    assert [model for model, *_ in ways(grid)] == ["m", "m", "none", "none"]


def test_without_a_word_of_a_modelfile_a_grid_is_what_it_was():
    assert Grid(("none", "plain")).described(RECIPES, {"n_threads"}) == Grid(("none", "plain"))


def test_a_batch_of_a_modelfile_has_to_hold_all_sequences():
    with pytest.raises(ParameterError, match="A batch of 64 tokens"):
        Grid(("m",), sequences=(100,)).described(RECIPES, ()).cases()


def test_placement_as_llama_bench_writes_it() -> None:
    assert parse_option("-ncmoe", "0,2,-1") == (0, 2, -1)
    assert parse_option("-ot", r"blk\.0=CPU;output=CUDA0,exps=CPU") == (r"blk\.0=CPU;output=CUDA0", "exps=CPU")
    assert parse_option("-ts", "3/1,1;1") == ("3/1", "1/1")
    assert parse_option("-dev", "CUDA0/CUDA1,none,auto") == ("CUDA0/CUDA1", "none", "auto")
    assert parse_option("-nkvo", "0,1") == (0, 1)
    assert parse_option("-lm", "mmap,dio") == ("mmap", "dio")
    for option, text in (("-ot", "[=CPU"), ("-ot", "exps"), ("-ts", "3/x"), ("-sm", "tensor"), ("-nkvo", "2")):
        with pytest.raises(ParameterError):
            parse_option(option, text)


def test_placement_as_load_settings_and_back() -> None:
    grid = Grid(
        ("m",), n_cpu_moe=(2,), tensor_buft_overrides=("a=CPU;b=CUDA0",), tensor_split=("3/1",),
        devices=("CUDA0/CUDA1",), no_kv_offload=(1,), load_mode=("mlock",), n_ubatch=(128,), n_batch=(1024,),
        n_gpu_layers=(7,),
    )  # fmt: skip
    ((_, settings),) = grid.arms()
    load = as_load_settings(settings, BenchTest(n_prompt=1))
    assert (load.num_cpu_moe, load.override_tensor, load.tensor_split) == (2, ("a=CPU", "b=CUDA0"), ("3", "1"))
    assert (load.devices, load.offload_kqv, load.load_mode) == (("CUDA0", "CUDA1"), False, "mlock")
    assert (load.num_batch, load.num_ubatch) == (1024, 128)
    assert as_bench_settings(load) == settings
    none = as_load_settings(replace(settings, devices="none"), BenchTest(n_prompt=1))
    assert (none.num_gpu, none.devices) == (0, ())
