"""What is explained in a run, by the options that say of what, by which explainer and how much; also under pytest-xdist."""

import base64
import dataclasses
import io
from pathlib import Path

import numpy
import pytest
from PIL import Image

from pytest_robustness import Robustness
from pytest_robustness.explained import Panel
from pytest_robustness.records import Verdict
from pytest_robustness.report.files import written
from pytest_robustness.report.html import render
from pytest_robustness.report.text import gate_table
from pytest_robustness.results import Results
from tests.conftest import run_on

# Imported before any run in this process, which would have to import torch and all else anew.
IMPORTED = (Robustness, written, render, gate_table)

# As bright as the pictures of the project are, in a checkerboard: 102 is the only one that breaks by alpha 0.3.
LEVELS = (30, 60, 102)

# The same margin as that of the project's model, by maps that can be looked at: what is dark and what is bright, pixel by pixel.
MODEL = """
import torch
from torch import nn

class Brightness(nn.Module):
    \"\"\"Logits (dark, bright), the means of 8 * (0.5 - pixel) and 8 * (pixel - 0.5) where they are above 0.\"\"\"

    def __init__(self):
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
        with torch.no_grad():
            self.stage[0].weight.copy_(torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 3, 1, 1) / 3)
            self.stage[0].bias.copy_(torch.tensor([0.5, -0.5]))

    def forward(self, images):
        return 8 * self.stage(images).mean((2, 3))
"""
HOLDS = """
from pytest_robustness import Blend

def test_holds(robustness, robustness_image):
    robustness.assert_holds_until(robustness_image, Blend("white.png"), 0.3, levels=3)
"""
# Under so much white all three dark pictures fall.
FALLS = """
from pytest_robustness import PGD, Blend

def test_all(robustness):
    robustness.assert_accuracy(Blend("white.png"), 0.6, at_least=1)
"""


@pytest.fixture
def looked_at(project: pytest.Pytester) -> pytest.Pytester:
    """The project with pictures that are no plain grey, and a model with maps."""
    for number, level in enumerate(LEVELS):
        draw_checkers(project.path / "images" / "dark" / f"dark_{number}.png", level)
        draw_checkers(project.path / "images" / "bright" / f"bright_{number}.png", 255 - level)
    project.makepyfile(brightness=MODEL, test_it=HOLDS)
    return project


def draw_checkers(path: Path, level: int) -> None:
    """A picture of this mean level: a checkerboard, of another contrast in each quarter."""
    y, x = numpy.mgrid[:16, :16]
    contrast = numpy.array([[5, 12], [20, 30]])[y // 8, x // 8]
    values = level + numpy.where((x + y) % 2, contrast, -contrast)
    Image.fromarray(numpy.repeat(values[..., None], 3, axis=2).astype(numpy.uint8)).save(path)


def replace_model(project: pytest.Pytester, text: str) -> None:
    project.makepyfile(brightness=text)


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *arguments)


def verdicts(project: pytest.Pytester, *arguments: str, name: str = "out.json") -> dict[str, Verdict]:
    """What a run with JSON found, by the name of the test."""
    run(project, f"--robustness-json={name}", *arguments)
    text = (project.path / name).read_text(encoding="utf-8")
    return {verdict.test.partition("::")[2]: verdict for verdict in Results.from_json(text).verdicts}


def panels(verdict: Verdict) -> list[Panel]:
    return [panel for picture in verdict.pictures for panel in picture.panels]


def pictured(found: dict[str, Verdict]) -> dict[str, list[str]]:
    """The images that each test shows, in their order."""
    shown = {name: list(dict.fromkeys(picture.image for picture in own.pictures)) for name, own in found.items()}
    return {name: images for name, images in shown.items() if images}


def pixels(uri: str) -> numpy.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))) as image:
        return numpy.asarray(image)


