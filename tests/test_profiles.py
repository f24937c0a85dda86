"""Profiles: which images are looked at, at what confidence gates are judged, and who chooses."""

import json
import string

import pytest
import torch

from pytest_robustness.profiles import PROFILES, Profile, chosen_profile
from tests.conftest import draw_grey, run_on

IDS = tuple(f"{letter}/{number}.png" for letter in string.ascii_lowercase for number in range(10))

GATE = "def test_accuracy(robustness):\n    robustness.assert_accuracy(at_least=0.5)\n"
EACH = "def test_each(robustness, robustness_image):\n    robustness.assert_accuracy(at_least=1, images=robustness_image)\n"


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:randomly", "--robustness-json=out.json", *arguments)


def results(project: pytest.Pytester) -> dict:
    return json.loads((project.path / "out.json").read_text(encoding="utf-8"))


def draw_many(project: pytest.Pytester) -> None:
    """Forty more dark pictures, and as many bright ones."""
    for number in range(40):
        draw_grey(project.path / "images" / "dark" / f"more_{number}.png", number)
        draw_grey(project.path / "images" / "bright" / f"more_{number}.png", 255 - number)


def test_all_images_are_looked_at_where_a_profile_asks_for_no_fewer() -> None:
    assert Profile("ci").sample(IDS, 0) == IDS
    assert Profile("dev", images=260).sample(IDS, 0) == IDS


def test_a_sample_keeps_the_order_and_follows_the_seed() -> None:
    profile = Profile("dev", images=50)
    first, second = profile.sample(IDS, 0), profile.sample(IDS, 1)
    assert len(first) == len(set(first)) == 50
    assert list(first) == sorted(first)
    assert first != second
    assert profile.sample(IDS, 0) == first


def test_a_sample_depends_on_the_ids_alone_and_a_further_image_replaces_one_at_most() -> None:
    profile = Profile("dev", images=50)
    kept = set(profile.sample(IDS, 0))
    assert set(profile.sample(IDS[::-1], 0)) == kept
    for place in range(20):
        assert len(kept - set(profile.sample([*IDS, f"new_{place}.png"], 0))) <= 1
    assert set(profile.sample(sorted(kept), 0)) == kept


def test_of_every_fifth_image_a_sample_takes_about_a_fifth() -> None:
    """Of 50 of 260 images, 10 of the 52 are expected; a share that far off has a probability below 1e-6."""
    kept = Profile("dev", images=50).sample(IDS, 0)
    assert 1 <= len(set(kept) & set(IDS[::5])) <= 24


@pytest.mark.parametrize(
    ("option", "ini", "environment", "name"),
    [
        (None, "ci", {}, "ci"),
        (None, "", {}, "ci"),
        (None, "dev", {}, "dev"),
        (None, "dev", {"CI": "true"}, "ci"),
        (None, "dev", {"CI": ""}, "dev"),
        (None, "dev", {"CI": "false"}, "dev"),
        (None, "release", {"CI": "true"}, "release"),
        ("dev", "release", {"CI": "true"}, "dev"),
        (" release ", "dev", {}, "release"),
    ],
)
def test_the_command_line_is_asked_before_the_ini_file_and_ci_looks_at_all_images(
    option: str | None, ini: str, environment: dict[str, str], name: str
) -> None:
    assert chosen_profile(option, ini, environment) == name


def test_there_are_three_profiles() -> None:
    assert list(PROFILES) == ["dev", "ci", "release"]
    assert all(profile.name == name for name, profile in PROFILES.items())


def test_dev_looks_at_a_sample_of_each_test(project: pytest.Pytester) -> None:
    draw_many(project)
    project.makepyfile(
        GATE
        + EACH
        + "import pytest\n@pytest.mark.robustness(images='dark/*')\n"
        + EACH.replace("each", "dark")
        + "def test_named(robustness):\n    robustness.assert_accuracy(at_least=1, images=['dark/dark_0.png', 'dark/more_1.png'])\n"
        + "def test_whole(robustness, robustness_images):\n"
        + "    assert robustness.accuracy(images=robustness_images) == robustness.accuracy()\n"
    )
    result = run(project, "--robustness-profile=dev", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1 + 32 + 32 + 1 + 1)
    found = results(project)
    assert found["profile"] == "dev"
    of = {verdict["test"].partition("::")[2]: verdict for verdict in found["verdicts"]}
    assert (of["test_accuracy"]["n"], of["test_named"]["n"]) == (32, 2)
    each = {name for name in of if name.startswith("test_each")}
    looked = {row["image"] for row in of["test_accuracy"]["evaluations"][0]["outcomes"]}
    assert {of[name]["evaluations"][0]["outcomes"][0]["image"] for name in each} == looked


