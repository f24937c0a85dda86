"""Options of the run in files of gates: where they stand between the command line and the ini file, and files that don't agree."""

import json
from pathlib import Path

import pytest

from pytest_robustness.config.options import agreed_options, run_options
from pytest_robustness.config.reading import Refused
from pytest_robustness.settings import OPTIONS

GATES = "gates: {clean: {assert: accuracy, at_least: 1}}\n"


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *arguments)


def written(project: pytest.Pytester, **files: str) -> None:
    for name, text in files.items():
        path = project.path / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + ("" if "gates:" in text else GATES), encoding="utf-8")


def seed(project: pytest.Pytester, path: str = "out.json") -> int:
    (provenance,) = json.loads((project.path / path).read_text(encoding="utf-8"))["runs"].values()
    return int(provenance["seed"])


def test_all_options_but_those_of_one_run_may_stand_in_a_file() -> None:
    assert set(run_options()) == {own.name.replace("-", "_") for own in OPTIONS} - {
        *("cache_clear", "prune_baseline", "replay", "shard", "update_baseline")
    }


@pytest.mark.parametrize("given", [(), (".",), ("robustness.yaml",), ("robustness.yaml::clean",)])
def test_a_file_that_pytest_is_given_stands_before_the_ini_file(
    project: pytest.Pytester, given: tuple[str, ...]
) -> None:
    project.makeini("[pytest]\nrobustness_seed = 5\nrobustness_json = never.json\n")
    written(project, robustness="seed: 7\njson: out.json\n")
    run(project, *given).assert_outcomes(passed=1)
    assert seed(project) == 7


def test_the_command_line_stands_before_the_file(project: pytest.Pytester) -> None:
    written(project, robustness="seed: 7\njson: never.json\n", other="seed: 8\n")
    (project.path / "other.yaml").rename(project.path / "other.robustness.yaml")
    run(project, "--robustness-seed=6", "--robustness-json=out.json", "robustness.yaml").assert_outcomes(passed=1)
    assert seed(project) == 6
    assert not (project.path / "never.json").exists()


def test_results_are_written_beside_the_file_that_names_them(project: pytest.Pytester) -> None:
    written(project, deep__robustness="json: out.json\nimages: ../images\nmodel: brightness:Brightness\n")
    run(project, "deep").assert_outcomes(passed=0, failed=1)
    assert seed(project, "deep/out.json") == 0


def test_a_flag_is_on_and_a_profile_is_chosen_by_a_file(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = "gates: {each: {assert: holds_until, stress: Contrast, strength: 0.1, levels: 1}}\n"
    written(project, robustness=f"profile: dev\nfast: true\nno_cache: true\njson: out.json\n{gate}")
    (project.path / "images").rename(project.path / "six")
    for name in range(10):
        (project.path / "images" / "dark").mkdir(parents=True, exist_ok=True)
        for number in range(10):
            (project.path / "images" / "dark" / f"{name}{number}.png").write_bytes(
                (project.path / "six" / "dark" / "dark_0.png").read_bytes()
            )
    (project.path / "images" / "bright").mkdir()
    result = run(project)
    few = result.parseoutcomes()["passed"]
    assert 0 < few < 100
    # As with an ini file, CI looks at all of them.
    monkeypatch.setenv("CI", "true")
    run(project).assert_outcomes(passed=100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: many\n", "ERROR: robustness.yaml:1: seed: expected a whole number >= 0, got 'many'"),
        ("\nprofile: devel\n", "ERROR: robustness.yaml:2: profile: expected dev, ci or release, got 'devel'"),
        (
            "profile: release\nprecision: bfloat16\n",
            "ERROR: robustness.yaml:2: precision: expected float32 with --robustness-profile=release, got bfloat16; leave one of "
            "them out",
        ),
        ("explain: sometimes\n", "ERROR: robustness.yaml:1: explain: expected failed, all or none, got 'sometimes'"),
    ],
)
def test_a_value_that_means_nothing_is_told_with_its_line(project: pytest.Pytester, text: str, message: str) -> None:
    written(project, robustness=text)
    result = run(project)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.errlines


def test_files_that_don_t_agree_are_refused(project: pytest.Pytester) -> None:
    written(
        project, robustness="device: cpu\nseed: 7\n", a__robustness="seed: 7\n", b__robustness="device: cpu\nseed: 8\n"
    )
    run(project, "robustness.yaml", "a", "--co").assert_outcomes()
    result = run(project, "robustness.yaml", "b")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert (
        "ERROR: robustness.yaml:2: seed: expected 8 as in b/robustness.yaml:2, got 7; options hold for the whole run: let the files "
        "agree, or run them one by one"
    ) in result.errlines


def test_a_file_that_pytest_comes_across_says_only_what_holds_anyway(project: pytest.Pytester) -> None:
    images = "images: {source: ../images, classes: [dark, bright]}\n"
    written(project, robustness="seed: 7\n", deep__robustness=f"seed: 7\n{images}")
    run(project).assert_outcomes(passed=2)
    written(project, deep__robustness=f"{images}seed: 8\nfast: true\n")
    result = run(project)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    told = [line for line in result.outlines if line.startswith("deep/robustness.yaml:")]
    assert told == [
        f"deep/robustness.yaml:{line}: expected what holds for the whole run, got {got} in a file that pytest came across; give pytest the "
        "file or its folder, or say it in the ini file"
        for line, got in (("2: seed", "8"), ("3: fast", "true"))
    ]
    run(project, "--robustness-seed=8", "--robustness-fast").assert_outcomes(passed=2)


def test_files_of_which_one_can_t_be_read_agree_on_what_the_others_say(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("seed: 3\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("[", encoding="utf-8")
    (tmp_path / "c.yaml").write_text("seed:\ndevice: 1\n", encoding="utf-8")
    agreed = agreed_options([tmp_path / f"{name}.yaml" for name in "abc"])
    assert {name: own.text for name, own in agreed.items()} == {"seed": "3", "device": "1"}
    (tmp_path / "c.yaml").write_text("seed: 4\n", encoding="utf-8")
    with pytest.raises(Refused):
        agreed_options([tmp_path / f"{name}.yaml" for name in "abc"])