def test_a_failed_gate_over_an_image_shows_the_difference_and_what_speaks_for_either_label(
    looked_at: pytest.Pytester,
) -> None:
    found = verdicts(looked_at)
    fallen = found.pop("test_holds[dark_2]")
    assert (fallen.status, {own.status for own in found.values()}) == ("fail", {"pass"})
    clean, stressed = fallen.pictures
    assert (clean.caption, stressed.caption, clean.panels) == ("clean", "alpha 0.2", ())
    difference, right, wrong = stressed.panels
    # White at alpha 0.2 adds a fifth of what is left to white, at most 0.143: three and a half times that is a half.
    assert difference.caption == "difference x 2, grey is none"
    shown, was, now = (pixels(panel)[..., :3] / 255 for panel in (difference.png, clean.png, stressed.png))
    assert abs(shown - (0.5 + 2 * (now - was))).max() < 0.02
    assert (difference.overlay, difference.note) == ("", "")
    assert (right.caption, wrong.caption) == ("dark on the clean image", "bright on the stressed image")
    assert (right.png, wrong.png) == (clean.png, stressed.png)
    assert right.note == wrong.note == "16 x 16 values of stage"
    # What is below one half is dark, and what is above it bright.
    assert ((pixels(right.overlay)[..., 3] > 0) == (was.mean(2) < 0.5)).all()
    assert ((pixels(wrong.overlay)[..., 3] > 0) == (now.mean(2) > 0.5)).all()
    assert not any(own.pictures for own in found.values())


def test_failed_is_what_is_explained_without_the_option(looked_at: pytest.Pytester) -> None:
    assert verdicts(looked_at) == verdicts(looked_at, "--robustness-explain=failed")


def test_none_leaves_the_pictures_of_failures_without_panels(looked_at: pytest.Pytester) -> None:
    explained, plain = verdicts(looked_at), verdicts(looked_at, "--robustness-explain=none")
    for name, own in explained.items():
        bare = tuple(dataclasses.replace(picture, panels=()) for picture in own.pictures)
        assert plain[name] == dataclasses.replace(own, pictures=bare)
    assert pictured(plain) == {"test_holds[dark_2]": ["dark/dark_2.png"]}


def test_all_shows_the_images_of_gates_that_passed_and_explains_the_answer_they_kept(
    looked_at: pytest.Pytester,
) -> None:
    found = verdicts(looked_at, "--robustness-explain=all", "--robustness-report=out.html")
    # Five of a test are pictured, and they are the first by node id.
    names = ("bright_0", "bright_1", "bright_2", "dark_0", "dark_1")
    assert pictured(found) == {f"test_holds[{name}]": [f"{name[:-2]}/{name}.png"] for name in names}
    kept = found["test_holds[dark_1]"]
    assert (kept.status, [picture.caption for picture in kept.pictures]) == ("pass", ["clean", "alpha 0.3"])
    assert [panel.caption for panel in panels(kept)] == [
        "difference x 1, grey is none",
        "dark on the clean image",
        "dark on the stressed image",
    ]
    page = (looked_at.path / "out.html").read_text(encoding="utf-8")
    assert page.count('<h2 id="held">Where it held</h2>') == 1


def test_all_shows_of_a_gate_over_many_images_as_many_as_a_test_may_show(looked_at: pytest.Pytester) -> None:
    looked_at.makepyfile(test_it=FALLS.replace("0.6", "0.1"))
    found = verdicts(looked_at, "--robustness-explain=all")
    assert found["test_all"].status == "pass"
    assert pictured(found) == {
        "test_all": [f"bright/bright_{number}.png" for number in range(3)] + ["dark/dark_0.png", "dark/dark_1.png"]
    }
    assert len(panels(found["test_all"])) == 15


def test_all_has_nothing_to_show_of_a_gate_without_a_stress(looked_at: pytest.Pytester) -> None:
    looked_at.makepyfile(test_it="def test_it(robustness):\n    robustness.assert_accuracy(at_least=1)\n")
    assert pictured(verdicts(looked_at, "--robustness-explain=all")) == {}


