"""Every format by its option of pytest, its line of the ini file, and its option of the command line."""

from pathlib import Path

import pytest

from pytest_robustness.__main__ import main
from pytest_robustness.formats import FORMATS
from pytest_robustness.results import Results
from tests.conftest import run_on
from tests.format_results import RESULTS, STRANGE, TWO_MODELS

# The report says when it was written.
TEXTS = [known for known in FORMATS if known.name != "report"]
TESTS = """
from pytest_robustness import Blend, FGSM

def test_holds(robustness, robustness_image):
    robustness.assert_holds_until(robustness_image, Blend("white.png"), 0.3, levels=3)

def test_curve(robustness):
    robustness.breaking_points(Blend("white.png"), up_to=0.5)
    robustness.assert_curve_above(FGSM(), {0.1: 0.5, 0.2: 0.5})
"""


def named(folder: str) -> list[str]:
    return [f"--robustness-{known.name}={folder}/{known.name}" for known in TEXTS]


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_runs_with_and_without_workers_and_the_command_line_write_the_same(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Of pictures, each worker has its own allowance.
    quiet = ("--robustness-explain-most=0",)
    project.makepyfile(TESTS)
    single = run_on(project, 0, *quiet, *named("single"))
    run_on(project, 1, *quiet, *named("double"))
    made = files(project.path / "single")
    assert sorted(made) == sorted(known.name for known in TEXTS)
    assert files(project.path / "double") == made
    assert [line for line in single.outlines if ": single/" in line] == [
        f"{known.told}: single/{known.name}" for known in TEXTS
    ]
    monkeypatch.chdir(project.path)
    options = [f"--{known.name}=again/{known.name}" for known in TEXTS if known.name != "json"]
    assert main(["report", "single/json", *options]) == 1
    assert files(project.path / "again") == {name: text for name, text in made.items() if name != "json"}
    assert capsys.readouterr().out.endswith("model card: again/model-card\n")


def test_each_has_a_line_of_the_ini_file(project: pytest.Pytester) -> None:
    lines = (f"robustness_{known.name.replace('-', '_')} = out/{known.name}\n" for known in FORMATS)
    project.makeini(f"[pytest]\n{''.join(lines)}")
    project.makepyfile("def test_it(robustness):\n    robustness.assert_accuracy(at_least=1)\n")
    project.runpytest_inprocess("-p", "no:randomly").assert_outcomes(passed=1)
    assert sorted(files(project.path / "out")) == sorted(known.name for known in FORMATS)


@pytest.mark.parametrize("results", [RESULTS, TWO_MODELS, STRANGE, Results()])
@pytest.mark.parametrize("known", FORMATS, ids=lambda known: known.name)
def test_each_takes_any_results(known: object, results: Results) -> None:
    text = known.render(results)  # type: ignore[attr-defined]
    assert text.endswith("\n") or "</html>" in text
    text.encode()


def test_results_are_written_before_what_is_made_of_them() -> None:
    assert FORMATS[0].name == "json"