def test_a_matrix_takes_the_pairs_of_a_sample_too(project: pytest.Pytester) -> None:
    draw_many(project)
    project.makepyfile(
        "from pytest_robustness import FGSM\n"
        "def test_it(robustness):\n    assert robustness.targeted_matrix(FGSM(), 1 / 255).pairs == 32\n"
    )
    run(project, "--robustness-profile=dev", "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_ci_is_the_profile_where_none_is_named(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_many(project)
    project.makepyfile(GATE)
    project.makeini("[pytest]\nfilterwarnings = error\nrobustness_profile = dev\n")
    run(project)
    assert (results(project)["profile"], results(project)["verdicts"][0]["n"]) == ("dev", 32)
    monkeypatch.setenv("CI", "true")
    run(project)
    assert (results(project)["profile"], results(project)["verdicts"][0]["n"]) == ("ci", 86)


def test_a_release_judges_bounds_and_says_how_many_images_would_decide(project: pytest.Pytester) -> None:
    """Of six images all are right: .05 ** (1 / 6) = .607 of all images are, with confidence 0.95."""
    project.makepyfile(
        GATE
        + "def test_more(robustness):\n    robustness.assert_accuracy(at_least=0.9)\n"
        + "def test_own(robustness):\n    robustness.assert_accuracy(at_least=0.65, confidence=0.9)\n"
    )
    result = run(project, "--robustness-profile=release")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "at confidence 0.95, at least 0.607 of all such images",
            "undecided: the estimate clears the bar, its bound does not; 29 images with the same*",
        ]
    )
    found = results(project)
    assert found["profile"] == "release"
    assert [verdict["confidence"] for verdict in found["verdicts"]] == [0.95, 0.95, 0.9]
    assert next(iter(found["runs"].values()))["execution"].endswith(", deterministic algorithms")


def test_a_release_uses_no_answers_of_runs_before_unless_it_is_asked_to(project: pytest.Pytester) -> None:
    project.makepyfile(GATE)
    kept = project.path / ".pytest_cache" / "d" / "robustness" / "outcomes.sqlite"
    run(project, "--robustness-profile=release")
    assert not kept.exists()
    run(project, "--robustness-profile=release", "--robustness-cache", "--robustness-no-cache")
    assert not kept.exists()
    run(project, "--robustness-profile=release", "--robustness-cache")
    assert kept.exists()


def test_a_release_runs_its_model_with_deterministic_algorithms_and_leaves_torch_as_it_was(
    project: pytest.Pytester,
) -> None:
    path = project.path / "brightness.py"
    body = "        assert torch.are_deterministic_algorithms_enabled()\n        margin ="
    path.write_text(path.read_text(encoding="utf-8").replace("        margin =", body, 1), encoding="utf-8")
    project.makepyfile(GATE)
    run(project, "--robustness-profile=release").assert_outcomes(passed=1)
    assert not torch.are_deterministic_algorithms_enabled()
    project.makepyfile(GATE)
    run(project, "--robustness-no-cache").assert_outcomes(failed=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--robustness-profile=prod"], "--robustness-profile: expected dev, ci or release, got 'prod'"),
        (
            ["--robustness-profile=release", "--robustness-precision=bfloat16"],
            "--robustness-precision: expected float32 with --robustness-profile=release, got bfloat16; leave one of them out",
        ),
    ],
)
def test_what_is_no_profile_and_what_contradicts_it_is_refused(
    project: pytest.Pytester, arguments: list[str], said: str
) -> None:
    result = run(project, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{said}*"])


def test_on_workers_the_sample_is_the_same(project: pytest.Pytester) -> None:
    draw_many(project)
    project.makepyfile(test_each=EACH)
    run(project, "--robustness-profile=dev").assert_outcomes(passed=32)
    alone = [verdict["test"] for verdict in results(project)["verdicts"]]
    result = run_on(project, 2, "--robustness-json=out.json", "--robustness-profile=dev")
    result.assert_outcomes(passed=32)
    assert [verdict["test"] for verdict in results(project)["verdicts"]] == alone