def test_a_failed_gate_shows_no_image_that_did_not_break(looked_at: pytest.Pytester) -> None:
    """What is wrong when clean has no stressed picture, and others have nothing to do with it."""
    draw_checkers(looked_at.path / "images" / "dark" / "dark_wrong.png", 140)
    looked_at.makepyfile(
        test_it="from pytest_robustness import Blend\n"
        "def test_it(robustness):\n"
        "    robustness.assert_breaking_point(Blend('white.png'), at_least=0.1, levels=1)\n"
    )
    found = verdicts(looked_at)
    assert found["test_it"].status == "fail"
    assert pictured(found) == {}


@pytest.mark.parametrize(
    ("by", "note"),
    [
        ("auto", "16 x 16 values of stage"),
        ("grad-cam", "16 x 16 values of stage"),
        ("lime", "R2 * (adjusted *) over 150 samples"),
        ("anchors", "no superpixel is needed: precision * (at least *), coverage 1, * draws"),
    ],
)
def test_the_explainer_is_the_one_of_the_option(looked_at: pytest.Pytester, by: str, note: str) -> None:
    found = panels(verdicts(looked_at, f"--robustness-explain-by={by}", "-k", "dark_2")["test_holds[dark_2]"])
    assert [panel.caption.partition(" ")[0] for panel in found] == ["difference", "dark", "bright"]
    for panel in found[1:]:
        pytest.LineMatcher([panel.note]).fnmatch_lines([note], consecutive=True)
        # An anchor of no superpixel has nothing to lay over the picture.
        assert bool(panel.overlay) == (by != "anchors")


NO_MAPS = MODEL.replace(
    "self.stage(images).mean((2, 3))", "torch.stack([(0.5 - m).relu(), (m - 0.5).relu()], 1)"
).replace("        return", "        m = images.mean((1, 2, 3))\n        return")
FUNCTION = """
import torch

def Brightness():
    return bright

def bright(images):
    seen = images.mean(1) - 0.5
    return 8 * torch.stack([(-seen).relu().mean((1, 2)), seen.relu().mean((1, 2))], 1)
"""


@pytest.mark.parametrize(
    ("by", "model", "sentence"),
    [
        (
            "grad-cam",
            NO_MAPS,
            "GradCAM(): expected a model whose last stage gives maps (n, c, h, w), found none; "
            "take AttentionRollout() for a vision transformer, or take Lime()",
        ),
        (
            "grad-cam",
            FUNCTION,
            "GradCAM(): expected an nn.Module, whose layers can be watched, got bright; "
            "take Lime(), which needs nothing but answers",
        ),
        (
            "rollout",
            MODEL,
            "AttentionRollout(): expected a model with torch.nn.MultiheadAttention, found none that was asked; "
            "take GradCAM() for a convolutional network, or Lime()",
        ),
    ],
    ids=["a model without maps", "a function", "a model without attention"],
)
def test_what_the_explainer_cannot_look_into_is_not_explained_and_says_why(
    looked_at: pytest.Pytester, by: str, model: str, sentence: str
) -> None:
    replace_model(looked_at, model)
    found = verdicts(looked_at, f"--robustness-explain-by={by}", "--robustness-report=out.html", "-k", "dark_2")
    fallen = found["test_holds[dark_2]"]
    assert fallen.status == "fail"
    assert fallen.reason.startswith("dark/dark_2.png holds until alpha 0.1 and breaks at 0.2: bright ")
    assert [picture.caption for picture in fallen.pictures] == ["clean", "alpha 0.2"]
    assert panels(fallen) == [Panel("not explained", note=sentence)]
    page = (looked_at.path / "out.html").read_text(encoding="utf-8")
    assert f'<figcaption>not explained<br><span class="soft small">{sentence}</span></figcaption>' in page


def test_without_a_choice_what_cannot_be_looked_into_is_asked(looked_at: pytest.Pytester) -> None:
    replace_model(looked_at, FUNCTION)
    found = panels(verdicts(looked_at, "-k", "dark_2")["test_holds[dark_2]"])
    assert all(panel.note.endswith("over 150 samples") for panel in found[1:])


