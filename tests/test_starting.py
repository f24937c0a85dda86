"""`python -m pytest_robustness init`: what it writes, finds and says, and that pytest is green on it."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from pytest_robustness import InputError, declared_images, declared_model
from pytest_robustness.__main__ import main
from pytest_robustness.config.schema import config_schema_text

from .conftest import MODEL, draw_grey

# Folders sort as bright, dark: the model's two classes the other way round.
FACTORIES = """
from pytest_robustness import LoadedModel
from pytest_robustness.preprocessing import Preprocessing

class Sorted(Brightness):
    def forward(self, images):
        return super().forward(images).flip(1)

class Rounded(Sorted):
    def forward(self, images):
        return super().forward((images * 255).round() / 255)

class Three(Brightness):
    def forward(self, images):
        return torch.cat([super().forward(images), images.mean((1, 2, 3))[:, None] - 9], 1)

def named():
    return LoadedModel(Three(), source="named", preprocessing=Preprocessing(), classes=["dark", "bright", "grey"])

def otherwise():
    return LoadedModel(Sorted(), source="otherwise", preprocessing=Preprocessing(), classes=["light", "night"])
"""
WROTE = "wrote           robustness.yaml, test_robustness.py and robustness.schema.json"
READY = "ready           run pytest --robustness-report=robustness.html"


@pytest.fixture
def start(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The project without any file of pytest's, and with more models; its folder is the one that commands run in."""
    (project.path / "conftest.py").unlink()
    (project.path / "brightness.py").write_text(MODEL + FACTORIES, encoding="utf-8")
    monkeypatch.chdir(project.path)
    # Which source files the name of an answer depends on is tested elsewhere, and takes most of the time.
    monkeypatch.setattr("pytest_robustness.fingerprint._code", lambda modules: b"")
    return project


def ran(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:randomly", *arguments)


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["init", *arguments])
    return status, *capsys.readouterr()


def test_what_is_written_is_green_and_what_was_found_is_told(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = answered(capsys, "--model", "brightness:Sorted", "--images", "images")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "model           brightness:Sorted, 2 classes, on cpu",
        "classes         bright, dark: the images' own, as the model names none",
        "images          6 images of images, 16 x 16 pixels",
        "preprocessing   as the files are; no mean and std of its own; from none",
        "clean accuracy  1 (6 of 6 images); a model that always answers 'bright' has 0.5",
        "gate            clean accuracy: at least 0.6 (6 of 6)",
        "gate            slight noise: at least 0.6 (6 of 6)",
        "gate            jpeg compression: at least 0.6 (6 of 6)",
        "gate            smallest fgsm: at least 0.6 (6 of 6)",
        "gate            vote under noise: at least 0.6 and 0.6 (6 of 6, 6 of 6)",
        WROTE,
        READY,
    ]
    ran(start, "--robustness-report=robustness.html").assert_outcomes(passed=6)
    assert (start.path / "robustness.html").exists()
    assert (start.path / "robustness.schema.json").read_text(encoding="utf-8") == config_schema_text()


