"""The life of a baseline: created and failed, green, a model that fell back, updated; and who may write it."""

import json

import pytest

from tests.conftest import run_on

TESTS = """
from pytest_robustness import Blend

def test_accuracy(robustness):
    robustness.assert_accuracy(Blend("white.png"), 0.1, at_least=0.5)

def test_holds(robustness, robustness_image):
    robustness.assert_breaking_point(Blend("white.png"), at_least=0.01, up_to=0.3, levels=3, images=robustness_image)
"""
NO_WORSE = """
from pytest_robustness import Blend

def test_no_worse(robustness):
    robustness.assert_no_worse_than_baseline(Blend("white.png"), 0.1)

def test_each(robustness, robustness_image):
    robustness.assert_no_worse_than_baseline(Blend("white.png"), 0.1, images=robustness_image)
"""
RELEASE = "robustness-baselines/release.json"


@pytest.fixture
def gated(project: pytest.Pytester) -> pytest.Pytester:
    """A project with a gate over all images and one for each."""
    project.makepyfile(test_release=TESTS)
    return project


def run(project: pytest.Pytester, *arguments: str, baseline: str = "release", workers: int = 0) -> pytest.RunResult:
    return run_on(project, workers, f"--robustness-baseline={baseline}", *arguments)


def section(result: pytest.RunResult) -> list[str]:
    """The lines about the baseline."""
    start = next(i for i, line in enumerate(result.outlines) if line.strip("= ") == "robustness baseline")
    end = next(i for i, line in enumerate(result.outlines) if i > start and line.startswith("="))
    lines = result.outlines[start + 1 : end]
    assert all(len(line) <= 80 for line in lines)
    return lines


def fall_back(project: pytest.Pytester, bar: float = 0.45) -> None:
    """A model to which 0.4 + 0.1 * 0.6, dark_2 under a tenth of white, is bright."""
    path = project.path / "brightness.py"
    path.write_text(path.read_text(encoding="utf-8").replace("- 0.5)", f"- {bar})"), encoding="utf-8")


def in_baseline(project: pytest.Pytester) -> list[str]:
    document = json.loads((project.path / RELEASE).read_text(encoding="utf-8"))
    return list(dict.fromkeys(verdict["test"].partition("::")[2] for verdict in document["verdicts"]))


EVERY = ["test_accuracy", *(f"test_holds[{name}_{n}]" for name in ("bright", "dark") for n in range(3))]
GREEN = [
    f"against {RELEASE}, Brightness MODEL",
    "both have the same weights: Brightness MODEL",
    "no image lost in 2 comparisons",
]


def without_digest(lines: list[str]) -> list[str]:
    return [" ".join("MODEL" if before == "Brightness" else word for before, word in _pairs(line)) for line in lines]


def _pairs(line: str) -> list[tuple[str, str]]:
    words = line.split(" ")
    return list(zip(["", *words], words, strict=False))


@pytest.mark.parametrize("workers", [0, 1])
def test_the_life_of_a_baseline(gated: pytest.Pytester, workers: int) -> None:
    options = ("--robustness-compare-fail=accuracy:1%",)
    created = run(gated, *options, workers=workers)
    assert created.ret == pytest.ExitCode.TESTS_FAILED
    created.assert_outcomes(passed=7)
    assert section(created) == [
        f"created {RELEASE} from 7 tests: commit it and run again,",
        "  there was nothing to compare with",
    ]
    assert in_baseline(gated) == EVERY

    green = run(gated, *options)
    assert green.ret == pytest.ExitCode.OK
    assert without_digest(section(green)) == GREEN

    fall_back(gated)
    worse = run(gated, *options, "--robustness-json=out.json", "--robustness-markdown=out.md", workers=workers)
    worse.assert_outcomes(passed=7)
    assert worse.ret == pytest.ExitCode.TESTS_FAILED
    # dark_2 held until 0.1 and holds until 0.01; dark_1 turns bright at 5/16 instead of 6/16, above the highest level.
    assert without_digest(section(worse)) == [
        GREEN[0],
        "images lost under                           before      now  allowed",
        "Blend('white.png') at alpha 0.1                  1   0.8333    -0.01  worse",
        "  test_release.py::test_accuracy",
        "  1 lost, 0 gained of 6, p = 1 (exact McNemar): dark/dark_2.png",
        "Blend('white.png') at 4 levels up to        0.2667   0.2517      any",
        "  alpha 0.3",
        "  breaking points of test_release.py::test_holds",
        "  1 lost, 0 gained of 6, p = 1 (exact McNemar): dark/dark_2.png",
        GREEN[1],
        "1 of 2 comparisons worse than allowed",
    ]
    document = json.loads((gated.path / "out.json").read_text(encoding="utf-8"))
    assert [(own["worse"], own["lost"]) for own in document["comparison"]["changes"]] == [
        (True, ["dark/dark_2.png"]),
        (False, ["dark/dark_2.png"]),
    ]
    assert "| Blend('white.png') at alpha 0.1 | 1 | **0.8333** | -0.01 | dark/dark\\_2.png | 1 |" in (
        gated.path / "out.md"
    ).read_text(encoding="utf-8")

    updated = run(gated, *options, "--robustness-update-baseline")
    assert updated.ret == pytest.ExitCode.TESTS_FAILED
    assert section(updated)[-1] == f"updated {RELEASE}: 7 of 7 tests from this run"
    again = run(gated, *options)
    assert again.ret == pytest.ExitCode.OK
    assert without_digest(section(again)) == GREEN


