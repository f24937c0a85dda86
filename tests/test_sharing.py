"""Tests and images shared out among runs: every test on one shard, chunks and companions included."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pytest_robustness.attacks import PGD
from pytest_robustness.engine import Engine
from pytest_robustness.loading import image_folder
from pytest_robustness.matrices import merged
from pytest_robustness.records import Matrix
from pytest_robustness.robustness import Robustness
from pytest_robustness.shards import Shard, items_digest
from tests.conftest import run_on
from tests.test_real_model import DATA, published
from tests.test_same_results import asked, big
from tests.test_targeted import Bands, paint

__all__ = ["big"]

TESTS = """
import pytest

def test_holds(robustness, robustness_image):
    from pytest_robustness import Blend
    robustness.assert_holds_until(robustness_image, Blend("white.png"), 0.3, levels=3)

def test_vote(robustness, robustness_image):
    from pytest_robustness import GaussianNoise, SmoothingVote
    robustness.assert_vote_recovers(robustness_image, GaussianNoise(), 0.3, SmoothingVote())

@pytest.mark.parametrize("number", range(6))
def test_plain(number):
    pass

@pytest.mark.robustness(shard="pairs")
def test_everywhere():
    pass
"""


def collected(project: pytest.Pytester, *arguments: str) -> list[str]:
    result = project.runpytest_inprocess(
        "-p", "no:randomly", "-p", "no:cacheprovider", "--collect-only", "-q", *arguments
    )
    return [line.partition("::")[2] for line in result.outlines if "::" in line]


@pytest.fixture
def shared(project: pytest.Pytester) -> pytest.Pytester:
    project.makepyfile(test_it=TESTS)
    return project


def test_every_test_is_on_one_shard_and_one_shared_out_by_pairs_on_all(shared: pytest.Pytester) -> None:
    everything = collected(shared)
    shards = [collected(shared, f"--robustness-shard={number}/3") for number in (1, 2, 3)]
    assert Counter(name for shard in shards for name in shard) == Counter(everything) + Counter({"test_everywhere": 2})
    assert all(len(shard) > 1 for shard in shards)


def test_the_tests_of_an_image_are_on_the_shard_of_the_image_and_others_go_by_their_node_ids(
    shared: pytest.Pytester,
) -> None:
    shard = Shard(2, 3)
    wanted = {
        f"{test}[{name}_{number}]"
        for test in ("test_holds", "test_vote")
        for name in ("bright", "dark")
        for number in range(3)
        if shard.takes(f"{name}/{name}_{number}.png")
    }
    wanted |= {f"test_plain[{number}]" for number in range(6) if shard.takes(f"test_it.py::test_plain[{number}]")}
    assert set(collected(shared, "--robustness-shard=2/3")) == wanted | {"test_everywhere"}


@pytest.mark.parametrize("selection", [("-k", "dark or plain"), ("test_it.py::test_vote",), ("-m", "not robustness")])
def test_a_selection_is_shared_out_as_the_whole_is(shared: pytest.Pytester, selection: tuple[str, ...]) -> None:
    selected = collected(shared, *selection)
    for number in (1, 2, 3):
        everything = collected(shared, f"--robustness-shard={number}/3")
        assert collected(shared, *selection, f"--robustness-shard={number}/3") == [
            n for n in everything if n in selected
        ]


def test_the_ini_file_may_name_the_shard(shared: pytest.Pytester) -> None:
    from_command_line = collected(shared, "--robustness-shard=1/3")
    shared.makeini("[pytest]\nrobustness_shard = 1/3\n")
    assert collected(shared) == from_command_line
    assert collected(shared, "--robustness-shard=1/1") == collected(shared, "--robustness-shard=")


def test_what_is_no_shard_is_refused(shared: pytest.Pytester) -> None:
    result = shared.runpytest_inprocess("--robustness-shard=4/3")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.errlines == [
        "ERROR: --robustness-shard: expected a shard as I/N with 1 <= I <= N, such as 2/8, got '4/3'",
        "",
    ]


@pytest.mark.parametrize(
    ("marker", "arguments", "message"),
    [
        (
            "shard='pair'",
            "robustness",
            "test_it: expected @pytest.mark.robustness(images='pattern', waive={'check': 'reason'}, shard='pairs'), got robustness(shard='pair')",
        ),
        (
            "shard='pairs'",
            "robustness, robustness_image",
            "test_it: expected shard='pairs' on a test of all images, got it on one with robustness_image, which runs on the "
            "shard of its image; leave it out",
        ),
    ],
)
def test_a_marker_that_says_something_else_is_refused(
    project: pytest.Pytester, marker: str, arguments: str, message: str
) -> None:
    project.makepyfile(f"import pytest\n@pytest.mark.robustness({marker})\ndef test_it({arguments}): pass\n")
    result = project.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    assert message in result.outlines


def test_no_image_of_another_shard_is_evaluated(big: pytest.Pytester) -> None:
    """Twenty-two images in chunks of up to 32: without shares, the first test would ask about all of them."""
    big.makepyfile(test_it=TESTS)
    alone = asked_by(big)
    shards = [asked_by(big, f"--robustness-shard={number}/3") for number in (1, 2, 3)]
    assert sum(shards, Counter()) == alone
    assert all(shards)


def asked_by(project: pytest.Pytester, *arguments: str) -> Counter[str]:
    project.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *arguments)
    return asked(project)


def document(project: pytest.Pytester, name: str = "out.json") -> dict:
    return json.loads((project.path / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_results_of_a_shard_say_which_one_it_is_and_of_which_tests(shared: pytest.Pytester, workers: int) -> None:
    result = run_on(shared, workers, "--robustness-shard=2/3", "--robustness-json=out.json")
    found = document(shared)
    assert found["complete"] is True
    tests = [f"test_it.py::{name}" for name in collected(shared)]
    assert found["shard"] == {"number": 2, "of": 3, "items": items_digest(tests)}
    assert "shard 2 of 3: 2 gates passed" in result.outlines


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_without_a_test_is_green_and_leaves_its_results(project: pytest.Pytester, workers: int) -> None:
    project.makepyfile(test_it="def test_it(robustness):\n    robustness.assert_accuracy(at_least=1)\n")
    (number,) = (n for n in (1, 2) if not Shard(n, 2).takes("test_it.py::test_it"))
    files = ("--robustness-json=out.json", "--robustness-report=out.html")
    result = run_on(project, workers, f"--robustness-shard={number}/2", *files)
    assert result.ret == pytest.ExitCode.OK
    assert document(project)["verdicts"] == []
    assert document(project)["shard"]["items"] != ""
    start = result.outlines.index(f"shard {number} of 2: 0 gates passed")
    assert result.outlines[start + 1 : start + 3] == ["results: out.json", "report: out.html"]


def test_a_selection_of_nothing_is_as_empty_on_a_shard_as_without(shared: pytest.Pytester) -> None:
    result = shared.runpytest_inprocess("-k", "nothing", "--robustness-shard=1/2", "--robustness-json=out.json")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert not (shared.path / "out.json").exists()


def test_collecting_a_shard_writes_nothing(shared: pytest.Pytester) -> None:
    collected(shared, "--robustness-shard=1/2", "--robustness-json=out.json")
    assert not (shared.path / "out.json").exists()


@pytest.mark.parametrize(
    "choice", [{}, {"targets": 2}, {"targets": "a"}, {"images_per_class": 1}, {"classes": ["a", "b"]}]
)
@pytest.mark.parametrize("of", [1, 2, 5])
def test_the_matrices_of_all_shards_are_that_of_one_run(tmp_path: Path, choice: dict[str, Any], of: int) -> None:
    """Also where a shard has none of the images, and where one of them is wrong when clean."""
    images = paint(tmp_path / "images")

    def record(shard: Shard | None) -> Matrix:
        engine = Engine(Bands(), images, device="cpu")
        return Robustness(engine, shard=shard).targeted_matrix(PGD(), 8 / 255, **choice).record

    whole = record(None)
    assert whole.examples
    parts = [record(Shard(number, of)) for number in range(1, of + 1)]
    assert merged(parts) == merged(parts[::-1]) == whole


@pytest.mark.real_model
@pytest.mark.skipif(not DATA.is_dir(), reason="no real model: ../shared/data is not there")
def test_the_matrices_of_all_shards_of_a_real_model_are_that_of_one_run_to_the_last_digit() -> None:
    """Whose batches are others: 360 pairs of 40 images, of which a shard has a third."""
    images = image_folder(DATA / "cifar10" / "images")
    model = published("cifar_resnet20")

    def record(shard: Shard | None) -> Matrix:
        engine = Engine(model, images, device="cpu")
        return Robustness(engine, shard=shard).targeted_matrix(PGD(steps=5), 2 / 255, images_per_class=4).record

    whole = record(None)
    assert whole.planned == 360
    assert merged([record(Shard(number, 3)) for number in (1, 2, 3)]) == whole


def test_a_shard_attacks_the_pairs_of_its_own_images_alone(tmp_path: Path) -> None:
    images = paint(tmp_path / "images")
    model = Bands()
    engine = Engine(model, images, device="cpu")
    matrix = Robustness(engine, shard=Shard(1, 3)).targeted_matrix(PGD(), 8 / 255)
    own = [image.id for image in images.images if Shard(1, 3).takes(image.id)]
    assert 0 < len(own) < len(images)
    assert matrix.pairs + 3 * matrix.excluded == 3 * len(own)
    assert matrix.record.planned == 3 * len(images)
    known = {image_id for image_id, _ in engine._memory.known((None, None))}
    assert known == set(own)


PAIRED = """
import pytest
from pytest_robustness import FGSM