def test_the_written_test_is_clean_for_ruff_and_its_types_are_all_named(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    (start.path / "images").rename(start.path / ".images")
    main(["init"])
    capsys.readouterr()
    rules = ["check", "--isolated", "--select=E,F,W,I,B,UP,SIM,RUF,PT,C4,N,ANN"]
    for command in (rules, ["format", "--isolated", "--check"]):
        line = [sys.executable, "-m", "ruff", *command, "test_robustness.py"]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_a_model_and_images_are_found_in_the_folder(start: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
    scripted("model.pt")
    status, out, _ = answered(capsys)
    assert status == 0
    assert out.splitlines()[0] == "model           model.pt, 2 classes, on cpu"
    text = (start.path / "robustness.yaml").read_text(encoding="utf-8")
    assert "\nmodel: model.pt\n" in text
    assert "\nimages: images\n" in text


class Sorted(torch.nn.Module):
    """The model as TorchScript can read it."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        margin = 8 * (images.mean((1, 2, 3)) - 0.5)
        return torch.stack([margin, torch.zeros_like(margin)], 1)


def scripted(path: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.* is deprecated")
        torch.jit.script(Sorted()).save(path)  # type: ignore[no-untyped-call]


def test_where_nothing_is_found_the_places_are_marked_and_told(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    (start.path / "images").rename(start.path / ".images")
    (start.path / "weights.safetensors").touch()
    status, out, err = answered(capsys)
    assert (status, err) == (1, "")
    assert out.splitlines() == [
        WROTE,
        "to change       model: weights.safetensors has weights alone, which need an",
        "                architecture, such as --model torchvision:resnet18 --weights",
        "                weights.safetensors; name it in robustness.yaml, where it says",
        "                CHANGE ME, or start again with --model and --force",
        "to change       images: found no folder of class folders here; name them in",
        "                robustness.yaml, where it says CHANGE ME, or start again with",
        "                --images and --force",
    ]
    # What is written is what pytest reads: filled in, it runs.
    path = start.path / "robustness.yaml"
    text = path.read_text(encoding="utf-8").replace('model: "CHANGE ME"', "model: brightness:Sorted")
    path.write_text(text.replace('images: "CHANGE ME"', "images: .images"), encoding="utf-8")
    ran(start, "-p", "no:cacheprovider").assert_outcomes(passed=6)


def test_of_several_models_and_sets_of_images_none_is_taken(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.onnx", "b.pt2"):
        (start.path / name).touch()
    for name in ("train", "val"):
        for kind in ("cat", "dog"):
            draw_grey(start.path / "data" / name / kind / "one.png", 9)
    status, out, _ = answered(capsys)
    assert status == 1
    told = " ".join(out.split())
    assert "model: found several, a.onnx and b.pt2; name it in robustness.yaml" in told
    assert "images: found several, images, data/train and data/val; name them in robustness.yaml" in told


def test_files_that_are_there_are_never_replaced_but_by_force(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    (start.path / "test_robustness.py").write_text("mine", encoding="utf-8")
    assert answered(capsys) == (
        2,
        "",
        "test_robustness.py: expected no such file yet, got one; nothing was written: go on with what is there, or replace it by --force\n",
    )
    assert sorted(start.path.glob("robustness.*")) == []
    assert (start.path / "test_robustness.py").read_text(encoding="utf-8") == "mine"
    assert main(["init", "--force"]) == 1
    assert (start.path / "test_robustness.py").read_text(encoding="utf-8") != "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "--model missing.onnx",
            "missing.onnx: expected a model file, found none; check the path",
        ),
        (
            "--images photos",
            "photos: expected a folder with one folder per class, found no folder; check the path",
        ),
        (
            "--model brightness:Three --images images",
            "the model: expected float logits of shape (n, 2), a row for each of n = 6 images and a column for each class of the image set, "
            "got float32 of shape (6, 3); give the image set the model's own classes, or fix the model's last layer; a text file with a "
            "class on each line, in the model's order, is named by --classes",
        ),
        (
            "--model brightness:Sorted --images images --classes dark,bright",
            "dark,bright: expected a YAML file with classes, could not read it: No such file or directory",
        ),
        (
            "--model brightness:Sorted --images images --seed -1",
            "seed: expected a whole number >= 0, got -1",
        ),
        (
            "--model brightness:named --images twelve",
            "twelve: expected the model's classes, got 1 of 2 that it does not have: 'Bright'; did you mean 'bright'?; give the image set "
            "classes= in the model's order, by the model's names",
        ),
    ],
)
def test_what_can_not_be_used_is_refused_and_nothing_is_written(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str], arguments: str, said: str
) -> None:
    draw_grey(start.path / "twelve" / "Bright" / "one.png", 200)
    draw_grey(start.path / "twelve" / "dark" / "one.png", 20)
    assert answered(capsys, *arguments.split()) == (2, "", f"{said}\n")
    assert sorted(start.path.glob("*robustness*")) == []


def test_classes_in_another_order_are_seen_by_the_answers_and_mended_by_a_list_of_them(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = answered(capsys, "--model", "brightness:Brightness", "--images", "images")
    assert status == 1
    assert out.splitlines()[4:] == [
        "clean accuracy  0 (0 of 6 images); a model that always answers 'bright' has 0.5",
        WROTE,
        "to change       the classes seem to be in another order: most images are",
        "                answered otherwise, of 'bright' as 'dark', of 'dark' as",
        "                'bright'; list the model's classes in its order, one on each",
        "                line of a text file, and start again with --classes and --force",
    ]
    Path("names.txt").write_text("dark\nbright\n", encoding="utf-8")
    again = ("--model", "brightness:Brightness", "--images", "images", "--classes", "names.txt", "--force")
    status, out, _ = answered(capsys, *again)
    assert status == 0
    assert out.splitlines()[1] == "classes         dark, bright: as names.txt has them"
    assert "\nimages:\n  source: images\n  classes: names.txt\n" in Path("robustness.yaml").read_text(encoding="utf-8")


def test_classes_that_the_model_names_are_written_down_in_its_order(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders of some of them, in whatever order, are enough."""
    status, out, _ = answered(capsys, "--model", "brightness:named", "--images", "images")
    assert status == 0
    assert out.splitlines()[:2] == [
        "model           brightness:named, 3 classes, on cpu",
        "classes         dark, bright, grey: the model's, in classes.txt",
    ]
    assert out.splitlines()[-3:] == [
        "wrote           robustness.yaml, test_robustness.py, robustness.schema.json and",
        "                classes.txt",
        READY,
    ]
    assert Path("classes.txt").read_text(encoding="utf-8") == "dark\nbright\ngrey\n"
    ran(start, "-k", "clean").assert_outcomes(passed=1, deselected=5)


def test_a_list_of_classes_that_is_there_is_not_replaced(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("classes.txt").write_text("mine", encoding="utf-8")
    status, _, err = answered(capsys, "--model", "brightness:named", "--images", "images")
    assert status == 2
    assert err == (
        "classes.txt: expected no such file yet, got one; nothing was written: go on with what is there, or replace it by --force\n"
    )
    assert sorted(start.path.glob("*robustness*")) == []


def test_classes_that_the_model_calls_otherwise_are_taken_by_their_places(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = answered(capsys, "--model", "brightness:otherwise", "--images", "images")
    assert status == 0
    assert out.splitlines()[1] == "classes         bright, dark: the images' own, which the model calls otherwise"


def test_images_that_can_not_be_read_are_counted_and_the_others_tried(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("images/dark/broken.png").write_bytes(b"no picture")
    status, out, _ = answered(capsys, "--model", "brightness:Sorted", "--images", "images")
    assert status == 1
    told = " ".join(out.split())
    assert "clean accuracy 1 (6 of 6 images); a model that always answers" in told
    assert re.search(r"to change 1 of 7 images can't be used: images/dark/broken.png: expected an image", told)
    assert told.endswith(
        "; mend or remove them, or leave them out by on_bad_image: skip, below images: in robustness.yaml"
    )


def test_images_of_several_sizes_ask_for_one(start: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
    draw_grey(Path("images/dark/wide.png"), 0, size=20)
    given = ("--model", "brightness:Sorted", "--images", "images")
    status, out, _ = answered(capsys, *given)
    assert status == 1
    assert " ".join(out.split()).endswith(
        "to change 1 of 7 images can't be used: images/dark/wide.png: expected 16 x 16 pixels as in images/bright/bright_0.png, got 20 x 20; "
        "start again with --resize and --crop, in pixels, and --force"
    )
    status, out, _ = answered(capsys, *given, "--resize", "16", "--force")
    assert status == 0
    assert "  resize: 16\n" in Path("robustness.yaml").read_text(encoding="utf-8")


def test_a_doubt_about_the_attack_is_something_to_change(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = answered(capsys, "--model", "brightness:Rounded", "--images", "images")
    assert status == 1
    told = " ".join(out.split())
    assert (
        "to change gradients: the gradient with respect to the image is zero at 6 of 6 images; look for rounding, thresholds, saturation"
    ) in told
    found = ran(start, "robustness.yaml").parseoutcomes()
    assert found == {"passed": 4, "failed": 1}


def test_a_model_without_gradients_gets_no_gate_over_an_attack(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("brightness.py").open("a", encoding="utf-8") as file:
        file.write(
            "\nclass Detached(Sorted):\n    def forward(self, images): return super().forward(images.detach())\n"
        )
    status, out, _ = answered(capsys, "--model", "brightness:Detached", "--images", "images")
    assert status == 0
    told = " ".join(out.split())
    assert "gate smallest fgsm: left out" in told
    assert "note smallest fgsm is left out: " in told
    assert "  # Left out: " in Path("robustness.yaml").read_text(encoding="utf-8")
    ran(start, "robustness.yaml").assert_outcomes(passed=4)


def test_what_is_said_of_the_model_and_of_the_run_is_written_down(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = ("--mean", "0", "0", "0", "--std", "1", "1", "0.5", "--seed", "3", "--device", "cpu")
    status, out, _ = answered(capsys, "--model", "brightness:Sorted", "--images", "images", *numbers)
    assert status in (0, 1)
    assert "std 1 1 0.5; from declared" in out
    text = Path("robustness.yaml").read_text(encoding="utf-8")
    assert "\nmodel:\n  source: brightness:Sorted\n  mean: [0, 0, 0]\n  std: [1, 1, 0.5]\n" in text
    assert "\ndevice: cpu\nseed: 3\n" in text


def test_a_file_that_can_not_be_written_is_told(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *arguments: object, **settings: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)
    assert answered(capsys) == (2, "", "could not write robustness.yaml: No space left on device\n")


def test_the_help_says_what_the_commands_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["init", "--help"])
    assert stopped.value.code == 0
    assert "What is not named is looked for in the folder." in " ".join(capsys.readouterr().out.split())


def test_the_commands_load_nothing_heavy_before_they_run() -> None:
    code = (
        "import sys, pytest_robustness.starting.commands; print({'torch', 'numpy', 'PIL', 'yaml'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_tests_in_python_have_the_model_and_the_images_of_the_file(
    start: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(start.path)
    Path("robustness.yaml").write_text("model: brightness:Sorted\nimages: images\n", encoding="utf-8")
    assert declared_model("robustness.yaml").source == "brightness:Sorted"
    assert len(declared_images(start.path / "robustness.yaml")) == 6


@pytest.mark.parametrize("name", ["model", "images"])
def test_a_file_without_them_has_none_to_declare(start: pytest.Pytester, name: str) -> None:
    Path("robustness.yaml").write_text("gates: {}\n", encoding="utf-8")
    with pytest.raises(InputError) as refused:
        {"model": declared_model, "images": declared_images}[name]("robustness.yaml")
    assert str(refused.value) == (
        f"robustness.yaml: expected {name}: in it, got none; write it there, or let the fixture return your own"
    )