def test_without_a_limit_a_drop_is_told_and_no_more(gated: pytest.Pytester) -> None:
    run(gated)
    fall_back(gated)
    result = run(gated)
    assert result.ret == pytest.ExitCode.OK
    assert section(result)[-1] == "images lost in 2 of 2 comparisons"


def test_a_test_may_ask_for_no_less_than_the_baseline(gated: pytest.Pytester) -> None:
    gated.makepyfile(test_release=NO_WORSE)
    first = run(gated)
    first.assert_outcomes(failed=7)
    assert (
        f"expected Blend('white.png') at alpha 0.1 in the baseline {RELEASE}, got none of it; run once with --robustness-update-baseline"
        in first.outlines
    )
    run(gated).assert_outcomes(passed=7)
    fall_back(gated)
    worse = run(gated)
    worse.assert_outcomes(passed=5, failed=2)
    text = worse.stdout.str()
    assert (
        "accuracy 0.8333 (5 of 6, 95 % interval 0.359 to 0.996)\n"
        "in the baseline 1 (6 of 6, 95 % interval 0.541 to 1.000): -0.1667, required >= 0\n"
        f"1 lost and 0 gained, p = 1 (exact McNemar), against {RELEASE}\n"
        "lost: dark/dark_2.png (bright 0.52)\n"
        "at test_release.py:4\n"
        "reproduce: pytest test_release.py::test_no_worse --robustness-seed=0 --robustness-baseline=release\n"
    ) in text
    run(gated, "--robustness-update-baseline").assert_outcomes(passed=5, failed=2)
    run(gated).assert_outcomes(passed=7)


