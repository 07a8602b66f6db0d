from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest

from tests.gguf_files import finish
from tests.library.stores import HuggingFaceCache, OllamaStore
from tests.lora import write_lora
from workbench.core.chat import Message
from workbench.core.errors import ModelFileError, ModelfileError, UnknownModelError, WorkbenchError
from workbench.core.recipe import Recipe
from workbench.library.catalog import LibraryCatalog
from workbench.library.modelfiles import name_of
from workbench.library.places import Places

Model = Callable[..., Path]


@pytest.fixture
def catalog(places: Callable[..., Places], demo_path: Path) -> LibraryCatalog:
    return LibraryCatalog(find_demo_file=lambda: demo_path, stores=("ollama", "huggingface"), places=places())


def write(path: Path, *lines: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def of_type(path: Path, kind: str, architecture: str = "llama", **counts: int) -> Path:
    """A GGUF file of another type than model."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture)
    if kind:
        writer.add_type(kind)
    for key, value in counts.items():
        writer.add_uint32(f"{architecture}.{key.replace('__', '.')}", value)
    finish(writer)
    return path


WHOLE = (
    "FROM {}",
    "SYSTEM Be brief.",
    "PARAMETER temperature 0.2",
    "PARAMETER num_ctx 2048",
    "PARAMETER num_keep 5",
    "PARAMETER stop a",
    "PARAMETER stop b",
    "MESSAGE user Hi",
    "MESSAGE assistant Hello.",
)


def test_everything_that_is_used(catalog: LibraryCatalog, model: Model, tmp_path: Path) -> None:
    weights = model(tmp_path / "m" / "Tiny-Q4_K_M.gguf")
    ref = write(tmp_path / "m" / "brief.Modelfile", *(line.format("./Tiny-Q4_K_M.gguf") for line in WHOLE))
    entry = catalog.resolve(ref)
    assert (entry.ref, entry.name, entry.quant, entry.path) == (ref, "brief", "Q4_K_M", str(weights))
    assert entry.label == "brief Q4_K_M"
    recipe = Recipe(
        system="Be brief.",
        parameters=(("temperature", 0.2), ("num_ctx", 2048), ("stop", ("a", "b"))),
        messages=(Message("user", "Hi"), Message("assistant", "Hello.")),
        notes=("brief.Modelfile, line 5: num_keep 5 is not used: num_keep has no meaning here.",),
    )
    assert entry.recipe == recipe
    assert catalog.recipe(ref) == recipe


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/coder.Modelfile", "coder"),
        ("a/coder/Modelfile", "coder"),
        ("a/modelfile.coder.v2", "coder.v2"),
        ("a/coder.txt", "coder.txt"),
    ],
)
def test_names(path: str, name: str) -> None:
    assert name_of(Path(path)) == name


def test_paths_are_read_from_the_folder_of_the_modelfile(
    catalog: LibraryCatalog, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = model(tmp_path / "deep" / "w.gguf")
    monkeypatch.setenv("HOME", str(tmp_path / "deep"))
    ref = tmp_path / "deep" / "er" / "Modelfile"
    for base in ("../w.gguf", str(weights), "~/w.gguf"):
        assert Path(catalog.resolve(write(ref, f"FROM {base}")).path or "").resolve() == weights


def test_a_path_to_the_modelfile_may_be_relative(
    catalog: LibraryCatalog, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(tmp_path / "w.gguf")
    write(tmp_path / "Modelfile", "FROM w.gguf")
    monkeypatch.chdir(tmp_path)
    for ref in ("Modelfile", "./Modelfile"):
        assert catalog.resolve(ref).ref == str(tmp_path / "Modelfile")


def test_the_demo_model(catalog: LibraryCatalog, demo_path: Path, tmp_path: Path) -> None:
    entry = catalog.resolve(write(tmp_path / "Modelfile", "FROM demo"))
    assert entry.path == str(demo_path)
    assert entry.source == "modelfile"


def test_other_references_have_no_recipe(catalog: LibraryCatalog, model: Model, tmp_path: Path) -> None:
    assert [catalog.recipe(ref) for ref in ("demo", "scripted", "x:Q4", str(model(tmp_path / "m.gguf")))] == [None] * 4


def test_a_swap_keeps_what_is_not_in_the_weights(catalog: LibraryCatalog, demo_path: Path, tmp_path: Path) -> None:
    plain = catalog.resolve("demo")
    told = catalog.resolve(write(tmp_path / "a.Modelfile", "FROM demo", "SYSTEM x"))
    assert told.group == plain.group
    write_lora(tmp_path / "lora.gguf", demo_path)
    adapted = catalog.resolve(write(tmp_path / "b.Modelfile", "FROM demo", "ADAPTER lora.gguf"))
    assert adapted.group == ""


def test_adapters(catalog: LibraryCatalog, demo_path: Path, tmp_path: Path) -> None:
    adapter = write_lora(tmp_path / "lora.gguf", demo_path)
    for lines in (
        ("FROM demo", "ADAPTER ./lora.gguf"),
        (f"FROM {demo_path}", "FROM lora.gguf"),
        ("FROM demo", f"ADAPTER {demo_path}", "ADAPTER lora.gguf"),
    ):
        recipe = catalog.resolve(write(tmp_path / "Modelfile", *lines)).recipe
        assert recipe is not None
        assert recipe.adapter == str(adapter)


@pytest.mark.parametrize(
    "name", ["hf.co/bart/Tiny-GGUF:Q8_0", "bart/Tiny-GGUF", "https://huggingface.co/bart/Tiny-GGUF"]
)
def test_a_hugging_face_repository_in_the_library(
    catalog: LibraryCatalog, hub: HuggingFaceCache, weights: Callable[..., bytes], tmp_path: Path, name: str
) -> None:
    link = hub.add("bart/Tiny-GGUF", "Tiny-Q8_0.gguf", weights())
    assert catalog.resolve(write(tmp_path / "Modelfile", f"FROM {name}")).path == str(link)


def test_a_name_of_ollama_brings_what_its_own_modelfile_said(
    catalog: LibraryCatalog, ollama: OllamaStore, weights: Callable[..., bytes], tmp_path: Path
) -> None:
    layers = [
        ollama.layer("system", b"Old system."),
        ollama.layer("params", json.dumps({"temperature": 0.5, "seed": 1e6, "stop": ["x"], "num_keep": 3}).encode()),
        ollama.layer("messages", json.dumps([{"role": "user", "content": "Q"}]).encode()),
        ollama.layer("template", b"{{ .Prompt }}"),
        ollama.layer("license", b"MIT"),
    ]
    ollama.add("tiny/latest", weights(), config={"renderer": "qwen3.5"}, layers=layers)
    entry = catalog.resolve(write(tmp_path / "Modelfile", "FROM tiny", "PARAMETER stop y", "PARAMETER top_k 7"))
    assert entry.path is not None
    assert Path(entry.path).parent.name == "blobs"
    recipe = entry.recipe
    assert recipe is not None
    assert recipe.system == "Old system."
    assert dict(recipe.parameters) == {"temperature": 0.5, "seed": 1_000_000, "stop": ("y",), "top_k": 7}
    assert recipe.messages == (Message("user", "Q"),)
    # The renderer of Ollama takes its place.
    assert recipe.template == ""
    assert any("renderer qwen3.5" in note for note in recipe.notes)
    over = catalog.resolve(write(tmp_path / "Modelfile", "FROM TINY:latest", "SYSTEM New.", "MESSAGE assistant A"))
    assert over.recipe is not None
    assert (over.recipe.system, over.recipe.messages) == ("New.", (Message("assistant", "A"),))


def test_a_model_of_ollama_is_opened_with_what_its_own_modelfile_said(
    catalog: LibraryCatalog, ollama: OllamaStore, weights: Callable[..., bytes], tmp_path: Path
) -> None:
    layers = [
        ollama.layer("system", b"Be brief."),
        ollama.layer("params", json.dumps({"temperature": 0.5, "stop": ["x"]}).encode()),
        ollama.layer("messages", json.dumps([{"role": "user", "content": "Q"}]).encode()),
        ollama.layer("template", b"{{ .Prompt }}"),
    ]
    ollama.add("tiny/latest", weights(), layers=layers)
    ollama.add("bare/latest", weights())
    for ref in ("ollama:tiny", "OLLAMA:Tiny:latest"):
        entry = catalog.resolve(ref)
        assert (entry.ref, entry.source) == ("ollama:tiny:latest", "ollama")
        assert entry.recipe == catalog.recipe(ref)
        assert entry.recipe == catalog.recipe(write(tmp_path / "Modelfile", "FROM tiny"))
        assert entry.recipe is not None
        assert (entry.recipe.template, entry.recipe.system) == ("{{ .Prompt }}", "Be brief.")
        assert dict(entry.recipe.parameters) == {"temperature": 0.5, "stop": ("x",)}
    assert catalog.resolve("ollama:bare").recipe is None
    assert catalog.recipe("ollama:bare") is None
    assert catalog.recipe("ollama:none") is None


@pytest.mark.parametrize(
    "lines",
    [
        ["FROM demo", "TEMPLATE {{ .Prompt }}", "RENDERER qwen3.5"],
        ["FROM demo", "PARAMETER template {{ .Prompt }}", "RENDERER qwen3.5"],
        ["FROM dummy", "SYSTEM Hi"],
        ["FROM dummy", "TEMPLATE {{ .System }}{{ .Prompt }}"],
        ["FROM plain", "RENDERER qwen3.5"],
    ],
)
def test_the_template_beside_a_renderer_never_counts(
    catalog: LibraryCatalog, ollama: OllamaStore, weights: Callable[..., bytes], tmp_path: Path, lines: list[str]
) -> None:
    template = ollama.layer("template", b"{{ .Prompt }}")
    ollama.add("dummy/latest", weights(), config={"renderer": "qwen3.5"}, layers=[template])
    ollama.add("plain/latest", weights(), layers=[template])
    recipe = catalog.recipe(write(tmp_path / "Modelfile", *lines))
    assert recipe is not None
    assert (recipe.template, recipe.renderer) == ("", "qwen3.5")
    assert [note for note in recipe.notes if "qwen3.5" in note and "GGUF" in note] == list(recipe.notes)
    assert len(recipe.notes) == 1
    stored = catalog.resolve("ollama:dummy").recipe
    assert stored is not None
    assert (stored.template, stored.renderer) == ("", "qwen3.5")


JINJA = "{% if tools %}{{ tools }}{% endif %}{{ messages[0].content }}"


@pytest.mark.parametrize(
    ("lines", "environment", "template"),
    [
        (["TEMPLATE {{ .Prompt }}"], "", ""),
        (["TEMPLATE {{ .Tools }}{{ .Prompt }}"], "", "{{ .Tools }}{{ .Prompt }}"),
        (["TEMPLATE {{ .Tools }}{{ .Prompt }}"], "0", ""),
        (["TEMPLATE {{ .Prompt }}"], "1", "{{ .Prompt }}"),
        (["TEMPLATE {{ .Prompt }}", "PARSER qwen3"], "", "{{ .Prompt }}"),
        (["SYSTEM Hi"], "", ""),
    ],
)
def test_the_template_of_the_file_takes_precedence_where_it_can_do_more(
    places: Callable[..., Places],
    ollama: OllamaStore,
    weights: Callable[..., bytes],
    model: Model,
    tmp_path: Path,
    lines: list[str],
    environment: str,
    template: str,
) -> None:
    named = {"OLLAMA_GO_TEMPLATE": environment} if environment else {}
    catalog = LibraryCatalog(stores=("ollama",), places=places(**named))
    model(tmp_path / "w.gguf", template=JINJA)
    ollama.add("own/latest", weights(template=JINJA), layers=[ollama.layer("template", b"{{ .Suffix }}{{ .Prompt }}")])
    for base in ("./w.gguf", "own"):
        ref = write(tmp_path / "Modelfile", f"FROM {base}", *lines)
        for recipe in (catalog.resolve(ref).recipe, catalog.recipe(ref)):
            assert recipe is not None
            inherited = "{{ .Suffix }}{{ .Prompt }}" if base == "own" and lines == ["SYSTEM Hi"] else template
            assert recipe.template == inherited
            is_said = any("TEMPLATE is not used" in note for note in recipe.notes)
            assert is_said == (not template and lines != ["SYSTEM Hi"])


def test_a_model_of_ollama_with_an_adapter(
    catalog: LibraryCatalog, ollama: OllamaStore, weights: Callable[..., bytes], tmp_path: Path, demo_path: Path
) -> None:
    lora = write_lora(tmp_path / "lora.gguf", demo_path).read_bytes()
    ollama.add("tuned/latest", weights(), layers=[ollama.layer("adapter", lora)])
    entry = catalog.resolve(write(tmp_path / "Modelfile", "FROM tuned"))
    assert entry.recipe is not None
    assert Path(entry.recipe.adapter).read_bytes() == lora


@pytest.mark.parametrize(
    "layer",
    [("params", b"[]"), ("params", b"{"), ("messages", b"{}"), ("messages", b'[{"role": "tool", "content": ""}]')],
)
def test_layers_of_ollama_that_are_damaged(
    catalog: LibraryCatalog, ollama: OllamaStore, weights: Callable[..., bytes], tmp_path: Path, layer
) -> None:
    ollama.add("tiny/latest", weights(), layers=[ollama.layer(*layer)])
    with pytest.raises(ModelFileError, match="cannot be read"):
        catalog.resolve(write(tmp_path / "Modelfile", "FROM tiny"))


def test_files_and_a_projector(catalog: LibraryCatalog, model: Model, tmp_path: Path) -> None:
    weights = model(tmp_path / "w.gguf")
    of_type(tmp_path / "mmproj.gguf", "mmproj", "clip")
    of_type(tmp_path / "sees.gguf", "", "mllama", vision__block_count=3)
    entry = catalog.resolve(write(tmp_path / "Modelfile", "FROM w.gguf", "FROM mmproj.gguf", "FROM sees.gguf"))
    assert entry.path == str(weights)
    assert entry.recipe is not None
    assert [note.split(" is ")[0] for note in entry.recipe.notes] == ["mmproj.gguf", "sees.gguf"]


def test_a_name_counts_more_than_files(catalog: LibraryCatalog, model: Model, tmp_path: Path, demo_path: Path) -> None:
    model(tmp_path / "w.gguf")
    entry = catalog.resolve(write(tmp_path / "Modelfile", "FROM demo", "FROM w.gguf"))
    assert entry.path == str(demo_path)
    assert entry.recipe is not None
    assert "the files are ignored" in entry.recipe.notes[0]


def test_a_directory(catalog: LibraryCatalog, model: Model, tmp_path: Path) -> None:
    weights = model(tmp_path / "d" / "w.gguf")
    of_type(tmp_path / "d" / "proj.gguf", "projector")
    assert catalog.resolve(write(tmp_path / "Modelfile", "FROM ./d")).path == str(weights)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no Modelfile or safetensors files found"),
        ({"model.safetensors": b"x", "w.gguf": b""}, "safetensors form"),
        ({"sub/model-1.safetensors": b"x"}, "safetensors form"),
        ({"consolidated.00.safetensors": b"x"}, "safetensors form"),
        ({"pytorch_model.bin": b"PK\x03\x04"}, "PyTorch form"),
        ({"consolidated.00.pth": b"PK\x03\x04"}, "PyTorch form"),
        ({"pytorch_model.bin": b"text"}, "no Modelfile or safetensors files found"),
    ],
)
def test_directories_that_cannot_be_used(catalog: LibraryCatalog, tmp_path: Path, files, said: str) -> None:
    (tmp_path / "d").mkdir()
    for name, data in files.items():
        path = tmp_path / "d" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    with pytest.raises(ModelfileError, match=said):
        catalog.resolve(write(tmp_path / "Modelfile", "FROM ./d"))


APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(4064)


def test_companions_of_macos_beside_a_model_do_not_matter(
    catalog: LibraryCatalog, model: Model, tmp_path: Path
) -> None:
    weights = model(tmp_path / "d" / "w.gguf")
    for name in ("._w.gguf", "._model.safetensors", "._pytorch_model.bin", ".w.bin", ".other.gguf"):
        (tmp_path / "d" / name).write_bytes(APPLE_DOUBLE)
    for line in ("FROM ./d", "FROM ./d/w.gguf"):
        assert catalog.resolve(write(tmp_path / "Modelfile", line)).path == str(weights)
    problem = catalog.resolve(str(tmp_path / "d" / "._w.gguf")).problem
    assert "macOS' companion" in problem
    assert "Download" not in problem
    with pytest.raises(ModelFileError) as caught:
        catalog.resolve(str(tmp_path / "d" / "v.gguf"))
    assert "._" not in caught.value.hint


def test_a_link_out_of_a_directory_is_refused(catalog: LibraryCatalog, model: Model, tmp_path: Path) -> None:
    weights = model(tmp_path / "blobs" / "w.gguf")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "w.gguf").symlink_to(weights)
    with pytest.raises(ModelfileError, match="insecure path"):
        catalog.resolve(write(tmp_path / "Modelfile", "FROM ./d"))
    assert catalog.resolve(write(tmp_path / "Modelfile", "FROM ./d/w.gguf")).path


@pytest.mark.parametrize(
    ("lines", "error", "said"),
    [
        (["FROM ./missing.gguf"], ModelFileError, "FROM ./missing.gguf: there is no such file"),
        (["FROM nothing-like-it"], UnknownModelError, "FROM nothing-like-it: There is no model"),
        (["FROM hf.co/a/b:Q4_K_M"], UnknownModelError, "There is no model 'a/b:Q4_K_M'"),
        (["FROM Modelfile"], ModelfileError, "this is a Modelfile"),
        (["FROM w.gguf", "FROM x.gguf"], ModelfileError, "several models: w.gguf, x.gguf"),
        (["FROM lora.gguf"], ModelfileError, "FROM names no model"),
        (["FROM w.gguf", "DRAFT ./w.gguf"], ModelfileError, "DRAFT must not reference the same local path as FROM"),
        (["FROM w.gguf", "DRAFT ./no.gguf"], ModelfileError, "DRAFT ./no.gguf: there is no such file"),
        (["FROM w.gguf", "ADAPTER no.gguf"], ModelfileError, "ADAPTER no.gguf: there is no such file"),
        (["FROM w.gguf", "ADAPTER ."], ModelfileError, "safetensors form"),
        (["FROM w.gguf", "ADAPTER x.gguf"], ModelfileError, "this is not a LoRA adapter"),
        (["FROM w.gguf", "ADAPTER Modelfile"], ModelFileError, "Modelfile"),
        (["FROM w.gguf", "FOO x"], ModelfileError, "line 2, column 1: command must be one of"),
        (["FROM http://localhost:1/x"], WorkbenchError, "localhost"),
        (["FROM x://demo"], UnknownModelError, "FROM x://demo: invalid model name"),
        (["FROM ~nobody-of-this-name/x.gguf"], ModelFileError, "there is no such file"),
    ],
)
def test_refusals_name_the_modelfile(
    catalog: LibraryCatalog, model: Model, tmp_path: Path, demo_path: Path, lines: list[str], error: type, said: str
) -> None:
    model(tmp_path / "w.gguf")
    model(tmp_path / "x.gguf")
    write_lora(tmp_path / "lora.gguf", demo_path)
    ref = write(tmp_path / "Modelfile", *lines)
    with pytest.raises(error) as caught:
        catalog.resolve(ref)
    assert said in caught.value.message
    assert ref in caught.value.message


def test_what_is_not_honoured_is_said(catalog: LibraryCatalog, model: Model, tmp_path: Path) -> None:
    model(tmp_path / "draft.gguf")
    lines = ["FROM demo", "RENDERER a", "PARSER b", "DRAFT draft.gguf", "REQUIRES 99.0", "PARAMETER min_p 3"]
    recipe = catalog.recipe(write(tmp_path / "Modelfile", *lines))
    assert recipe is not None
    assert [note.split()[0] for note in recipe.notes] == ["Modelfile,", "RENDERER", "PARSER", "REQUIRES"]
    assert dict(recipe.parameters)["speculation"] == str(tmp_path / "draft.gguf")


def test_a_directory_with_a_model_of_the_ending_bin(catalog: LibraryCatalog, model: Model, tmp_path: Path) -> None:
    weights = model(tmp_path / "d" / "w.gguf").rename(tmp_path / "d" / "model.bin")
    (tmp_path / "d" / "training_args.bin").write_bytes(b"PK\x03\x04")
    assert catalog.resolve(write(tmp_path / "Modelfile", "FROM ./d")).path == str(weights)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("ADAPTER no.gguf", "ADAPTER no.gguf: there is no such file"),
        ("ADAPTER w.gguf", "ADAPTER w.gguf: this is not a LoRA adapter"),
        ("DRAFT ./no.gguf", "DRAFT ./no.gguf: there is no such file"),
        ("FROM ./no.gguf", "FROM ./no.gguf: there is no such file"),
        ("FROM x://m", "FROM x://m: invalid model name"),
    ],
)
def test_a_check_names_files_that_are_missing(
    catalog: LibraryCatalog, model: Model, tmp_path: Path, line: str, error: str
) -> None:
    model(tmp_path / "w.gguf")
    ref = write(tmp_path / "Modelfile", "FROM ./w.gguf", "# a comment", line, "SYSTEM Hi")
    report = catalog.check_modelfile(Path(ref))
    assert [(each.message, each.line, each.column) for each in report.errors] == [(error, 3, 1)]


def test_a_check_says_what_opening_says(catalog: LibraryCatalog, model: Model, tmp_path: Path) -> None:
    model(tmp_path / "w.gguf", template=JINJA)
    lines = ["FROM w.gguf", "RENDERER a", "PARSER b", "DRAFT w2.gguf", "REQUIRES 99.0", "PARAMETER min_p 3"]
    model(tmp_path / "w2.gguf")
    ref = write(tmp_path / "Modelfile", *lines)
    report = catalog.check_modelfile(Path(ref))
    assert [(each.message.split()[0], each.line) for each in report.warnings] == [
        ("min_p", 6),
        ("RENDERER", 2),
        ("PARSER", 3),
        ("REQUIRES", 5),
    ]
    ref = write(tmp_path / "Modelfile", "FROM w.gguf", "TEMPLATE {{ .Prompt }}")
    (warning,) = catalog.check_modelfile(Path(ref)).warnings
    assert ("TEMPLATE is not used" in warning.message, warning.line) == (True, 2)
    ref = write(tmp_path / "Modelfile", "FROM w.gguf", "ADAPTER a", "DRAFT b", "DRAFT c")
    assert [each.line for each in catalog.check_modelfile(Path(ref)).errors] == [2, 3, 4]
    for wrong in ("ADAPTER no.gguf", "FROM x://m"):
        ref = write(tmp_path / "Modelfile", "FROM w.gguf", "RENDERER a", wrong, "REQUIRES 99.0", "PARAMETER min_p 3")
        report = catalog.check_modelfile(Path(ref))
        assert ([each.line for each in report.errors], [each.line for each in report.warnings]) == ([3], [5, 2, 4])
    ref = write(tmp_path / "Modelfile", "FROM nothing-like-it")
    assert catalog.check_modelfile(Path(ref)).errors == ()


def test_a_missing_modelfile(catalog: LibraryCatalog, tmp_path: Path) -> None:
    for ref in (str(tmp_path / "Modelfile"), "my.Modelfile"):
        with pytest.raises(ModelfileError, match="there is no such file"):
            catalog.resolve(ref)
