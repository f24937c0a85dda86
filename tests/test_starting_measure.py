"""`python -m pytest_robustness measure`: the table, the gates that it proposes, and that they hold."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_robustness import Blend, Engine, Robustness
from pytest_robustness.__main__ import main
from pytest_robustness.attacks import FGSM
from pytest_robustness.starting import measure
from pytest_robustness.starting.trials import Trial

from .conftest import MODEL

MODELS = """
class Rounded(Brightness):
    def forward(self, images):
        return super().forward((images * 255).round() / 255)

class Detached(Brightness):
    def forward(self, images):
        return super().forward(images.detach())

class Stopped(Brightness):
    def forward(self, images):
        raise KeyboardInterrupt
"""
SUBJECT = """
model: brightness:Brightness
images: {source: images, classes: [dark, bright]}
"""
TABLE = """\
brightness:Brightness on 6 images of images, cpu, seed 0; a model that always
  answers 'bright' has 0.5
                                              right        n  bound threshold
clean accuracy                                1.000        6  0.607     0.606
overlay, alpha 0.1                            1.000        6  0.607     0.606
overlay, alpha 0.25                           0.833        6  0.418      none
gaussian noise, sigma 0.025                   1.000        6  0.607     0.606
gaussian noise, sigma 0.05                    1.000        6  0.607     0.606
gaussian noise, sigma 0.1                     1.000        6  0.607     0.606
motion blur, severity 3                       1.000        6  0.607     0.606
fog, severity 3                               0.833        6  0.418      none
brightness, severity 3                        0.833        6  0.418      none
contrast, severity 3                          1.000        6  0.607     0.606
pixelate, severity 3                          1.000        6  0.607     0.606
jpeg compression, severity 3                  1.000        6  0.607     0.606
vote under noise, of its answers              1.000        6  0.607     0.606
vote under noise, answers                     1.000        6  0.607     0.606
fgsm, epsilon 1/255                           1.000        6  0.607     0.606
fgsm, epsilon 2/255                           1.000        6  0.607     0.606
fgsm, epsilon 4/255                           1.000        6  0.607     0.606
pgd, epsilon 1/255                            1.000        6  0.607     0.606
pgd, epsilon 2/255                            1.000        6  0.607     0.606
pgd, epsilon 4/255                            1.000        6  0.607     0.606
bound: of all such images, at confidence 0.95
no threshold for overlay, alpha 0.25; fog, severity 3; brightness, severity 3:
  so few images promise no more than guessing, as a model that always answers
  'bright' has 0.5; with the same accuracy 11 would be enough
"""
HEAD = """\
# Measured by python -m pytest_robustness measure: brightness:Brightness on 6 images of images, seed 0.
# A threshold is what the measurement promises of all such images, at confidence 0.95.
"""
FIRST = """\
gates:
  clean accuracy: # 6 of 6
    assert: accuracy
    at_least: 0.606
  overlay: # white.png laid over the image, opaque to this share: 6 of 6, 5 of 6
    assert: curve_above
    stress: {Blend: white.png}
    floors: {0.1: 0.606}
"""
LAST = """\
  vote under noise: # a vote over the image, blurred once and blurred twice: 6 of 6, 6 of 6
    assert: vote_accuracy
    stress: GaussianNoise
    strength: 0.1
    vote: SmoothingVote
    at_least: 0.606
    coverage_at_least: 0.606
  fgsm: # one step along the gradient, linf: 6 of 6, 6 of 6, 6 of 6
    assert: curve_above
    stress: FGSM
    floors: {1/255: 0.606, 2/255: 0.606, 4/255: 0.606}
  pgd: # twenty steps along the gradient, linf: 6 of 6, 6 of 6, 6 of 6
    assert: curve_above
    stress: PGD
    floors: {1/255: 0.606, 2/255: 0.606, 4/255: 0.606}