def test_a_doubtful_attack_does_not_pass_for_no_worse(gated: pytest.Pytester) -> None:
    """Rounded to steps of 1/255, the model has no gradient, and FGSM no way."""
    gated.makepyfile(
        test_release="from pytest_robustness import FGSM\n"
        "def test_it(robustness):\n    robustness.assert_no_worse_than_baseline(FGSM(), 0.05)\n"
    )
    run(gated)
    path = gated.path / "brightness.py"
    text = path.read_text(encoding="utf-8").replace("(images.mean(", "(((images * 255).round() / 255).mean(")
    path.write_text(text, encoding="utf-8")
    result = run(gated, "--robustness-json=out.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (verdict,) = json.loads((gated.path / "out.json").read_text(encoding="utf-8"))["verdicts"]
    assert (verdict["gate"], verdict["status"], verdict["measured"]) == ("no-worse", "untrusted", 0.0)


def test_a_run_that_stopped_early_is_compared_and_never_written(gated: pytest.Pytester) -> None:
    run(gated)
    before = (gated.path / RELEASE).read_text(encoding="utf-8")
    fall_back(gated, 0.1)
    result = run(gated, "-x", "--robustness-update-baseline")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    lines = section(result)
    assert lines[-1] == f"{RELEASE} is left as it is: the session did not finish"
    assert lines[-2] == "images lost in 2 of 2 comparisons"
    assert (gated.path / RELEASE).read_text(encoding="utf-8") == before
    (gated.path / RELEASE).unlink()
    result = run(gated, "-x")
    assert section(result) == [f"{RELEASE} is left as it is: the session did not finish"]
    assert not (gated.path / RELEASE).exists()


def test_a_selection_is_compared_on_what_it_has_and_updates_that_alone(gated: pytest.Pytester) -> None:
    run(gated)
    fall_back(gated)
    result = run(gated, "-k", "dark_2 or dark_1", "--robustness-update-baseline")
    assert result.ret == pytest.ExitCode.OK
    lines = section(result)
    assert lines[1:6] == [
        "images lost under                           before      now  allowed",
        "Blend('white.png') at 4 levels up to           0.2    0.155      any",
        "  alpha 0.3",
        "  breaking points of test_release.py::test_holds",
        "  1 lost, 0 gained of 2, p = 1 (exact McNemar): dark/dark_2.png",
    ]
    assert lines[-1] == f"updated {RELEASE}: 2 of 7 tests from this run"
    assert in_baseline(gated) == EVERY
    assert section(run(gated))[-1] == "images lost in 1 of 2 comparisons"


def test_what_is_gone_is_dropped_only_where_that_is_asked_for_and_all_ran(gated: pytest.Pytester) -> None:
    run(gated)
    gated.makepyfile(test_release=TESTS.replace("test_accuracy", "test_renamed"))
    run(gated, "--robustness-update-baseline")
    assert in_baseline(gated) == [*EVERY, "test_renamed"]
    for selection in (["-k", "test_holds"], ["test_release.py::test_renamed"]):
        options = ("--robustness-update-baseline", "--robustness-prune-baseline")
        result = run(gated, *options, *selection)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        assert " ".join(line.strip() for line in section(result)[-3:]).endswith(
            f"--robustness-prune-baseline: expected all tests to run, got a selection; {RELEASE} is left as it is, run it without -k "
            "and the like"
        )
    result = run(gated, *options)
    assert result.ret == pytest.ExitCode.OK
    assert section(result)[-1] == f"updated {RELEASE}: 7 of 7 tests from this run, 1 dropped"
    assert in_baseline(gated) == [*EVERY[1:], "test_renamed"]


def test_a_baseline_of_another_seed_is_refused_with_what_differs(gated: pytest.Pytester) -> None:
    run(gated)
    result = run(gated, "--robustness-seed=1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert section(result) == [
        "not compared: test_release.py::test_accuracy: expected results on the same data,",
        "  got another seed (0 before, 1 now); compare runs on the same images with the",
        "  same seed, or write the baseline anew",
    ]
    part = run(gated, "--robustness-seed=1", "-k", "test_accuracy", "--robustness-update-baseline")
    assert part.ret == pytest.ExitCode.TESTS_FAILED
    assert section(part)[3:] == [
        "expected what stays in the baseline to be of the same data, got another seed (0",
        "  before, 1 now) of test_release.py::test_holds[bright_0]; run all tests with",
        "  --robustness-update-baseline, and --robustness-prune-baseline for those that",
        "  are gone, or delete the file",
    ]
    run(gated, "--robustness-seed=1", "--robustness-update-baseline")
    assert run(gated, "--robustness-seed=1").ret == pytest.ExitCode.OK


def test_a_test_that_asks_something_else_is_refused_with_both(gated: pytest.Pytester) -> None:
    run(gated)
    gated.makepyfile(test_release=TESTS.replace("0.1, at_least", "0.05, at_least"))
    result = run(gated)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert " ".join(line.strip() for line in section(result)) == (
        "not compared: test_release.py::test_accuracy: expected to be asked what it was before, Blend('white.png') at alpha 0.1, got "
        "Blend('white.png') at alpha 0.05; compare runs of the same tests, or update the baseline of this one"
    )


def test_tests_that_end_in_an_error_are_not_written(gated: pytest.Pytester) -> None:
    gated.makepyfile(test_release=TESTS.replace('Blend("white.png"), 0.1', 'Blend("none.png"), 0.1'))
    run(gated)
    assert in_baseline(gated) == EVERY[1:]
    again = run(gated, "--robustness-update-baseline")
    assert section(again)[-2:] == [
        f"updated {RELEASE}: 6 of 6 tests from this run, 1 left",
        "  out, which ended in an error or can't be trusted",
    ]


def test_a_dev_run_is_compared_on_its_images_and_never_written(gated: pytest.Pytester) -> None:
    nothing = run(gated, "--robustness-profile=dev")
    assert nothing.ret == pytest.ExitCode.OK
    assert section(nothing) == [f"{RELEASE} is left as it is: a dev run is no release"]
    assert not (gated.path / RELEASE).exists()
    run(gated, "--robustness-profile=ci")
    before = (gated.path / RELEASE).read_text(encoding="utf-8")
    fall_back(gated)
    dev = run(gated, "--robustness-profile=dev", "--robustness-update-baseline")
    assert section(dev)[-2:] == [
        "images lost in 2 of 2 comparisons",
        f"{RELEASE} is left as it is: a dev run is no release",
    ]
    assert (gated.path / RELEASE).read_text(encoding="utf-8") == before


def test_a_run_that_measured_nothing_creates_nothing(gated: pytest.Pytester) -> None:
    gated.makepyfile(test_release="def test_it(robustness):\n    robustness.accuracy(images='none.png')\n")
    assert section(run(gated)) == [f"{RELEASE} is left as it is: this run measured nothing"]
    assert not (gated.path / RELEASE).exists()


def test_a_file_that_is_no_baseline_is_refused_and_left(gated: pytest.Pytester) -> None:
    (gated.path / "old.json").write_text("{}", encoding="utf-8")
    result = run(gated, "--robustness-update-baseline", baseline="old.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert " ".join(line.strip() for line in section(result)).endswith(
        "old.json: expected results of schema 'pytest-robustness/2', got None; write them anew with this version"
    )
    assert (gated.path / "old.json").read_text(encoding="utf-8") == "{}"


def test_a_path_is_relative_to_where_pytest_was_called_and_in_the_ini_file_to_the_root(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated.makepyfile(test_release="def test_no_worse(robustness):\n    robustness.assert_no_worse_than_baseline()\n")
    gated.makeini("[pytest]\nfilterwarnings = error\nrobustness_baseline = below/there.json\n")
    (gated.path / "below").mkdir()
    monkeypatch.chdir(gated.path / "below")
    run_on(gated, 0, "..", "--robustness-baseline=here.json").assert_outcomes(failed=1)
    assert (gated.path / "below" / "here.json").exists()
    run_on(gated, 0, "..", "--robustness-baseline=here.json").assert_outcomes(passed=1)
    run_on(gated, 0, "..")
    assert (gated.path / "below" / "there.json").exists()


def test_results_of_a_run_are_a_baseline_too(gated: pytest.Pytester) -> None:
    run(gated, "--robustness-json=out.json", baseline="")
    assert run(gated, baseline="out.json").ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--robustness-update-baseline"],
            "--robustness-update-baseline: expected a baseline, got none; name one with --robustness-baseline",
        ),
        (
            ["--robustness-prune-baseline"],
            "--robustness-prune-baseline: expected a baseline, got none; name one with --robustness-baseline",
        ),
        (
            ["--robustness-compare-fail=accuracy:0"],
            "--robustness-compare-fail: expected a baseline, got none; name one with --robustness-baseline",
        ),
        (
            ["--robustness-baseline=release", "--robustness-prune-baseline"],
            "--robustness-prune-baseline: expected --robustness-update-baseline beside it, got it alone; add it",
        ),
        (
            ["--robustness-baseline=release", "--robustness-compare-fail=1%"],
            "--robustness-compare-fail: expected drops such as accuracy:1%,breaking_point:0.05, each once, got '1%'",
        ),
        (
            ["--robustness-baseline=release", "--robustness-shard=2/8"],
            "--robustness-baseline: expected a whole run, got shard 2 of 8; leave it out and compare what is merged: python -m "
            "pytest_robustness merge shard-*.json --output results.json && python -m pytest_robustness compare BASELINE results.json",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(project: pytest.Pytester, arguments: list[str], message: str) -> None:
    result = project.runpytest_inprocess(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: {message}" in result.errlines