@pytest.mark.robustness(shard="pairs")
def test_gate(robustness):
    robustness.assert_modify_rate(FGSM(), 40 / 255, at_most=0)

@pytest.mark.robustness(shard="pairs")
@pytest.mark.xfail(strict=True)
def test_strict(robustness):
    robustness.assert_modify_rate(FGSM(), 40 / 255, at_most=0)

@pytest.mark.robustness(shard="pairs")
def test_rule(robustness):
    assert robustness.targeted_matrix(FGSM(), 40 / 255).median_modify_rate <= {bar}

@pytest.mark.robustness(shard="pairs")
def test_both(robustness):
    robustness.assert_modify_rate(FGSM(), 40 / 255, at_most=1 / 2)
    assert robustness.targeted_matrix(FGSM(), 40 / 255).median_modify_rate <= {bar}

@pytest.mark.robustness(shard="pairs")
def test_other(robustness):
    robustness.assert_accuracy(at_least=0.5)
"""


def verdicts(project: pytest.Pytester, test: str, *arguments: str) -> tuple[pytest.RunResult, list[dict[str, Any]]]:
    plugins = ("-p", "no:randomly", "-p", "no:cacheprovider", "--robustness-json=out.json")
    result = project.runpytest_inprocess(*plugins, "-k", test, *arguments)
    return result, document(project)["verdicts"]


def test_a_gate_over_pairs_is_undecided_on_a_shard_and_fails_nothing(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=PAIRED.format(bar=1))
    result, (verdict,) = verdicts(project, "gate", "--robustness-shard=2/3", "--robustness-report=out.html")
    assert result.ret == pytest.ExitCode.OK
    assert (verdict["status"], verdict["expected"], verdict["required"]) == ("undecided", False, 0.0)
    first = "shard 2 of 3: 1 of 6 planned pairs, judged when all shards are merged"
    assert verdict["reason"].splitlines()[0] == first
    assert "shard 2 of 3: 0 gates passed, 1 to be judged when the shards are merged" in result.outlines
    assert any(line.endswith("undecided") and len(line) <= 80 for line in result.outlines)
    page = (project.path / "out.html").read_text(encoding="utf-8")
    assert "Unfinished: shard 2 of 3: 0 gates passed, 1 to be judged when the shards are merged" in page
    result, (verdict,) = verdicts(project, "gate")
    assert (result.ret, verdict["status"]) == (pytest.ExitCode.TESTS_FAILED, "fail")


def test_whether_a_strict_xfail_fails_is_not_known_on_a_shard(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=PAIRED.format(bar=1))
    result, (verdict,) = verdicts(project, "strict", "--robustness-shard=2/3")
    result.assert_outcomes(xpassed=1)
    assert (result.ret, verdict["status"], verdict["expected"]) == (pytest.ExitCode.OK, "undecided", True)
    assert "shard 2 of 3: 0 gates passed, 1 to be judged when the shards are merged" in result.outlines


def test_a_rule_of_a_tests_own_over_a_part_of_the_pairs_is_never_a_pass(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=PAIRED.format(bar=1))
    result, (verdict,) = verdicts(project, "rule", "--robustness-shard=2/3")
    assert (result.ret, verdict["status"]) == (pytest.ExitCode.OK, "undecided")
    assert verdict["reason"].splitlines()[0] == (
        "shard 2 of 3: a rule of its own can't be judged on a part of the pairs; judge them by assert_modify_rate or "
        "assert_mimic_rate, or leave shard='pairs' out of the marker"
    )
    result, found = verdicts(project, "both", "--robustness-shard=2/3")
    assert (result.ret, [v["status"] for v in found]) == (pytest.ExitCode.OK, ["undecided", "undecided"])


def test_a_rule_of_a_tests_own_that_fails_on_a_part_of_the_pairs_fails(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=PAIRED.format(bar=-1))
    for test, statuses in (("rule", ["fail"]), ("both", ["undecided", "fail"])):
        result, found = verdicts(project, test, "--robustness-shard=2/3")
        assert (result.ret, [v["status"] for v in found]) == (pytest.ExitCode.TESTS_FAILED, statuses)


def test_a_test_that_is_on_every_shard_can_not_judge_other_gates(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=PAIRED.format(bar=1))
    result, (verdict,) = verdicts(project, "other", "--robustness-shard=2/3")
    assert (result.ret, verdict["status"]) == (pytest.ExitCode.TESTS_FAILED, "error")
    assert verdict["reason"] == (
        "accuracy under clean images >= 0.5: expected a gate over a targeted matrix, because this test is on every shard, each "
        "time with other pairs; judge others in a test of their own, without shard='pairs'"
    )
    result, (verdict,) = verdicts(project, "other")
    assert (result.ret, verdict["status"]) == (pytest.ExitCode.OK, "pass")