"""


@pytest.fixture
def start(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The project with a file that names its model and images, and has no gates; its folder is the one that commands run in."""
    (project.path / "conftest.py").unlink()
    (project.path / "brightness.py").write_text(MODEL + MODELS, encoding="utf-8")
    (project.path / "robustness.yaml").write_text(SUBJECT, encoding="utf-8")
    monkeypatch.chdir(project.path)
    # Which source files the name of an answer depends on is tested elsewhere, and takes most of the time.
    monkeypatch.setattr("pytest_robustness.fingerprint._code", lambda modules: b"")
    return project


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stresses in place of all of them."""
    few = (
        Trial("clean accuracy", "clean"),
        Trial("fgsm", "one step", FGSM(), "FGSM", ("1/255", "2/255")),
    )

    def all_trials(overlay: Path | None, **settings: Path) -> tuple[Trial, ...]:
        return few if overlay is None else (Trial("overlay", "overlay", Blend(overlay)),)

    monkeypatch.setattr(measure, "all_trials", all_trials)


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["measure", *arguments])
    return status, *capsys.readouterr()


def test_the_gates_that_are_proposed_pass_also_where_a_bound_is_judged(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = answered(capsys, "--overlay", "white.png")
    assert (status, err) == (0, TABLE)
    assert out.startswith(HEAD + FIRST)
    assert out.endswith(LAST)
    (start.path / "robustness.yaml").write_text(SUBJECT + out, encoding="utf-8")
    for profile in ("ci", "release"):
        result = start.runpytest_inprocess("-p", "no:randomly", f"--robustness-profile={profile}")
        result.assert_outcomes(passed=10)


@pytest.mark.usefixtures("quickly")
def test_gates_in_a_file_may_be_extended_and_are_not_replaced_but_by_force(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = answered(capsys, "--output", "proposed.yaml")
    assert (status, err) == (0, "")
    assert out.endswith(
        "bound: of all such images, at confidence 0.95\n\n"
        "wrote proposed.yaml: put its gates in place of those of robustness.yaml, or\n"
        "  write there extends: proposed.yaml\n"
    )
    again = "proposed.yaml: expected no such file yet, got one; nothing was written: go on with what is there, or replace it by --force\n"
    assert answered(capsys, "--output", "proposed.yaml") == (2, "", again)
    assert main(["measure", "--output", "proposed.yaml", "--force"]) == 0
    (start.path / "robustness.yaml").write_text(f"extends: proposed.yaml\n{SUBJECT}", encoding="utf-8")
    start.runpytest_inprocess("-p", "no:randomly").assert_outcomes(passed=2)


@pytest.mark.usefixtures("quickly")
def test_a_model_and_images_may_be_named_in_place_of_a_file(
    start: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    (start.path / "robustness.yaml").unlink()
    Path("names.txt").write_text("dark\nbright\n", encoding="utf-8")
    given = ("--model", "brightness:Brightness", "--images", "images", "--classes", "names.txt", "--seed", "4")
    status, out, err = answered(capsys, *given)
    assert status == 0
    assert err.startswith("brightness:Brightness on 6 images of images, cpu, seed 4; a model that always\n")
    assert "  clean accuracy: # 6 of 6\n" in out


@pytest.mark.usefixtures("start", "quickly")
def test_options_of_the_file_count_where_none_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    Path("robustness.yaml").write_text(
        f"{SUBJECT}seed: 7\ndevice: cpu\nbatch_size: 2\nprecision: float32\n", encoding="utf-8"
    )
    assert ", cpu, seed 7;" in answered(capsys)[2]
    assert ", cpu, seed 8;" in answered(capsys, "--seed", "8")[2]


@pytest.mark.usefixtures("start", "quickly")
@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("seed: -1", "seed: expected a whole number >= 0, got '-1'"),
        ("batch_size: many", "batch_size: expected a whole number >= 1, got 'many'"),
        ("precision: int8", "precision: expected float32, tf32, bfloat16 or float16, got 'int8'"),
    ],
)
def test_options_that_can_not_be_are_told_by_their_line(
    capsys: pytest.CaptureFixture[str], option: str, said: str
) -> None:
    Path("robustness.yaml").write_text(f"{SUBJECT}{option}\n", encoding="utf-8")
    assert answered(capsys) == (2, "", f"robustness.yaml:4: {said}\n")


@pytest.mark.usefixtures("start", "quickly")
@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (
            None,
            "",
            "robustness.yaml: expected a file of gates, found none; write one by python -m pytest_robustness init, or give --model and --images",
        ),
        (
            "images: images\n",
            "",
            "robustness.yaml: expected model: in it, got none; write it there, or give --model and --images, as fixtures of conftest.py are "
            "not read",
        ),
        (
            SUBJECT,
            "--model brightness:Brightness",
            "expected --model and --images with what belongs to them, or the name of a file that has both, got a part of it; name both of "
            "them, or the file alone",
        ),
        (
            SUBJECT,
            "robustness.yaml --model brightness:Brightness --images images",
            "expected --model and --images with what belongs to them, or the name of a file that has both, got a part of it; name both of "
            "them, or the file alone",
        ),
        (
            SUBJECT,
            "--output none/proposed.yaml",
            "none/proposed.yaml: expected a folder that is there, found none; make it first",
        ),
        (
            SUBJECT,
            "--overlay none.png",
            "none.png: expected an image file, found none; check the path",
        ),
        (
            SUBJECT.replace(":Brightness", ":Brightnes"),
            "",
            "brightness:Brightnes: expected a function Brightnes in brightness, found none; did you mean 'Brightness'?",
        ),
    ],
)
def test_what_can_not_be_measured_is_refused(
    capsys: pytest.CaptureFixture[str], text: str | None, arguments: str, said: str
) -> None:
    path = Path("robustness.yaml")
    path.unlink()
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert answered(capsys, *arguments.split()) == (2, "", f"{said}\n")


@pytest.mark.usefixtures("start")
def test_a_model_that_guesses_is_told_and_gets_no_threshold(capsys: pytest.CaptureFixture[str]) -> None:
    """The classes in another order: nothing else is measured."""
    Path("robustness.yaml").write_text("model: brightness:Brightness\nimages: images\n", encoding="utf-8")
    status, out, err = answered(capsys)
    assert (status, out) == (1, f"{HEAD}# No threshold could be proposed.\n")
    assert err.splitlines()[3:] == [
        "clean accuracy                                0.000        6  0.000      none",
        "bound: of all such images, at confidence 0.95",
        "no threshold for clean accuracy: no more is right there than by guessing, as a",
        "  model that always answers 'bright' has 0.5; look at the labels, the order of",
        "  the classes, mean and std",
        "nothing else was measured: a stress leaves less; look at the order of the",
        "  classes and at the preprocessing, which python -m pytest_robustness init",
        "  checks, or take more images",
    ]


@pytest.mark.usefixtures("start")
def test_so_few_images_that_nothing_is_promised_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Of 4 images, all of them right, .05 ** (1/4) = .473 is promised; of 5 it is .549."""
    for name in ("dark", "bright"):
        Path(f"images/{name}/{name}_2.png").unlink()
    status, _, err = answered(capsys)
    assert status == 1
    assert err.splitlines()[3:8] == [
        "clean accuracy                                1.000        4  0.473      none",
        "bound: of all such images, at confidence 0.95",
        "no threshold for clean accuracy: so few images promise no more than guessing, as",
        "  a model that always answers 'bright' has 0.5; with the same accuracy 5 would",
        "  be enough",
    ]


