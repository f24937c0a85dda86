"""`python -m pytest_robustness compare`: two files of results, and an exit status."""

import dataclasses
from pathlib import Path

import pytest

from pytest_robustness.__main__ import main
from pytest_robustness.comparisons import FOLDER
from pytest_robustness.results import Results
from tests.releases import asked, other, results, verdict

BEFORE = results(verdict("t.py::test", asked("a b c d")))
AFTER = results(verdict("t.py::test", asked("a -b c d"), status="fail"))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "before.json").write_text(BEFORE.to_json(), encoding="utf-8")
    (tmp_path / "after.json").write_text(AFTER.to_json(), encoding="utf-8")
    return tmp_path


def write(path: Path, what: Results) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(what.to_json(), encoding="utf-8")


@pytest.mark.usefixtures("files")
def test_a_comparison_without_a_limit_is_told_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where gates of the later run fail: that run has told."""
    assert main(["compare", "before.json", "after.json"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "against before.json, Net abababab",
        "images lost under                           before      now  allowed",
        "FGSM() at epsilon 2/255                          1     0.75      any",
        "  t.py::test",
        "  1 lost, 0 gained of 4, p = 1 (exact McNemar): b.png",
        "both have the same weights: Net abababab",
        "images lost in 1 of 1 comparison",
    ]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("drops", "status"), [("accuracy:20%", 1), ("accuracy:25%", 0), ("breaking_point:0", 0)])
def test_a_drop_beyond_what_is_allowed_fails(drops: str, status: int) -> None:
    assert main(["compare", "before.json", "after.json", "--fail", drops]) == status


def test_the_results_are_written_with_the_comparison_and_shown_again_with_its_status(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                "compare",
                "before.json",
                "after.json",
                "--fail",
                "accuracy:0",
                "--json",
                "out.json",
                "--markdown",
                "out.md",
            ]
        )
        == 1
    )
    assert "summary: out.md" in capsys.readouterr().out
    found = Results.from_json((files / "out.json").read_text(encoding="utf-8"))
    assert found.comparison is not None
    assert dataclasses.replace(found, comparison=None) == AFTER
    assert [change.lost for change in found.comparison.worse] == [("b.png",)]
    write(files / "green.json", dataclasses.replace(found, verdicts=BEFORE.verdicts))
    assert main(["report", "green.json"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 1 comparison worse than allowed"


def test_the_name_of_a_baseline_is_its_file(files: Path) -> None:
    write(files / FOLDER / "release.json", BEFORE)
    assert main(["compare", "release", "after.json"]) == 0


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.json", "after.json"], "none.json: expected results, got no file (No such file or directory)"),
        (
            ["before.json", "after.json", "--fail", "all"],
            "--fail: expected drops such as accuracy:1%,breaking_point:0.05, each once, got 'all'",
        ),
        (
            ["before.json", "seed.json"],
            "t.py::test: expected results on the same data, got another seed (0 before, 1 now); compare runs on the same images with "
            "the same seed, or write the baseline anew",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    run = other(seed=1)
    write(files / "seed.json", results(verdict("t.py::test", asked("a"), run=run), runs=(run,)))
    assert main(["compare", *arguments]) == 2
    assert capsys.readouterr().err == f"{message}\n"


def test_nothing_in_common_is_no_pass_and_a_run_that_stopped_is_none(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(files / "else.json", results(verdict("t.py::else", asked("a"))))
    assert main(["compare", "before.json", "else.json"]) == 5
    assert capsys.readouterr().out.splitlines()[-1] == "nothing to compare"
    write(files / "stopped.json", dataclasses.replace(BEFORE, complete=False))
    assert main(["compare", "before.json", "stopped.json"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "the session did not finish, these are the results so far"


@pytest.mark.usefixtures("files")
def test_a_file_that_can_not_be_written_is_told() -> None:
    assert main(["compare", "before.json", "after.json", "--json", "before.json/out.json"]) == 3
