"""The pytest layer, used as a project uses it."""

import json
import re
import sys
from pathlib import Path

import pytest

from pytest_robustness.doubts import CHECKS
from pytest_robustness.reporting import NOTHING
from pytest_robustness.results import Results

HOLDS = """
from pytest_robustness import Blend

def test_holds(robustness, robustness_image):
    robustness.assert_holds_until(robustness_image, Blend("white.png"), 0.3, levels=3)
"""


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *arguments)


def results(project: pytest.Pytester) -> dict:
    return json.loads((project.path / "out.json").read_text(encoding="utf-8"))


def count_calls(project: pytest.Pytester) -> None:
    """Let the project's model count how often it is called."""
    path = project.path / "brightness.py"
    path.write_text(
        path.read_text(encoding="utf-8") + "\n    calls = 0\n    _forward = forward\n    def forward(self, images):\n"
        "        self.calls += 1\n        return self._forward(images)\n",
        encoding="utf-8",
    )


def test_a_test_that_asks_for_an_image_becomes_one_item_per_image_named_by_its_stem(project: pytest.Pytester) -> None:
    project.makepyfile(HOLDS)
    collected = run(project, "--collect-only", "-q")
    assert collected.outlines[:6] == [
        f"{Path(collected.outlines[0].split('::')[0])}::test_holds[{name}]"
        for name in ("bright_0", "bright_1", "bright_2", "dark_0", "dark_1", "dark_2")
    ]


def test_images_of_one_stem_are_told_apart_by_their_folders(project: pytest.Pytester) -> None:
    for folder in ("dark", "bright"):
        (project.path / "images" / folder / f"{folder}_0.png").rename(project.path / "images" / folder / "same one.png")
    project.makepyfile(HOLDS)
    collected = run(project, "--collect-only", "-q")
    ids = [line.partition("[")[2] for line in collected.outlines[:6]]
    assert ids == ["bright_1]", "bright_2]", "bright-same-one]", "dark_1]", "dark_2]", "dark-same-one]"]