# With a stage that can't be watched, and says so in its own way.
STUBBORN = MODEL.replace("= nn.Sequential", "= Stage").replace(
    "class Brightness",
    """class Stage(nn.Sequential):
    def register_forward_hook(self, *args, **kwargs):
        raise RuntimeError("no hooks here")

class Brightness""",
)


def test_an_explainer_that_fails_in_any_other_way_does_not_cost_the_verdict(looked_at: pytest.Pytester) -> None:
    replace_model(looked_at, STUBBORN)
    found = verdicts(looked_at, "--robustness-explain-by=grad-cam", "-k", "dark_2")["test_holds[dark_2]"]
    assert (found.status, len(found.pictures)) == ("fail", 2)
    assert panels(found) == [Panel("not explained", note="RuntimeError: no hooks here")]


@pytest.mark.parametrize(("most", "shown"), [("0", 0), ("2", 2), ("20", 3)])
def test_so_many_images_are_pictured_and_explained_in_all(looked_at: pytest.Pytester, most: str, shown: int) -> None:
    looked_at.makepyfile(test_it=HOLDS.replace("0.3, levels=3", "0.6, levels=6"))
    found = verdicts(looked_at, f"--robustness-explain-most={most}", "-k", "dark")
    assert {own.status for own in found.values()} == {"fail"}
    assert [len(panels(own)) for own in found.values()] == [3] * shown + [0] * (3 - shown)
    assert [len(own.pictures) for own in found.values()] == [2] * shown + [0] * (3 - shown)


def test_of_one_test_five_are_shown_however_many_there_may_be(looked_at: pytest.Pytester) -> None:
    looked_at.makepyfile(
        test_it=FALLS.replace("0.6", "0.1") + FALLS.replace("test_all", "test_fall").replace("0.1", "0.6")
    )
    found = verdicts(looked_at, "--robustness-explain-most=50", "--robustness-explain=all")
    assert {name: len(own.pictures) // 2 for name, own in found.items()} == {"test_all": 5, "test_fall": 3}


def test_the_options_can_stand_in_the_ini_file_and_the_command_line_wins(looked_at: pytest.Pytester) -> None:
    looked_at.makeini(
        "[pytest]\nfilterwarnings = error\nrobustness_explain = all\nrobustness_explain_by = lime\nrobustness_explain_most = 2\n"
    )
    found = verdicts(looked_at)
    assert list(pictured(found)) == ["test_holds[bright_0]", "test_holds[bright_1]"]
    assert all("superpixel" in panel.note or "R2" in panel.note for own in found.values() for panel in panels(own)[1:])
    found = verdicts(
        looked_at,
        *("--robustness-explain=failed", "--robustness-explain-by=grad-cam", "--robustness-explain-most=1"),
    )
    assert list(pictured(found)) == ["test_holds[dark_2]"]
    assert panels(found["test_holds[dark_2]"])[1].note == "16 x 16 values of stage"


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("explain", "some", "--robustness-explain: expected failed, all or none, got 'some'"),
        ("explain", "", "--robustness-explain: expected failed, all or none, got ''"),
        (
            "explain-by",
            "shap",
            "--robustness-explain-by: expected auto, grad-cam, rollout, lime or anchors, got 'shap'",
        ),
        ("explain-most", "-1", "--robustness-explain-most: expected a whole number >= 0, got '-1'"),
        ("explain-most", "many", "--robustness-explain-most: expected a whole number >= 0, got 'many'"),
    ],
)
@pytest.mark.parametrize("where", ["command line", "ini file"])
def test_other_values_are_refused(
    looked_at: pytest.Pytester, option: str, value: str, sentence: str, where: str
) -> None:
    given = [f"--robustness-{option}={value}"]
    if where == "ini file":
        looked_at.makeini(f"[pytest]\nrobustness_{option.replace('-', '_')} = {value}\n")
        given = []
    result = run(looked_at, *given)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: {sentence}" in result.errlines


COUNTED = MODEL.replace(
    "        return 8",
    "        with open('asked', 'a') as file:\n            file.write(f'{len(images)}\\n')\n        return 8",
)