@pytest.mark.usefixtures("start", "quickly")
def test_an_attack_that_may_not_be_believed_gets_no_gate(capsys: pytest.CaptureFixture[str]) -> None:
    Path("robustness.yaml").write_text(SUBJECT.replace(":Brightness", ":Rounded"), encoding="utf-8")
    status, out, err = answered(capsys)
    assert status == 1
    assert "fgsm" not in out
    assert err.splitlines()[7:10] == [
        "fgsm may not be believed: gradients: the gradient with respect to the image is",
        "  zero at 6 of 6 images; look for rounding, thresholds, saturation and divisions",
        "  by zero in the model's forward, or gate on Square(), which needs no gradient",
    ]


@pytest.mark.usefixtures("start", "quickly")
def test_a_model_without_gradients_is_measured_without_attacks(capsys: pytest.CaptureFixture[str]) -> None:
    Path("robustness.yaml").write_text(SUBJECT.replace(":Brightness", ":Detached"), encoding="utf-8")
    status, out, err = answered(capsys)
    assert status == 0
    assert "fgsm" not in out
    assert " ".join(err.split()).partition("confidence 0.95 ")[2] == (
        "fgsm is left out: expected logits that depend on the images by differentiable operations, got logits without a gradient; remove "
        "no_grad, detach() or a round trip through numpy from the model's forward, or use Square(), which needs no gradient"
    )


@pytest.mark.usefixtures("start", "quickly")
def test_whoever_stops_it_is_told_that_answers_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    Path("robustness.yaml").write_text(SUBJECT.replace(":Brightness", ":Stopped"), encoding="utf-8")
    assert answered(capsys) == (2, "", "stopped; answers are kept, and the same command goes on from here\n")


@pytest.mark.usefixtures("quickly")
def test_answers_are_kept_where_pytest_keeps_them(start: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    engines: list[Engine] = []

    def noticed(engine: Engine, **settings: Any) -> Robustness:
        engines.append(engine)
        return Robustness(engine, **settings)

    monkeypatch.setattr(measure, "Robustness", noticed)
    # Of one project, whose root has the ini file.
    Path("release").mkdir()
    text = SUBJECT.replace("source: images", f"source: {start.path / 'images'}")
    Path("release/robustness.yaml").write_text(text, encoding="utf-8")
    for file in ("robustness.yaml", "release/robustness.yaml"):
        assert main(["measure", file]) == 0
    assert [bool(engine.computed) for engine in engines] == [True, False]
    assert (start.path / ".pytest_cache" / ".gitignore").read_text(encoding="utf-8") == "*\n"
    # As pytest's plugin has it.
    assert (start.path / ".pytest_cache" / "d" / "robustness" / "outcomes.sqlite").exists()


@pytest.mark.usefixtures("start", "quickly")
def test_on_a_terminal_the_table_is_whole(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["measure"]) == 0
    assert terminal.getvalue().splitlines()[3].startswith("clean accuracy")
