"""A file of gates as a whole: its sections, where its model and images are from, and what is told where they are wrong."""

import inspect
import sys
from pathlib import Path

import pytest

from pytest_robustness.config.documents import image_settings, model_settings, read_document
from pytest_robustness.config.reading import Refused
from pytest_robustness.errors import InputError
from pytest_robustness.image_sources import image_source
from pytest_robustness.models import LoadedModel

from .conftest import MODEL, draw_grey

GATES = "gates: {clean: {assert: accuracy, at_least: 1}}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(text: str, name: str = "robustness.yaml") -> Path:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")
    return Path(name)


def refused(text: str) -> str:
    with pytest.raises(Refused) as refusal:
        read_document(written(text))
    return str(refusal.value)


def test_a_file_may_have_gates_alone() -> None:
    document = read_document(written(GATES))
    assert (document.model, document.images, document.options) == (None, None, {})
    assert [gate.name for gate in document.gates] == ["clean"]


@pytest.mark.parametrize(
    "text", ["model: brightness:Brightness\n", "model: {source: brightness:Brightness, classes: [a, b]}\n"]
)
def test_a_model_is_loaded_from_its_source(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brightness.py").write_text(MODEL, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "brightness", raising=False)
    source = read_document(written(text + GATES)).model
    assert source is not None
    assert source.node.where == "robustness.yaml:1"
    model = source.load()
    assert isinstance(model, LoadedModel)
    assert model.source == "brightness:Brightness"
    assert model.classes == (("a", "b") if "classes" in text else ())


def test_files_lie_beside_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("model.onnx", "weights.pt2"):
        (tmp_path / "deep" / name).write_bytes(b"no model")
    for text in ("model.onnx", "onnx:model.onnx", "export:weights.pt2"):
        source = read_document(written(f"model: {text}\n" + GATES, "deep/robustness.yaml")).model
        assert source is not None
        with pytest.raises(InputError, match=r"deep/(model\.onnx|weights\.pt2)"):
            source.load()


def test_images_are_those_of_a_folder_of_a_manifest_or_named_one_by_one(tmp_path: Path) -> None:
    for name in ("dark/0.png", "bright/1.png"):
        draw_grey(tmp_path / "deep" / "images" / name, 100)
    known = "classes: [dark, bright, grey]"
    texts = {
        "images": (("bright/1.png", (0,)), ("dark/0.png", (1,))),
        f"{{source: images, {known}}}": (("bright/1.png", (1,)), ("dark/0.png", (0,))),
        f"{{source: images, {known}, labels: {{dark/0.png: [dark, 2]}}}}": (("dark/0.png", (0, 2)),),
    }
    (tmp_path / "deep" / "known.csv").write_text("file,label\nimages/dark/0.png,dark\n", encoding="utf-8")
    texts[f"{{source: known.csv, {known}, on_bad_image: fail}}"] = (("images/dark/0.png", (0,)),)
    for text, expected in texts.items():
        source = read_document(written(f"images: {text}\n" + GATES, "deep/robustness.yaml")).images
        assert source is not None
        found = source.load()
        assert tuple((image.id, image.labels) for image in found.images) == expected
        assert found.name.startswith("deep/")


def test_what_can_be_said_of_models_and_images_is_what_their_functions_take() -> None:
    assert list(model_settings()) == [
        "source",
        "state",
        "sha256",
        "classes",
        "mean",
        "std",
        "resize",
        "crop",
        "interpolation",
    ]
    _, *others = inspect.signature(image_source).parameters
    assert list(image_settings()) == ["source", *others, "labels"]


def test_options_of_the_run_stand_beside() -> None:
    document = read_document(written("seed: 7\nfast: true\n" + GATES))
    assert {name: own.text for name, own in document.options.items()} == {"seed": "7", "fast": "true"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "robustness.yaml:1: expected a mapping with gates, got nothing"),
        (
            "seed: 1\n",
            "robustness.yaml:1: expected gates, by name, got none: a file without a gate would pass every model",
        ),
        (
            "\ngates: {}\n",
            "robustness.yaml:2: expected gates, by name, got none: a file without a gate would pass every model",
        ),
        (
            "\ngates:\n",
            "robustness.yaml:2: expected gates, by name, got none: a file without a gate would pass every model",
        ),
        ("gates: [a]\n", "robustness.yaml:1: expected gates by name, got a list"),
        ("gate: {}\n" + GATES, "robustness.yaml:1: a file of gates has no key 'gate'; did you mean 'gates'?"),
        (
            "batch-size: 3\n" + GATES,
            "robustness.yaml:1: a file of gates has no key 'batch-size'; did you mean 'batch_size'?",
        ),
        ("model: 3\n" + GATES, "robustness.yaml:1: model: expected a source, or a mapping with it, got 3"),
        ("model: {state: x}\n" + GATES, "robustness.yaml:1: model needs source"),
        (
            "model: {source: a:b, clases: [x]}\n" + GATES,
            "robustness.yaml:1: model has no setting 'clases'; did you mean 'classes'?",
        ),
        (
            "images: {source: i, accept: [gray]}\n" + GATES,
            "robustness.yaml:1: accept: expected grey, alpha, 16-bit or cmyk, got 'gray'",
        ),
        (
            "images: {source: i, zebra: x}\n" + GATES,
            "robustness.yaml:1: images has no setting 'zebra'; known are " + ", ".join(sorted(image_settings())),
        ),
        (
            "seed: [1]\n" + GATES,
            "robustness.yaml:1: seed: expected N, seed of all noise; with the image's id it decides every random number; got a list",
        ),
        (
            "gates:\n  a b: {assert: accuracy, at_least: 1}\n  a-b: {assert: accuracy, at_least: 1}\n",
            "robustness.yaml:3: expected names that differ in letters and digits, got 'a-b' as on line 2; rename one of them",
        ),
    ],
)
def test_a_file_that_is_wrong_is_told_with_its_line(text: str, message: str) -> None:
    assert refused(text) == message


def test_all_that_is_wrong_with_a_file_is_told_at_once() -> None:
    text = "modle: x\nfast: 1\nmodel: {sorce: x}\nimages: 3\ngates:\n  a: {assert: x1}\n  b: {assert: accuracy, at_least: z}\n"
    assert refused(text).splitlines() == [
        "robustness.yaml:1: a file of gates has no key 'modle'; did you mean 'model'?",
        "robustness.yaml:2: fast: expected true or false, got 1",
        "robustness.yaml:3: model has no setting 'sorce'; did you mean 'source'?",
        "robustness.yaml:4: images: expected a source, or a mapping with it, got 3",
        *(line for line in refused(text).splitlines() if "'x1'" in line),
        "robustness.yaml:7: at_least: expected a number such as 0.25, 2/255 or 25 %, got 'z'",
    ]