@pytest.mark.parametrize("explain", ["failed", "all"])
def test_without_a_report_or_results_the_model_is_asked_no_more(looked_at: pytest.Pytester, explain: str) -> None:
    replace_model(looked_at, COUNTED)

    def asked(*arguments: str) -> list[str]:
        run(looked_at, "-k", "dark", *arguments).assert_outcomes(passed=2, failed=1, deselected=3)
        path = looked_at.path / "asked"
        lines = path.read_text(encoding="utf-8").splitlines()
        path.unlink()
        return lines

    plain = asked("--robustness-explain=none")
    assert asked(f"--robustness-explain={explain}") == plain
    for file in ("--robustness-json=out.json", "--robustness-report=out.html"):
        assert len(asked(f"--robustness-explain={explain}", file)) > len(plain)


EXPLAINED = """
from pytest_robustness import Blend, Grid, Lime, PGD

def test_own_rule(robustness):
    found = robustness.explain("dark/dark_2.png", Blend("white.png"), 0.2)
    assert found.sides[1].label == "bright"

def test_then_a_gate(robustness):
    robustness.explain("dark/dark_1.png", by=Lime(segments=Grid(2, 2)))
    robustness.explain("dark/dark_0.png", PGD(), 0.5, target="bright")
    robustness.assert_accuracy(Blend("white.png"), 0.3, at_least=1)

def test_then_an_error(robustness):
    robustness.explain("dark/dark_0.png")
    raise KeyError("mine")
"""


def test_what_a_test_explains_is_in_its_verdict(looked_at: pytest.Pytester) -> None:
    looked_at.makepyfile(test_it=EXPLAINED)
    found = verdicts(looked_at, "--robustness-report=out.html")
    (own,) = found["test_own_rule"].explained
    assert (found["test_own_rule"].status, own.image, own.case) == (
        "pass",
        "dark/dark_2.png",
        "Blend('white.png') at alpha 0.2",
    )
    assert found["test_own_rule"].reason == repr(own)
    assert (own.method, [side.label for side in own.sides]) == ("GradCAM()", ["dark", "bright"])
    assert all(side.picture is not None and side.picture.overlay for side in own.sides)
    first, second = found["test_then_a_gate"].explained
    assert found["test_then_a_gate"].status == "fail"
    assert (first.case, first.method) == ("", "Lime(segments=Grid(rows=2, columns=2))")
    assert second.case == "PGD() at epsilon 0.5 towards bright"
    assert pictured(found) == {"test_then_a_gate": ["dark/dark_2.png"]}
    assert found["test_then_an_error"].status == "error"
    assert [own.image for own in found["test_then_an_error"].explained] == ["dark/dark_0.png"]
    assert (looked_at.path / "out.html").read_text(encoding="utf-8").count('<article class="explained">') == 4


def test_what_a_test_explains_is_no_matter_of_the_option(looked_at: pytest.Pytester) -> None:
    looked_at.makepyfile(test_it=EXPLAINED)
    explained = {name: own.explained for name, own in verdicts(looked_at).items()}
    # No explainer of the option either: the test says which.
    arguments = ("--robustness-explain=none", "--robustness-explain-by=rollout")
    assert {name: own.explained for name, own in verdicts(looked_at, *arguments).items()} == explained


def test_where_no_more_is_pictured_what_a_test_explains_keeps_its_numbers(looked_at: pytest.Pytester) -> None:
    looked_at.makepyfile(test_it=EXPLAINED)
    full, bare = verdicts(looked_at), verdicts(looked_at, "--robustness-explain-most=0")
    for name, verdict in full.items():
        assert bare[name].explained == tuple(own.without_pictures() for own in verdict.explained)
    assert not any(own.pictures for own in bare.values())


TRACED = """
from pytest_robustness import PGD

def test_it(robustness):
    robustness.trace("dark/dark_2.png", PGD(steps=4), 0.05)
"""


