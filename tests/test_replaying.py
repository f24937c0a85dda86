"""Known failures: asked first, replayed alone, kept and dropped; and the commands that failures print."""

import json
import os
import re

import pytest

TESTS = """
from pytest_robustness import Blend

def test_clean(robustness):
    robustness.assert_accuracy(at_least=1.0)

def test_holds(robustness, robustness_image):
    robustness.assert_holds_until(robustness_image, Blend("white.png"), 0.2, levels=2)

def test_accuracy(robustness):
    robustness.assert_accuracy(Blend("white.png"), {strength}, at_least=0.9)
"""
FAILING, PASSING = TESTS.format(strength=0.4), TESTS.format(strength=0.1)
CACHE = ".pytest_cache/d/robustness/failures.json"


@pytest.fixture
def gated(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project in which dark_2 does not hold until 0.2, and dark_1 and dark_2 are bright at 0.4."""
    monkeypatch.setenv("PYTHONPATH", str(project.path), prepend=os.pathsep)
    project.makepyfile(test_release=FAILING)
    return project


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    # Workers are processes of their own.
    start = project.runpytest_subprocess if "-n2" in arguments else project.runpytest_inprocess
    return start("-p", "no:randomly", *arguments)


def order(result: pytest.RunResult) -> list[str]:
    """The tests as they ran, of a verbose run."""
    return re.findall(r"^test_release\.py::(\S+) (?:PASSED|FAILED)", result.stdout.str(), flags=re.MULTILINE)


def known(project: pytest.Pytester, name: str = CACHE) -> list[dict]:
    return json.loads((project.path / name).read_text(encoding="utf-8"))["failures"]


def keys(project: pytest.Pytester) -> dict[str, str]:
    """The keys of known failures by the test and the stem of the image."""
    return {f"{own['test'].partition('::')[2]} {own['image'][5:-4]}": own["key"] for own in known(project)}


ALL = ["test_clean", *(f"test_holds[{name}_{n}]" for name in ("bright", "dark") for n in range(3)), "test_accuracy"]


def test_what_fell_is_kept_and_runs_first_until_it_holds(gated: pytest.Pytester) -> None:
    first = run(gated, "-v")
    assert order(first) == ALL
    assert [(own["test"], own["image"], own["strength"], own["answer"]) for own in known(gated)] == [
        ("test_release.py::test_accuracy", "dark/dark_1.png", 0.4, "bright 0.54"),
        ("test_release.py::test_accuracy", "dark/dark_2.png", 0.4, "bright 0.75"),
        ("test_release.py::test_holds[dark_2]", "dark/dark_2.png", 0.2, "bright 0.54"),
    ]
    second = run(gated, "-v")
    assert "robustness: 2 tests that fell before first, --robustness-corpus=off for the usual order" in second.outlines
    fell = ["test_holds[dark_2]", "test_accuracy"]
    assert order(second) == [*fell, *(test for test in ALL if test not in fell)]
    gated.makepyfile(test_release=PASSING.replace("0.2, levels=2", "0.1, levels=1"))
    run(gated)
    # What is no longer asked is not known to hold.
    assert len(known(gated)) == 3
    path = gated.path / "brightness.py"
    path.write_text(path.read_text(encoding="utf-8").replace("- 0.5)", "- 0.79)"), encoding="utf-8")
    gated.makepyfile(test_release=FAILING)
    run(gated)
    assert not [own for own in known(gated) if own["image"].startswith("dark")]


def test_the_results_are_the_same_in_whatever_order(gated: pytest.Pytester) -> None:
    for name in ("usual", "first"):
        run(gated, f"--robustness-json={name}.json")
    usual, first = ((gated.path / f"{name}.json").read_text(encoding="utf-8") for name in ("usual", "first"))
    assert usual == first


def test_a_failure_is_replayed_alone_by_the_beginning_of_its_key(gated: pytest.Pytester) -> None:
    run(gated, "--robustness-seed=3")
    before = known(gated)
    found = keys(gated)
    one = run(gated, f"--robustness-replay={found['test_holds[dark_2] dark_2'][:6]}")
    one.assert_outcomes(failed=1)
    assert (
        f"robustness: replaying {found['test_holds[dark_2] dark_2']}, dark/dark_2.png under Blend('white.png') at alpha 0.2, seed 3"
    ) in one.outlines
    assert "dark/dark_2.png holds until alpha 0.1 and breaks at 0.2: bright 0.54, dark 0.46" in one.outlines
    key = found["test_accuracy dark_1"]
    whole = run(gated, f"--robustness-replay={key}")
    whole.assert_outcomes(failed=1)
    assert "accuracy 0 (0 of 1, 95 % interval 0.000 to 0.975), required >= 0.9" in whole.outlines
    assert (
        f"reproduce: pytest test_release.py::test_accuracy --robustness-seed=3 --robustness-replay={key}"
        in whole.outlines
    )
    assert known(gated) == before


def test_a_replay_is_not_compared_and_needs_no_number_of_gates(gated: pytest.Pytester) -> None:
    gated.makeini("[pytest]\nfilterwarnings = error\nrobustness_baseline = release\nrobustness_min_gates = 2\n")
    run(gated)
    key = keys(gated)["test_accuracy dark_1"]
    gated.makepyfile(test_release=PASSING)
    result = run(gated, f"--robustness-replay={key}")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*baseline*")
    assert len(known(gated)) == 3


def test_a_replay_of_a_test_that_is_gone_says_so(gated: pytest.Pytester) -> None:
    run(gated)
    key = keys(gated)["test_accuracy dark_1"]
    gated.makepyfile(test_release="def test_other(): pass")
    result = run(gated, f"--robustness-replay={key}")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert (
        "--robustness-replay: expected test_release.py::test_accuracy to be collected, it was not; run where it is, or forget it if "
        "it is gone"
    ) in result.outlines


def test_a_key_that_is_none_is_refused_with_those_that_are(gated: pytest.Pytester) -> None:
    run(gated)
    result = run(gated, "--robustness-replay=nothing")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert (
        result.errlines[0]
        == "ERROR: --robustness-replay: expected the key of a known failure, got 'nothing'; known are:"
    )
    assert sorted(line.split()[0] for line in result.errlines[1:4]) == sorted(keys(gated).values())
    key = keys(gated)["test_accuracy dark_1"]
    assert (
        f"  {key}  dark/dark_1.png under Blend('white.png') at alpha 0.4, test_release.py::test_accuracy"
        in result.errlines
    )
    nowhere = run(gated, f"--robustness-replay={key}", "-p", "no:cacheprovider")
    assert nowhere.errlines[0] == (
        f"ERROR: --robustness-replay: expected the key of a known failure, got '{key}', and none is known; run the tests first"
    )


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--robustness-shard=1/2"], "shard"),
        (["--robustness-baseline=b", "--robustness-update-baseline"], "update-baseline"),
    ],
)
def test_a_replay_goes_with_nothing_that_is_about_all(
    project: pytest.Pytester, arguments: list[str], option: str
) -> None:
    result = run(project, "--robustness-replay=abc", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert (
        f"ERROR: --robustness-replay: expected no --robustness-{option} beside it, as it runs one image alone; leave one of them out"
    ) in result.errlines


@pytest.mark.parametrize("option", [["--robustness-corpus=off"], ["-p", "no:cacheprovider"]])
def test_known_failures_can_be_left_alone(gated: pytest.Pytester, option: list[str]) -> None:
    run(gated)
    before = known(gated)
    result = run(gated, "-v", *option)
    assert order(result) == ALL
    assert "--robustness-replay" not in result.stdout.str()
    gated.makepyfile(test_release=PASSING)
    run(gated, *option)
    assert known(gated) == before


def test_a_file_of_known_failures_grows(gated: pytest.Pytester) -> None:
    option = "--robustness-corpus=corpus.json"
    result = run(gated, option)
    assert "known failures: 3 in corpus.json, and 0 that hold again" in result.outlines
    assert not (gated.path / CACHE).exists()
    key = next(own["key"] for own in known(gated, "corpus.json") if own["image"] == "dark/dark_1.png")
    assert f"replay: pytest --robustness-replay={key} {option}" in result.outlines
    run(gated, option, f"--robustness-replay={key}").assert_outcomes(failed=1)
    path = gated.path / "brightness.py"
    path.write_text(path.read_text(encoding="utf-8").replace("- 0.5)", "- 0.65)"), encoding="utf-8")
    # At 0.65, bright_2 with its 0.6 is dark, and of those that fell all but dark_2 at 0.4 of white, 0.64, hold.
    result = run(gated, option)
    told = [(own["test"].partition("::")[2], own["image"], own["fell"]) for own in known(gated, "corpus.json")]
    assert ("test_accuracy", "dark/dark_1.png", False) in told
    assert ("test_holds[dark_2]", "dark/dark_2.png", False) in told
    assert [line for line in result.outlines if line.startswith("known failures: ")] == [
        f"known failures: {sum(fell for *_, fell in told)} in corpus.json, and 3 that hold again"
    ]


def test_a_file_that_has_no_failures_is_refused_and_a_cache_begun_anew(gated: pytest.Pytester) -> None:
    (gated.path / "corpus.json").write_text("{}", encoding="utf-8")
    result = run(gated, "--robustness-corpus=corpus.json", "--robustness-replay=abc")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.errlines[0] == (
        f"ERROR: --robustness-corpus: {gated.path / 'corpus.json'}: expected known failures as 'pytest-robustness-corpus/1', got "
        "something else ('schema'); delete the file"
    )
    (gated.path / CACHE).parent.mkdir(parents=True)
    (gated.path / CACHE).write_text("{", encoding="utf-8")
    run(gated)
    assert len(known(gated)) == 3


def test_a_run_that_stopped_early_keeps_what_fell(gated: pytest.Pytester) -> None:
    run(gated, "-x")
    assert [own["test"] for own in known(gated)] == ["test_release.py::test_holds[dark_2]"]


def test_under_xdist_the_controller_keeps_and_all_workers_have_one_order(gated: pytest.Pytester) -> None:
    run(gated)
    before = known(gated)
    assert len(before) == 3
    (gated.path / CACHE).unlink()
    run(gated, "-k", "test_accuracy")
    assert 0 < len(known(gated)) < 3
    run(gated, "-n2", "--robustness-json=out.json").assert_outcomes(passed=6, failed=2)
    assert known(gated) == before


def test_a_failing_gate_prints_the_commands_that_show_its_worst_images(gated: pytest.Pytester) -> None:
    result = run(gated, "--robustness-precision=bfloat16", "--robustness-device=cpu", "-k", "test_accuracy")
    found = keys(gated)
    start = result.outlines.index(
        "reproduce: pytest test_release.py::test_accuracy --robustness-seed=0 --robustness-device=cpu --robustness-precision=bfloat16"
    )
    # With both options a command has more than 80 columns.
    assert not result.outlines[start + 1].startswith("replay")
    result = run(gated, "--robustness-fast", "-k", "test_accuracy")
    start = result.outlines.index(
        "reproduce: pytest test_release.py::test_accuracy --robustness-seed=0 --robustness-fast"
    )
    assert result.outlines[start + 1] == (
        f"replay dark/dark_2.png: pytest --robustness-replay={found['test_accuracy dark_2']} --robustness-fast"
    )
    # Without the image, it is short enough.
    result = run(gated, "--robustness-device=cpu", "-k", "test_accuracy")
    assert [line for line in result.outlines if line.startswith("replay")] == [
        f"replay: pytest --robustness-replay={found[f'test_accuracy dark_{n}']} --robustness-device=cpu" for n in (2, 1)
    ]


def test_of_one_image_there_is_nothing_more_to_replay(gated: pytest.Pytester) -> None:
    result = run(gated, "-k", "dark_2")
    assert not [line for line in result.outlines if line.startswith("replay")]