def test_a_failing_gate_says_what_was_measured_and_how_to_reproduce_it(project: pytest.Pytester) -> None:
    project.makepyfile(HOLDS)
    result = run(project, "-k", "dark_2")
    result.assert_outcomes(failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    module = "test_a_failing_gate_says_what_was_measured_and_how_to_reproduce_it"
    text = result.stdout.str()
    assert (
        "top-1 holds until alpha 0.3 under Blend('white.png')\n"
        "dark/dark_2.png holds until alpha 0.1 and breaks at 0.2: bright 0.54, dark 0.46\n"
        "required: alpha 0.3, short by 0.2\n"
        "to do: train with such images, put a defense in front, by robustness.behind(...), or ask for less\n"
        f"at {module}.py:4\n"
        f"reproduce: pytest '{module}.py::test_holds[dark_2]' --robustness-seed=0\n"
    ) in text
    assert "Traceback" not in text


def test_the_terminal_ends_with_a_table_of_gates_that_fits_80_columns(project: pytest.Pytester) -> None:
    project.makepyfile(HOLDS)
    result = run(project, "--robustness-report=r/report.html", "--robustness-json=out.json")
    result.assert_outcomes(passed=5, failed=1)
    start = next(i for i, line in enumerate(result.outlines) if line.strip("= ") == "robustness")
    assert re.fullmatch(r"Brightness [0-9a-f]{8} on 6 images of images, cpu, seed 0", result.outlines[start + 1])
    assert result.outlines[start + 2 : start + 8] == [
        "gate                                         measured required margin n  verdict",
        "top-1 holds until alpha 0.3 under              5 of 6      all   -0.2 6  fail",
        "  Blend('white.png')",
        "1 of 1 gates not passed",
        "results: out.json",
        "report: r/report.html",
    ]
    assert all(len(line) <= 80 for line in result.outlines[start : start + 8])
    assert (project.path / "r" / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_results_keep_every_verdict_with_its_numbers_and_what_they_were_measured_on(project: pytest.Pytester) -> None:
    project.makepyfile(HOLDS)
    run(project, "--robustness-json=out.json", "--robustness-seed=7")
    document = results(project)
    assert document["schema"] == "pytest-robustness/2"
    assert document["complete"] is True
    assert len(document["verdicts"]) == 6
    ((key, provenance),) = document["runs"].items()
    assert {verdict["run"] for verdict in document["verdicts"]} == {key}
    assert (provenance["model"], provenance["seed"], provenance["device"], provenance["n"]) == (
        "Brightness",
        7,
        "cpu",
        6,
    )
    assert provenance["classes"] == ["dark", "bright"]
    fallen = [verdict for verdict in document["verdicts"] if verdict["status"] == "fail"]
    assert [(v["measured"], v["required"], round(v["margin"], 9)) for v in fallen] == [(0.1, 0.3, -0.2)]
    assert [picture["caption"] for picture in fallen[0]["pictures"]] == ["clean", "alpha 0.2"]


def test_a_marker_chooses_the_images_and_the_nearest_one_wins(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.robustness(images="dark/*")

        def test_module(robustness_image):
            pass

        @pytest.mark.robustness(images=["bright/bright_0*", "dark/dark_0*"])
        def test_nearest(robustness_image):
            pass
        """
    )
    collected = run(project, "--collect-only", "-q")
    assert [line.partition("::")[2] for line in collected.outlines[:5]] == [
        "test_module[dark_0]",
        "test_module[dark_1]",
        "test_module[dark_2]",
        "test_nearest[bright_0]",
        "test_nearest[dark_0]",
    ]


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (
            "images='dork/*'",
            "test_it: expected images='dork/*' to match one of the 6 images of images, it matches none; "
            "ids look like 'bright/bright_0.png'",
        ),
        (
            "image='dark/*'",
            "test_it: expected @pytest.mark.robustness(images='pattern', waive={'check': 'reason'}, shard='pairs'), got robustness(image='dark/*')",
        ),
        (
            "'dark/*'",
            "test_it: expected @pytest.mark.robustness(images='pattern', waive={'check': 'reason'}, shard='pairs'), got robustness('dark/*')",
        ),
    ],
)
def test_a_marker_that_means_nothing_is_refused(project: pytest.Pytester, marker: str, message: str) -> None:
    project.makepyfile(f"import pytest\n@pytest.mark.robustness({marker})\ndef test_it(robustness_image): pass\n")
    result = run(project)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert message in result.outlines


ROUNDED = """
import torch
from brightness import Brightness

class Rounded(Brightness):
    def forward(self, images):
        return super().forward((images * 255).round() / 255)
"""
ATTACKED = """
import pytest
from pytest_robustness import FGSM

{marker}
def test_fgsm(robustness):
    robustness.assert_accuracy(FGSM(), 0.05, at_least=0.5)

@pytest.mark.robustness(waive={{"unbounded": "so is its gradient"}})
def test_each(robustness, robustness_image):
    robustness.assert_holds_until(robustness_image, FGSM(), 0.05, levels=1)
"""


@pytest.fixture
def rounded(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The project with a model that rounds what it is shown, and so has no gradient."""
    project.makepyfile(rounded=ROUNDED)
    monkeypatch.delitem(sys.modules, "rounded", raising=False)
    conftest = project.path / "conftest.py"
    text = conftest.read_text(encoding="utf-8")
    conftest.write_text(text.replace("from brightness import Brightness", "from rounded import Rounded as Brightness"))
    return project


def test_a_gate_that_passed_an_attack_not_to_be_believed_is_untrusted(rounded: pytest.Pytester) -> None:
    rounded.makepyfile(ATTACKED.format(marker=""))
    result = run(rounded, "-k", "test_fgsm", "--robustness-json=out.json")
    result.assert_outcomes(failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert (
        "accuracy under FGSM() at epsilon 12.75/255 >= 0.5\n"
        "accuracy 1 (6 of 6, 95 % interval 0.541 to 1.000), required >= 0.5\n"
        "untrusted, gradients: the gradient with respect to the image is zero at 6 of 6 images; look for rounding, thresholds, "
        "saturation and divisions by zero in the model's forward, or gate on Square(), which needs no gradient, or "
        "waive={'gradients': 'why it does not count'}\n"
        "untrusted, unbounded: PGD() leaves 6 of 6 images right in a ball that holds every image, guessing leaves 3; look for "
        "what hides the gradient, or leads it astray, in the model's forward, or waive={'unbounded': 'why it does not count'}\n"
    ) in result.stdout.str()
    assert "  in doubt: gradients: the gradient with respect to the image is zero at 6 of 6" in result.outlines
    (verdict,) = results(rounded)["verdicts"]
    assert (verdict["status"], verdict["measured"]) == ("untrusted", 1.0)
    assert verdict["checks"] == [*CHECKS[:5], "gradients", "unbounded", "black-box"]
    assert [(doubt["check"], doubt["waiver"]) for doubt in verdict["doubts"]] == [("gradients", ""), ("unbounded", "")]


def test_doubts_are_waived_by_markers_of_which_the_nearest_wins_for_each_check(rounded: pytest.Pytester) -> None:
    marker = "pytestmark = pytest.mark.robustness(waive={'gradients': 'rounded on purpose', 'unbounded': 'the same'})"
    rounded.makepyfile(ATTACKED.format(marker=marker))
    result = run(rounded, "--robustness-json=out.json", "--robustness-report=out.html")
    result.assert_outcomes(passed=7)
    waivers = {
        verdict["test"].partition("::")[2].partition("[")[0]: [doubt["waiver"] for doubt in verdict["doubts"]]
        for verdict in results(rounded)["verdicts"]
    }
    assert waivers == {
        "test_fgsm": ["rounded on purpose", "the same"],
        "test_each": ["rounded on purpose", "so is its gradient"],
    }
    assert "  waived: unbounded: so is its gradient" in result.outlines
    assert "waived: so is its gradient" in (rounded.path / "out.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("asked", ["robustness", "robustness_image"])
def test_a_waiver_that_means_nothing_is_refused(project: pytest.Pytester, asked: str) -> None:
    project.makepyfile(
        f"import pytest\n@pytest.mark.robustness(waive={{'gradient': 'why'}})\ndef test_it({asked}): pass\n"
    )
    result = run(project)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert (
        f"test_it: expected waive to name checks out of {', '.join(CHECKS)}, got 'gradient'; did you mean 'gradients'?"
    ) in result.outlines


def test_a_plain_assert_on_a_measurement_explains_itself(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from pytest_robustness import Blend

        def test_rule(robustness):
            assert robustness.accuracy(Blend("white.png"), 0.4) >= 0.9
        """
    )
    result = run(project, "--robustness-json=out.json")
    result.assert_outcomes(failed=1)
    assert [line for line in result.outlines if line.startswith("E ")] == [
        "E       AssertionError: assert accuracy under Blend('white.png') at alpha 0.4 = 0.6667 (4 of 6, 95 % interval 0.223 to 0.957) >= 0.9",
        "E         measured 0.6667 (4 of 6, 95 % interval 0.223 to 0.957)",
        "E         compared with 0.9: -0.2333, 2 more images have to hold",
        "E         furthest off: dark/dark_2.png (bright 0.75), dark/dark_1.png (bright 0.54)",
    ]
    (verdict,) = results(project)["verdicts"]
    assert (verdict["gate"], verdict["status"], verdict["measured"]) == ("own-rule", "fail", 4 / 6)


def test_a_breaking_point_explains_itself_rung_by_rung(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from pytest_robustness import Blend

        def test_rule(robustness):
            assert robustness.breaking_point("dark/dark_1.png", Blend("white.png"), up_to=0.6, levels=3) > 0.5
        """
    )
    result = run(project)
    assert [line for line in result.outlines if line.startswith("E ")] == [
        "E       AssertionError: assert breaking point of dark/dark_1.png under Blend('white.png') = alpha 0.4 (bright 0.54) > 0.5",
        "E         alpha 0: dark 0.92, accepted classes 0.92",
        "E         alpha 0.2: dark 0.75, accepted classes 0.75",
        "E         alpha 0.4: bright 0.54, accepted classes 0.46",
    ]


def test_a_measurement_that_is_asserted_and_holds_is_a_green_verdict(project: pytest.Pytester) -> None:
    project.makepyfile("def test_rule(robustness):\n    assert 0.9 <= robustness.accuracy()\n")
    run(project, "--robustness-json=out.json").assert_outcomes(passed=1)
    (verdict,) = results(project)["verdicts"]
    assert (verdict["gate"], verdict["status"], verdict["reason"]) == (
        "own-rule",
        "pass",
        "accuracy under clean images = 1 (6 of 6, 95 % interval 0.541 to 1.000)",
    )


def test_n_items_on_the_same_stress_cost_one_pass_over_the_images_in_batches(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from pytest_robustness import Blend, GaussianNoise, SmoothingVote

        def test_vote(robustness, robustness_image):
            robustness.assert_vote_recovers(robustness_image, GaussianNoise(), 0.01, SmoothingVote())

        def test_calls(robustness_model):
            # Tried out on four images; then six in batches of four: three voters of each in threes and twos, the model alone.
            assert robustness_model.calls == 1 + 3 + 2 + 2
        """
    )
    count_calls(project)
    run(project, "--robustness-batch-size=4").assert_outcomes(passed=7)


def test_an_accuracy_asked_for_image_by_image_is_batched_too(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from pytest_robustness import Blend

        def test_one(robustness, robustness_image):
            robustness.assert_accuracy(Blend("white.png"), 0.1, at_least=1, images=robustness_image)

        def test_calls(robustness_model):
            # Tried out on the first images and twice on noise, then asked about all.
            assert robustness_model.calls == 3 + 1
        """
    )
    count_calls(project)
    run(project).assert_outcomes(passed=7)


def test_images_that_were_not_selected_are_never_decoded(project: pytest.Pytester) -> None:
    (project.path / "images" / "bright" / "bright_0.png").write_bytes(b"not an image")
    project.makepyfile(HOLDS)
    run(project, "-k", "dark_0").assert_outcomes(passed=1)


def test_a_broken_image_fails_alone_and_names_its_file(project: pytest.Pytester) -> None:
    broken = project.path / "images" / "bright" / "bright_0.png"
    broken.write_bytes(b"not an image")
    project.makepyfile(HOLDS.replace("0.3", "0.1"))
    result = run(project, "--robustness-json=out.json")
    result.assert_outcomes(passed=5, failed=1)
    message = f"{broken}: expected an image, got a file in no format that Pillow reads; replace or remove it"
    assert message in result.outlines
    assert "Traceback" not in result.stdout.str()
    assert [v["reason"] for v in results(project)["verdicts"] if v["status"] == "error"] == [message]


def test_an_image_fares_the_same_alone_and_in_any_company(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from pytest_robustness import GaussianNoise, SmoothingVote

        def test_vote(robustness, robustness_image):
            robustness.assert_vote_recovers(robustness_image, GaussianNoise(), 1.0, SmoothingVote())
        """
    )

    def verdicts(*arguments: str) -> dict[str, object]:
        run(project, "--robustness-json=out.json", *arguments)
        return {verdict["test"]: verdict for verdict in results(project)["verdicts"]}

    together = verdicts()
    assert len(together) == 6
    for test in together:
        assert verdicts(test)[test] == together[test]
    assert verdicts("-k", "dark") == {test: v for test, v in together.items() if "dark" in test}
    assert verdicts(*reversed(together)) == together


def test_a_test_that_expects_a_gate_to_fail_is_green_and_the_report_says_so(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from pytest_robustness import Blend, GateFailed

        def test_caught(robustness):
            with pytest.raises(GateFailed):
                robustness.assert_accuracy(Blend("white.png"), 0.4, at_least=0.9)

        @pytest.mark.xfail(strict=True)
        def test_marked(robustness):
            robustness.assert_accuracy(Blend("white.png"), 0.4, at_least=0.9)
        """
    )
    result = run(project, "--robustness-json=out.json")
    result.assert_outcomes(passed=1, xfailed=1)
    assert result.ret == pytest.ExitCode.OK
    assert [(v["status"], v["expected"]) for v in results(project)["verdicts"]] == [("fail", True), ("fail", True)]
    assert "0 gates passed, 2 failed as expected" in result.outlines


def test_without_a_model_the_error_shows_the_fixture_to_write(project: pytest.Pytester) -> None:
    (project.path / "conftest.py").unlink()
    project.makepyfile("def test_it(robustness): pass")
    result = run(project)
    result.assert_outcomes(errors=1)
    start = result.outlines.index("no model to judge: define the fixture robustness_model in conftest.py, for example")
    assert result.outlines[start + 1 : start + 4] == [
        '    @pytest.fixture(scope="session")',
        "    def robustness_model():",
        "        return my_project.load_model()  # nn.Module, RGB in [0, 1] (n, 3, h, w) -> logits (n, k)",
    ]


def test_without_images_the_error_shows_the_fixture_to_write(project: pytest.Pytester) -> None:
    (project.path / "conftest.py").unlink()
    project.makepyfile("def test_it(robustness_image): pass")
    result = run(project)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    start = result.outlines.index(
        "no images to judge the model on: define the fixture robustness_images in conftest.py, for example"
    )
    assert result.outlines[start + 1 : start + 4] == [
        '    @pytest.fixture(scope="session")',
        "    def robustness_images():",
        '        return image_folder("path/to/images")  # one folder per class; from pytest_robustness import image_folder',
    ]


@pytest.mark.parametrize(
    ("fixture", "what"),
    [
        ("def robustness_images(tmp_path): return tmp_path", "asks for tmp_path"),
        ("def robustness_images(): yield 'images'", "yields"),
    ],
)
def test_images_that_need_fixtures_are_refused_because_items_are_made_first(
    project: pytest.Pytester, fixture: str, what: str
) -> None:
    project.makeconftest(f"import pytest\n@pytest.fixture\n{fixture}\n")
    project.makepyfile("def test_it(robustness_image): pass")
    assert (
        "conftest.py: expected robustness_images to return its images and to ask for nothing but pytestconfig, because "
        f"it is called when tests are collected; this one {what}"
    ) in run(project).outlines


def test_images_may_be_given_as_the_path_of_a_folder(project: pytest.Pytester) -> None:
    project.makeconftest(
        "import pytest\nfrom brightness import Brightness\n"
        "@pytest.fixture\ndef robustness_model(): return lambda images: Brightness()(images).flip(1)\n"
        "@pytest.fixture\ndef robustness_images(): return 'images'\n"
    )
    # Folders in alphabetical order: bright comes first here.
    project.makepyfile(HOLDS.replace("0.3", "0.1"))
    run(project).assert_outcomes(passed=6)


def test_images_of_another_type_are_refused(project: pytest.Pytester) -> None:
    project.makeconftest("import pytest\n@pytest.fixture\ndef robustness_images(): return 3\n")
    project.makepyfile("def test_it(robustness_image): pass")
    result = run(project)
    assert any(
        line.strip().startswith(
            "expected an ImageSet, a dataset, or the path of a folder of class folders, of a manifest (.csv, "
        )
        and line.endswith("got int; return image_folder('path/to/images')")
        for line in result.outlines
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--robustness-seed=-1", "--robustness-seed: expected a whole number >= 0, got '-1'"),
        ("--robustness-seed=x", "--robustness-seed: expected a whole number >= 0, got 'x'"),
        ("--robustness-batch-size=0", "--robustness-batch-size: expected auto or a whole number >= 1, got '0'"),
        ("--robustness-workers=0", "--robustness-workers: expected auto or a whole number >= 1, got '0'"),
        (
            "--robustness-precision=half",
            "--robustness-precision: expected float32, tf32, bfloat16 or float16, got 'half'",
        ),
        ("--robustness-xdist=each", "--robustness-xdist: expected chunks or load, got 'each'"),
    ],
)
def test_an_option_that_can_not_be_meant_is_a_usage_error(project: pytest.Pytester, option: str, message: str) -> None:
    project.makepyfile(HOLDS)
    result = run(project, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: {message}" in result.errlines


def test_a_device_that_is_not_there_is_named_with_those_that_are(project: pytest.Pytester) -> None:
    project.makepyfile(HOLDS)
    result = run(project, "--robustness-device=cuda:99", "-k", "dark_0")
    result.assert_outcomes(errors=1)
    assert any(
        line.startswith("expected a device out of auto, ")
        and line.endswith("cpu, got 'cuda:99'; choose another with --robustness-device")
        for line in result.outlines
    )


def test_every_option_can_stand_in_the_ini_file_and_the_command_line_wins(project: pytest.Pytester) -> None:
    project.makeini(
        "[pytest]\nrobustness_seed = 3\nrobustness_batch_size = 5\nrobustness_device = cpu\n"
        "robustness_precision = bfloat16\nrobustness_workers = 2\nrobustness_fast = true\nrobustness_compile = no\n"
        "robustness_json = out.json\nrobustness_report = report.html\n"
    )
    project.makepyfile(
        """
        from pytest_robustness import FGSM

        def test_it(robustness, robustness_seed, robustness_device):
            assert robustness.engine.batch_size == 5
            robustness.assert_accuracy(FGSM(), 1 / 255, at_least=0.5)
        """
    )
    run(project).assert_outcomes(passed=1)
    (provenance,) = results(project)["runs"].values()
    assert (provenance["seed"], provenance["device"]) == (3, "cpu")
    assert provenance["precision"].startswith("bfloat16")
    (verdict,) = results(project)["verdicts"]
    assert "decided after" in verdict["reason"]
    assert (project.path / "report.html").exists()
    run(project, "--robustness-seed=4").assert_outcomes(passed=1)
    (provenance,) = results(project)["runs"].values()
    assert provenance["seed"] == 4


def test_files_named_in_the_ini_file_lie_beside_it_wherever_pytest_is_started(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makeini("[pytest]\nrobustness_json = out.json\n")
    path = project.makepyfile("def test_it(robustness):\n    robustness.assert_accuracy(at_least=1)\n")
    project.mkdir("elsewhere")
    monkeypatch.chdir(project.path / "elsewhere")
    run(project, str(path), f"--rootdir={project.path}", "-c", str(project.path / "tox.ini")).assert_outcomes(passed=1)
    assert (project.path / "out.json").exists()


def test_a_session_that_stops_early_keeps_its_results_and_marks_them_incomplete(project: pytest.Pytester) -> None:
    project.makepyfile(HOLDS.replace("0.3", "0.6").replace("levels=3", "levels=6"))
    result = run(project, "-x", "--robustness-json=out.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    document = results(project)
    assert (document["complete"], [v["status"] for v in document["verdicts"]]) == (
        False,
        ["pass", "pass", "pass", "fail"],
    )
    place = result.outlines.index("1 of 1 gates not passed; the session did not finish, these are the results so")
    assert result.outlines[place + 1] == "far"


def test_a_run_that_is_killed_leaves_what_it_found_marked_incomplete(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import os

        def test_a(robustness):
            robustness.assert_accuracy(at_least=1)

        def test_b(robustness):
            os.kill(os.getpid(), 9)
        """
    )
    result = project.runpytest_subprocess("-p", "no:randomly", "--robustness-json=out.json")
    assert result.ret == -9
    document = results(project)
    assert document["complete"] is False
    assert [(v["test"].partition("::")[2], v["status"]) for v in document["verdicts"]] == [("test_a", "pass")]


def test_a_report_that_was_asked_for_and_has_nothing_to_say_is_not_written(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(): pass")
    result = run(project, "--robustness-report=report.html")
    assert "robustness: no gate was judged, so nothing was written" in result.outlines
    assert not (project.path / "report.html").exists()


def test_results_that_cannot_be_written_are_no_green_run(project: pytest.Pytester) -> None:
    (project.path / "file").write_text("in the way", encoding="utf-8")
    project.makepyfile("def test_it(robustness):\n    robustness.assert_accuracy(at_least=1)\n")
    result = run(project, "--robustness-json=file/out.json")
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    assert any(line.startswith("could not write ") for line in result.outlines)


def test_an_error_in_the_users_test_keeps_its_traceback_and_is_no_pass(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(robustness):\n    robustness.accuracy()\n    raise KeyError('mine')\n")
    result = run(project, "--robustness-json=out.json")
    result.assert_outcomes(failed=1)
    assert "E       KeyError: 'mine'" in result.outlines
    assert [(v["status"], v["reason"]) for v in results(project)["verdicts"]] == [("error", "KeyError: 'mine'")]


def test_an_image_that_vanishes_meanwhile_is_an_error_of_its_item(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        def test_it(robustness, robustness_image):
            if robustness_image.id == "bright/bright_0.png":
                robustness_image.path.unlink()
            robustness.assert_accuracy(images=robustness_image, at_least=1)
        """
    )
    result = run(project, "--robustness-json=out.json")
    result.assert_outcomes(passed=5, failed=1)
    missing = project.path / "images" / "bright" / "bright_0.png"
    assert f"{missing}: expected an image file, found none; check the path" in result.outlines


def test_a_gate_reached_through_the_request_is_kept_too(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(request):\n    request.getfixturevalue('robustness').assert_accuracy(at_least=1)\n")
    run(project, "--robustness-json=out.json").assert_outcomes(passed=1)
    assert [verdict["status"] for verdict in results(project)["verdicts"]] == ["pass"]


def test_input_that_a_conftest_gets_wrong_is_told_with_its_place(project: pytest.Pytester) -> None:
    project.makeconftest(
        "import pytest\nfrom pytest_robustness import image_folder\n"
        "@pytest.fixture\ndef robustness_model(): return len\n"
        "@pytest.fixture\ndef robustness_images():\n    return image_folder('nowhere')\n"
    )
    project.makepyfile("def test_it(robustness): pass")
    result = run(project)
    result.assert_outcomes(errors=1)
    start = result.outlines.index(
        "nowhere: expected a folder with one folder per class, found no folder; check the path"
    )
    assert result.outlines[start + 1] == "at conftest.py:7"


def test_a_skipped_test_leaves_no_verdict(project: pytest.Pytester) -> None:
    project.makepyfile("import pytest\ndef test_it(robustness):\n    robustness.accuracy()\n    pytest.skip('later')\n")
    run(project, "--robustness-json=out.json").assert_outcomes(skipped=1)
    assert not (project.path / "out.json").exists()


def test_tb_long_shows_the_whole_traceback(project: pytest.Pytester) -> None:
    project.makepyfile(HOLDS)
    result = run(project, "-k", "dark_2", "--tb=long")
    assert any("raise GateFailed(verdict)" in line for line in result.outlines)


def test_the_plugin_can_be_switched_off(project: pytest.Pytester) -> None:
    project.makeconftest("")
    project.makepyfile("def test_it(): pass")
    result = run(project, "-p", "no:robustness", "--help")
    assert "--robustness-seed" not in result.stdout.str()


def test_a_test_that_judges_and_measures_nothing_is_no_green_one(project: pytest.Pytester) -> None:
    project.makepyfile(
        "import pytest\n"
        "def test_forgot(robustness):\n    assert robustness is not None\n"
        "def test_skipped(robustness):\n    pytest.skip('not today')\n"
        "def test_measured(robustness):\n    assert robustness.accuracy() == 1\n"
    )
    result = run(project, "--robustness-json=out.json")
    result.assert_outcomes(passed=1, failed=1, skipped=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"*{NOTHING}"])
    (error,) = (verdict for verdict in results(project)["verdicts"] if verdict["status"] == "error")
    assert (error["claim"], error["reason"]) == ("test_forgot", NOTHING)


@pytest.mark.parametrize(
    ("least", "select", "code"),
    [("1", "measured", 0), ("2", "measured", 1), ("1", "nobody", 1), ("0", "nobody", 5)],
)
def test_a_run_that_judged_too_few_gates_is_not_green(
    project: pytest.Pytester, least: str, select: str, code: int
) -> None:
    project.makepyfile("def test_measured(robustness):\n    robustness.assert_accuracy(at_least=1)\n")
    result = run(project, f"--robustness-min-gates={least}", "-k", select)
    assert result.ret == code
    if code == 1:
        wanted = "1 gate" if least == "1" else "2 gates"
        judged = int(select == "measured")
        result.stdout.fnmatch_lines([f"--robustness-min-gates: expected at least {wanted} to be judged, got {judged}"])


def test_another_device_than_the_required_one_is_refused(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(robustness):\n    robustness.assert_accuracy(at_least=1)\n")
    run(project, "--robustness-require-device=cpu", "--robustness-device=cpu").assert_outcomes(passed=1)
    result = run(project, "--robustness-require-device=cuda", "--robustness-device=cpu")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "--robustness-require-device: expected a device of type cuda, got cpu; run where there is one, or leave it out"
        ]
    )
    refused = run(project, "--robustness-require-device=gpu")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*--robustness-require-device: expected cpu, cuda or mps, got 'gpu'*"])


@pytest.mark.parametrize(
    "test",
    [
        "def test_it(robustness):\n    with pytest.raises(GateFailed):\n        robustness.assert_accuracy(at_least=0.95, confidence=0.9)\n",
        "@pytest.mark.xfail\ndef test_it(robustness):\n    robustness.assert_accuracy(at_least=0.95, confidence=0.9)\n",
    ],
    ids=["caught", "marked"],
)
def test_an_undecided_gate_that_the_test_expects_is_told_apart(project: pytest.Pytester, test: str) -> None:
    """Of six images all are right: at confidence 0.9 that is 0.68 of all such images."""
    project.makepyfile(f"import pytest\nfrom pytest_robustness import GateFailed\n{test}")
    result = run(project, "--robustness-json=out.json")
    assert result.ret == pytest.ExitCode.OK
    (verdict,) = results(project)["verdicts"]
    assert (verdict["status"], verdict["expected"]) == ("undecided", True)
    result.stdout.fnmatch_lines(["0 gates passed, 1 failed as expected"])


def test_an_undecided_gate_is_not_green(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(robustness):\n    robustness.assert_accuracy(at_least=0.95, confidence=0.9)\n")
    result = run(project, "--robustness-json=out.json")
    result.assert_outcomes(failed=1)
    (verdict,) = results(project)["verdicts"]
    assert (verdict["status"], verdict["expected"]) == ("undecided", False)
    result.stdout.fnmatch_lines(["1 of 1 gates not passed"])


def test_images_that_cannot_be_read_are_skipped_and_counted_where_that_is_wanted(project: pytest.Pytester) -> None:
    (project.path / "images" / "dark" / "dark_1.png").write_bytes(b"<b>")
    text = (project.path / "conftest.py").read_text(encoding="utf-8")
    project.makeconftest(text.replace('["dark", "bright"]', '["dark", "bright"], on_bad_image="skip"'))
    project.makepyfile(
        "def test_all(robustness):\n    robustness.assert_accuracy(at_least=1.0)\n" + HOLDS.replace("0.3", "0.1")
    )
    result = run(project, "--robustness-report=report.html", "--robustness-json=results.json")
    result.assert_outcomes(passed=1 + 5)
    assert any(" on 5 of 6 images (1 skipped) of images, cpu, seed 0" in line for line in result.outlines)
    (recorded,) = Results.from_json((project.path / "results.json").read_text(encoding="utf-8")).runs
    bad = project.path / "images" / "dark" / "dark_1.png"
    assert (recorded.n, recorded.skipped) == (
        5,
        (
            (
                "dark/dark_1.png",
                f"{bad}: expected an image, got a file in no format that Pillow reads; replace or remove it",
            ),
        ),
    )
    page = (project.path / "report.html").read_text(encoding="utf-8")
    assert "<dt>Skipped</dt><dd>dark/dark_1.png: " in page


def test_a_gate_over_a_set_with_bad_images_is_an_error_that_names_them(project: pytest.Pytester) -> None:
    for name in ("dark_0", "dark_2"):
        (project.path / "images" / "dark" / f"{name}.png").write_bytes(b"")
    project.makepyfile(
        "def test_all(robustness):\n    robustness.assert_accuracy(at_least=0.5)\n" + HOLDS.replace("0.3", "0.1")
    )
    result = run(project)
    # Each of the two fails alone, and the set with them.
    result.assert_outcomes(passed=4, failed=3)
    assert "2 of these 6 images can't be evaluated" in result.stdout.str()


def test_a_marker_chooses_images_by_their_group(project: pytest.Pytester) -> None:
    rows = "".join(
        f"images/{kind}/{kind}_{n}.png,{kind},{'first' if n == 0 else ''}\n"
        for kind in ("dark", "bright")
        for n in range(3)
    )
    (project.path / "photos.csv").write_text("file,label,group\n" + rows, encoding="utf-8")
    text = (project.path / "conftest.py").read_text(encoding="utf-8")
    project.makeconftest(
        text[: text.index('@pytest.fixture(scope="session")\ndef robustness_images')]
        + (
            "@pytest.fixture(scope='session')\ndef robustness_images(pytestconfig):\n    return pytestconfig.rootpath / 'photos.csv'\n"
        )
    )
    project.makepyfile(
        "import pytest\n@pytest.mark.robustness(images='group:fi*')\ndef test_it(robustness_image):\n    assert robustness_image.groups\n"
        "@pytest.mark.robustness(images='group:second')\ndef test_none(robustness_image): pass\n"
    )
    result = run(project, "-k", "test_it")
    assert (
        "test_none: expected images='group:second' to match one of the 6 images of photos.csv, it matches none; ids look like "
        "'images/bright/bright_0.png'"
    ) in " ".join(result.outlines).replace("E   ", "")
    project.makepyfile(
        "import pytest\n@pytest.mark.robustness(images='group:fi*')\ndef test_it(robustness_image):\n    assert robustness_image.groups\n"
    )
    run(project).assert_outcomes(passed=2)