def test_the_frames_of_a_trace_show_what_speaks_for_the_target(looked_at: pytest.Pytester) -> None:
    looked_at.makepyfile(test_it=TRACED)
    (trace,) = verdicts(looked_at)["test_it"].traces
    assert [frame.step for frame in trace.frames] == [0, 1, 2, 4]
    for frame in trace.frames:
        bright = pixels(frame.png).mean(2) > 127.5
        assert ((pixels(frame.overlay)[..., 3] > 0) == bright).all()
    (plain,) = verdicts(looked_at, "--robustness-explain=none")["test_it"].traces
    assert plain.frames == tuple(dataclasses.replace(frame, overlay="") for frame in trace.frames)
    (by_lime,) = verdicts(looked_at, "--robustness-explain-by=lime")["test_it"].traces
    assert by_lime.frames[-1].overlay not in ("", trace.frames[-1].overlay)


def test_a_trace_that_the_explainer_cannot_look_into_has_its_pictures_alone(looked_at: pytest.Pytester) -> None:
    looked_at.makepyfile(test_it=TRACED)
    (trace,) = verdicts(looked_at, "--robustness-explain-by=rollout")["test_it"].traces
    assert {(bool(frame.png), frame.overlay) for frame in trace.frames} == {(True, "")}


def test_a_trace_is_not_lost_where_the_explainer_fails_in_any_other_way(looked_at: pytest.Pytester) -> None:
    replace_model(looked_at, STUBBORN)
    looked_at.makepyfile(test_it=TRACED)
    found = verdicts(looked_at, "--robustness-explain-by=grad-cam")["test_it"]
    assert found.status == "pass"
    assert {(bool(frame.png), frame.overlay) for frame in found.traces[0].frames} == {(True, "")}


# Each shows more than there is room for beside the other.
BOTH = """
from pytest_robustness import PGD, Blend

def test_a(robustness):
    robustness.assert_accuracy(Blend("white.png"), 0.6, at_least=1)

def test_b(robustness):
    robustness.trace("dark/dark_0.png", PGD(), 0.1)
    robustness.explain("dark/dark_1.png", Blend("white.png"), 0.2)
    robustness.assert_accuracy(Blend("white.png"), 0.6, at_least=1)
"""


@pytest.mark.parametrize(
    ("most", "failures", "traced", "explained"),
    [("4", 1, False, False), ("7", 3, True, False)],
)
def test_what_is_shown_does_not_depend_on_the_order_of_the_tests(
    looked_at: pytest.Pytester, most: str, failures: int, traced: bool, explained: bool
) -> None:
    """The first test by node id comes first, and in a test what failed before what was looked at."""
    looked_at.makepyfile(test_it=BOTH)
    options = ("--robustness-json=out.json", f"--robustness-explain-most={most}")
    written = []
    for order in (("a", "b"), ("b", "a")):
        run(looked_at, *options, *(f"test_it.py::test_{name}" for name in order))
        written.append((looked_at.path / "out.json").read_bytes())
    a, b = Results.from_json(written[0].decode()).verdicts
    assert [len(own.pictures) // 2 for own in (a, b)] == [3, failures]
    assert bool(b.traces[0].frames[0].png) == traced
    assert bool(b.explained[0].sides[0].picture) == explained
    assert written[0] == written[1]


def test_two_workers_explain_what_one_process_does(looked_at: pytest.Pytester) -> None:
    looked_at.makepyfile(test_it=HOLDS.replace("0.3, levels=3", "0.6, levels=6") + BOTH + EXPLAINED)
    options = ("--robustness-explain=all", "--robustness-explain-by=lime", "--robustness-explain-most=9")
    run(looked_at, *options, "--robustness-json=one.json")
    result = run_on(looked_at, 2, *options, "--robustness-json=two.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    one, two = ((looked_at.path / name).read_bytes() for name in ("one.json", "two.json"))
    assert one == two
    found = Results.from_json(one.decode()).verdicts
    assert sum(len(panels(own)) // 3 for own in found) == 7
    assert sum(len(own.explained) for own in found) == 5
