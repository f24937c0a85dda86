"""Files of gates, collected and run as a project does it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pytest_robustness.config.gates import kinds

from .conftest import MODEL, draw_grey, run_on

HEAD = """
model: brightness:Brightness
images: {source: images, classes: [dark, bright]}
"""
# Of the dark pictures, 0, 51 and 102 of 255, the last turns bright under white at 0.3.
FILE = (
    HEAD
    + """
gates:
  white overlay:
    assert: holds_until
    stress: {Blend: white.png}
    strength: 30 %
    levels: 3
  fgsm: {assert: accuracy, stress: FGSM, strength: 2/255, at_least: 0.4, markers: slow}
  dark only: {assert: accuracy, at_least: 1, images: dark/*}
"""
)
LINES = {"white-overlay": 6, "fgsm": 11}
NAMES = [
    *(f"white-overlay[{name}]" for name in ("bright_0", "bright_1", "bright_2", "dark_0", "dark_1", "dark_2")),
    "fgsm",
    "dark-only",
]

EVERY_KIND = (
    HEAD
    + """
gates:
  accuracy: {assert: accuracy, stress: PGD, strength: 1/255, at_least: 0.5}
  attends: {assert: attends_to, regions: {bright/bright_0.png: [0, 0, 8, 8]}, at_least: 1, by: {Lime: {segments: {Grid: [2, 2]}, fill: 0}}}
  breaking: {assert: breaking_point, stress: {Blend: white.png}, at_least: 0.3, quantile: 0.5, levels: 3}
  certified: {assert: certified_accuracy, smoothing: {RandomizedSmoothing: {sigma: 0.1, n: 100, n0: 10}}, radius: 0.05, at_least: 0.5}
  corruption: {assert: corruption_accuracy, corruption: fog, severity: 1, at_least: 0.1}
  curve: {assert: curve_above, stress: FGSM, floors: {1/255: 0.5, 2/255: 30 %}}
  stable: {assert: explanation_stable, stress: GaussianNoise, strength: 0.05, at_least: 0.1, by: {Lime: {segments: {Grid: [2, 2]}, fill: 0}}}
  holds: {assert: holds_until, stress: {then: [{fixed: [GaussianBlur, 1]}, JPEG]}, strength: 10, levels: 2, images: dark/dark_0*}
  mce: {assert: mean_corruption_error, at_most: 0.9, normalizer: null, corruptions: [fog, contrast]}
  mimic: {assert: mimic_rate, attack: FGSM, epsilon: 1/255, at_most: 0.5}
  modify: {assert: modify_rate, attack: FGSM, epsilon: 1/255, at_most: 0.5, of: worst}
  smallest: {assert: smallest_epsilon, attack: {FMN: 10}, at_least: 1/255, behind: null}
  vote: {assert: vote_accuracy, stress: GaussianNoise, strength: 0.1, vote: SmoothingVote, at_least: 0.9, coverage_at_least: 0.9}
  gains: {assert: vote_gains, stress: GaussianNoise, strength: 0.1, vote: SmoothingVote}
  recovers: {assert: vote_recovers, stress: GaussianNoise, strength: 0.1, vote: SmoothingVote, images: bright/bright_0.png}
  before: {assert: no_worse_than_baseline, stress: FGSM, strength: 1/255, drop: 2 %}
  behind: {assert: accuracy, stress: {Oblivious: FGSM}, strength: 1/255, at_least: 0.5, behind: {Vote: [null, {fixed: [JPEG, 40]}, null]}}
"""
)


@pytest.fixture
def yaml_project(project: pytest.Pytester) -> pytest.Pytester:
    """The project without any Python of pytest's: the model, pictures, and a file of gates."""
    (project.path / "conftest.py").unlink()
    project.makeini("[pytest]\nfilterwarnings = error\naddopts = --strict-markers\nmarkers = slow: takes long\n")
    (project.path / "robustness.yaml").write_text(FILE, encoding="utf-8")
    return project


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *arguments)


def collected(project: pytest.Pytester, *arguments: str) -> list[str]:
    lines = run(project, "--collect-only", "-q", *arguments).outlines
    return [line.partition("::")[2] for line in lines if "::" in line]


def results(project: pytest.Pytester) -> Any:
    return json.loads((project.path / "out.json").read_text(encoding="utf-8"))


def rewrite(project: pytest.Pytester, text: str) -> None:
    (project.path / "robustness.yaml").write_text(text, encoding="utf-8")


def test_a_gate_is_a_test_or_one_for_each_image(yaml_project: pytest.Pytester) -> None:
    assert collected(yaml_project) == NAMES
    assert collected(yaml_project, "robustness.yaml") == NAMES


def test_a_gate_that_fails_says_so_with_its_line_and_how_to_reproduce_it(yaml_project: pytest.Pytester) -> None:
    result = run(yaml_project, "robustness.yaml")
    result.assert_outcomes(passed=7, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert (
        "top-1 holds until alpha 0.3 under Blend('white.png')\n"
        "dark/dark_2.png holds until alpha 0.1 and breaks at 0.2: bright 0.54, dark 0.46\n"
        "required: alpha 0.3, short by 0.2\n"
        "to do: train with such images, put a defense in front, by robustness.behind(...), or ask for less\n"
        f"at robustness.yaml:{LINES['white-overlay']}\n"
        "reproduce: pytest 'robustness.yaml::white-overlay[dark_2]' --robustness-seed=0\n"
    ) in result.stdout.str()
    assert "Traceback" not in result.stdout.str()
    run(yaml_project, "robustness.yaml::white-overlay[dark_2]", "--robustness-seed=0").assert_outcomes(failed=1)


def test_gates_are_selected_by_name_by_image_and_by_marker(yaml_project: pytest.Pytester) -> None:
    assert collected(yaml_project, "-k", "fgsm") == ["fgsm"]
    assert collected(yaml_project, "-k", "white-overlay and dark_0") == ["white-overlay[dark_0]"]
    assert collected(yaml_project, "-m", "slow") == ["fgsm"]
    assert collected(yaml_project, "-m", "robustness") == NAMES
    assert collected(yaml_project, "-m", "robustness and not slow", "-k", "only") == ["dark-only"]
    assert collected(yaml_project, "--deselect", "robustness.yaml::fgsm") == [*NAMES[:6], NAMES[7]]


def test_a_run_may_be_of_those_that_failed_last(yaml_project: pytest.Pytester) -> None:
    yaml_project.runpytest_inprocess("-p", "no:randomly").assert_outcomes(passed=7, failed=1)
    again = yaml_project.runpytest_inprocess("-p", "no:randomly", "--lf", "-v")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["robustness.yaml::white-overlay?dark_2? FAILED*"])


def test_every_kind_of_gate_runs(yaml_project: pytest.Pytester) -> None:
    for number, place in enumerate(((0, 0), (8, 0), (0, 8))):
        picture = Image.new("RGB", (16, 16), (60, 60, 60))
        picture.paste((250, 250, 250), (*place, place[0] + 8, place[1] + 8))
        picture.save(yaml_project.path / "images" / "dark" / f"dark_{number}.png")
    rewrite(yaml_project, f"json: out.json\nexplain: none\nbaseline: release.json\n{EVERY_KIND}")
    # The first run makes the baseline of the second.
    run(yaml_project)
    run(yaml_project)
    verdicts = results(yaml_project)["verdicts"]
    assert [v["reason"] for v in verdicts if v["status"] == "error"] == []
    tests = {verdict["test"] for verdict in verdicts}
    assert len(tests) == 17
    asserted = set(re.findall("assert: ([a-z_]+)", EVERY_KIND))
    assert asserted == set(kinds())
    (behind,) = (v for v in verdicts if v["test"].endswith("::behind"))
    assert "behind Vote((None, fixed(JPEG(), 40), None))" in behind["claim"]
    assert {v["test"].partition("::")[2] for v in verdicts} >= {"holds[dark_0]", "recovers[bright_0]"}


def test_verdicts_are_those_of_the_same_gates_in_python(yaml_project: pytest.Pytester) -> None:
    yaml_project.makeconftest(
        "import pytest\nfrom pytest_robustness import image_folder, load_model\n"
        "@pytest.fixture(scope='session')\ndef robustness_model(): return load_model('brightness:Brightness')\n"
        "@pytest.fixture(scope='session')\ndef robustness_images():\n"
        "    return image_folder('images', classes=['dark', 'bright'])\n"
    )
    yaml_project.makepyfile(
        test_it="from pytest_robustness import FGSM, Blend\n"
        "def test_white(robustness, robustness_image):\n"
        "    robustness.assert_holds_until(robustness_image, Blend('white.png'), 0.3, levels=3)\n"
        "def test_fgsm(robustness): robustness.assert_accuracy(FGSM(), 2 / 255, at_least=0.4)\n"
    )
    told = []
    for what in ("robustness.yaml", "test_it.py"):
        run(yaml_project, what, "--robustness-json=out.json", "-k", "white or fgsm")
        found = results(yaml_project)
        told.append(
            [{k: v for k, v in own.items() if k not in ("test", "reproduce")} for own in found["verdicts"]]
            + [found["runs"]]
        )
    assert told[0] == told[1]


def test_the_fixtures_of_conftest_serve_a_file_that_has_none(project: pytest.Pytester) -> None:
    rewrite(project, FILE.replace(HEAD, ""))
    project.makeini("[pytest]\nmarkers = slow: takes long\n")
    run(project).assert_outcomes(passed=7, failed=1)


def test_workers_share_the_gates_and_come_to_the_same_results(yaml_project: pytest.Pytester) -> None:
    rewrite(yaml_project, "json: out.json\nseed: 4\nmin_gates: 8" + FILE)
    run(yaml_project).assert_outcomes(passed=7, failed=1)
    alone = results(yaml_project)
    result = run_on(yaml_project, 2)
    result.assert_outcomes(passed=7, failed=1)
    assert results(yaml_project) == alone
    assert {run["seed"] for run in alone["runs"].values()} == {4}


def test_shards_have_all_gates_between_them(yaml_project: pytest.Pytester) -> None:
    shares = []
    for number in (1, 2):
        run(yaml_project, f"--robustness-shard={number}/2", "--robustness-json=out.json")
        shares.append({own["test"].partition("::")[2] for own in results(yaml_project)["verdicts"]})
    assert shares[0] | shares[1] == set(NAMES)
    assert not shares[0] & shares[1]


def test_a_gate_that_is_from_another_file_fails_there(yaml_project: pytest.Pytester) -> None:
    (yaml_project.path / "base.yaml").write_text(FILE, encoding="utf-8")
    rewrite(
        yaml_project, "extends: base.yaml\ngates: {fgsm: {stress: null, strength: 0, at_least: 1}, dark only: null}\n"
    )
    result = run(yaml_project, "robustness.yaml", "-v")
    result.assert_outcomes(passed=6, failed=1)
    assert f"at base.yaml:{LINES['white-overlay']}" in result.outlines
    rewrite(yaml_project, "extends: base.yaml\n\ngates: {white overlay: {strength: 20 %}}\n")
    assert "at robustness.yaml:3" in run(yaml_project, "-k", "white").outlines


def test_markers_do_what_they_do(yaml_project: pytest.Pytester) -> None:
    rewrite(
        yaml_project,
        FILE.replace("levels: 3", "levels: 3\n    markers: {xfail: {reason: known}}").replace("slow", "skip"),
    )
    run(yaml_project).assert_outcomes(passed=1, skipped=1, xfailed=1, xpassed=5)


def test_a_marker_that_is_not_declared_is_told(yaml_project: pytest.Pytester) -> None:
    rewrite(yaml_project, FILE.replace("slow", "slwo"))
    result = run(yaml_project)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert (
        "robustness.yaml:11: markers: 'slwo' not found in `markers` configuration option; declare it in the ini file, under markers"
    ) in result.outlines


def test_all_that_is_wrong_with_a_file_is_an_error_of_its_collection(yaml_project: pytest.Pytester) -> None:
    rewrite(yaml_project, FILE.replace("FGSM", "FGMS").replace("levels", "level"))
    (yaml_project.path / "good.robustness.yaml").write_text(FILE, encoding="utf-8")
    result = run(yaml_project)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    start = next(i for i, line in enumerate(result.outlines) if "ERROR collecting robustness.yaml" in line)
    assert result.outlines[start + 1 : start + 3] == [
        "robustness.yaml:10: holds_until has no argument 'level'; did you mean 'levels'?",
        "robustness.yaml:11: stress: expected an attack such as FGSM or a perturbation such as GaussianNoise, got 'FGMS'; did you "
        "mean 'FGSM'?",
    ]
    result.assert_outcomes(errors=1)


def test_images_that_no_pattern_meets_are_told(yaml_project: pytest.Pytester) -> None:
    rewrite(yaml_project, FILE.replace("dark/*", "dork/*"))
    result = run(yaml_project, "-k", "only")
    result.assert_outcomes(failed=1)
    assert (
        "dark-only: expected images=['dork/*'] to match one of the 6 images of images, it matches none; ids look like "
        "'bright/bright_0.png'"
    ) in result.outlines
    rewrite(yaml_project, FILE.replace("levels: 3", "levels: 3\n    images: dork/*"))
    result = run(yaml_project)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert any(line.startswith("white-overlay: expected images=['dork/*'] to match one") for line in result.outlines)


def test_a_model_that_can_t_be_loaded_is_told_with_its_line(yaml_project: pytest.Pytester) -> None:
    rewrite(yaml_project, FILE.replace("brightness:Brightness", "brightness:Brigthness"))
    result = run(yaml_project, "-k", "fgsm")
    result.assert_outcomes(errors=1)
    said = result.stdout.str()
    assert (
        "brightness:Brigthness: expected a function Brigthness in brightness, found none; did you mean 'Brightness'?"
        in said
    )
    assert "at robustness.yaml:2" in result.outlines


def test_images_that_are_not_there_are_told(yaml_project: pytest.Pytester) -> None:
    rewrite(yaml_project, FILE.replace("source: images", "source: pictures"))
    result = run(yaml_project)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert (
        f"{yaml_project.path}/pictures: expected a folder with one folder per class, found no folder; check the path"
        in result.outlines
    )


def test_an_error_of_the_users_own_code_shows_its_traceback(yaml_project: pytest.Pytester) -> None:
    yaml_project.makepyfile(brightness="def Brightness():\n    return 1 / 0\n")
    result = run(yaml_project, "-k", "fgsm")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["robustness.yaml:2: *", "brightness.py:2: ZeroDivisionError"])


def test_two_files_have_a_model_and_images_each(yaml_project: pytest.Pytester) -> None:
    draw_grey(yaml_project.path / "other" / "pictures" / "grey" / "0.png", 200)
    (yaml_project.path / "other" / "robustness.yml").write_text(
        "model: {source: brightness:Brightness, classes: [dark, grey]}\n"
        "images: {source: pictures, classes: [dark, grey]}\n"
        "gates: {clean: {assert: accuracy, at_least: 1}, each: {assert: holds_until, stress: Contrast, strength: 0.1}}\n",
        encoding="utf-8",
    )
    result = run(yaml_project, "--robustness-json=out.json")
    result.assert_outcomes(passed=9, failed=1)
    assert {own["n"] for own in results(yaml_project)["runs"].values()} == {1, 6}


@pytest.mark.parametrize(("mode", "found"), [("prepend", True), ("append", True), ("importlib", False)])
def test_a_file_s_folder_is_one_to_import_from_as_a_test_s_is(
    yaml_project: pytest.Pytester, mode: str, found: bool
) -> None:
    (yaml_project.path / "deep").mkdir()
    for name in ("brightness.py", "robustness.yaml", "images", "white.png"):
        (yaml_project.path / name).rename(yaml_project.path / "deep" / name)
    result = run(yaml_project, f"--import-mode={mode}", "-k", "fgsm")
    result.assert_outcomes(passed=int(found), errors=int(not found))


def test_a_session_without_such_a_file_reads_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import sys\ndef pytest_unconfigure(config):\n    print('loaded:', sorted({'yaml', 'torch'} & set(sys.modules)))\n"
    )
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    (tmp_path / "base.yaml").write_text("gates: {}\n")
    for name, loaded in (("nothing.yaml", "[]"), ("robustness.yaml", "['torch', 'yaml']")):
        (tmp_path / name).write_text("gates: {}\n")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "pytest_robustness.plugin", "--continue-on-collection-errors"],
            cwd=tmp_path,
            env={
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PATH": "",
                "HOME": str(tmp_path),
                "PYTHONPATH": ":".join(sys.path),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"loaded: {loaded}" in done.stdout, done.stdout + done.stderr


def test_a_gate_looks_ahead_and_asks_as_often_as_one_in_python(yaml_project: pytest.Pytester) -> None:
    """The images of a gate share batches: the model is called no more often than for the same test in Python."""
    counted = "    def forward(self, images):\n        with open('calls', 'a') as file: print(len(images), file=file)\n"
    text = MODEL.replace("    def forward(self, images):\n", counted)
    (yaml_project.path / "brightness.py").write_text(text, encoding="utf-8")
    yaml_project.makepyfile(
        test_it="import pytest\nfrom pytest_robustness import Blend, image_folder, load_model\n"
        "@pytest.fixture(scope='session')\ndef robustness_model(): return load_model('brightness:Brightness')\n"
        "@pytest.fixture(scope='session')\ndef robustness_images():\n"
        "    return image_folder('images', classes=['dark', 'bright'])\n"
        "def test_white(robustness, robustness_image):\n"
        "    robustness.assert_holds_until(robustness_image, Blend('white.png'), 0.3, levels=3)\n"
    )
    calls = []
    for what in ("robustness.yaml", "test_it.py"):
        run(yaml_project, what, "-k", "white").assert_outcomes(passed=5, failed=1)
        calls.append((yaml_project.path / "calls").read_text().splitlines())
        (yaml_project.path / "calls").unlink()
    assert calls[0] == calls[1]


@pytest.mark.parametrize("left_out", ["model", "images"])
def test_without_a_model_or_images_it_is_told_what_to_write(yaml_project: pytest.Pytester, left_out: str) -> None:
    rewrite(yaml_project, "\n".join(line for line in FILE.splitlines() if not line.startswith(f"{left_out}:")))
    result = run(yaml_project)
    assert f"or write {left_out}: into robustness.yaml, where the gates are there" in result.stdout.str()
    assert result.ret in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED)


def test_fixtures_of_a_file_are_shown_as_others_are(yaml_project: pytest.Pytester) -> None:
    for option in ("--fixtures", "--fixtures-per-test", "--setup-plan"):
        assert run(yaml_project, option, "-v").ret == pytest.ExitCode.OK, option
