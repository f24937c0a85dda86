"""The default stresses, and the gates that are written of them."""

from pathlib import Path

import pytest

from pytest_robustness.config.documents import read_document
from pytest_robustness.starting.trials import Trial, all_trials, first_trials, yaml_text

from .conftest import draw_grey


@pytest.fixture
def trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    monkeypatch.chdir(tmp_path)
    draw_grey(tmp_path / "grey.png", 100)
    return [*first_trials(), *all_trials(Path("grey.png"))]


def test_a_gate_that_is_written_asks_about_the_stress_that_was_measured(trials: list[Trial], tmp_path: Path) -> None:
    text = "gates:\n"
    for number, trial in enumerate(trials):
        gate = trial.gate(["0.5"] * max(2, len(trial.strengths)))
        text += f"  gate {number}:\n" + "".join(f"    {line}\n" for line in gate)
    (tmp_path / "robustness.yaml").write_text(text, encoding="utf-8")
    for trial, gate in zip(trials, read_document(tmp_path / "robustness.yaml").gates, strict=True):
        said = gate.arguments
        if gate.kind.name == "corruption_accuracy":
            assert repr(trial.stress) == f"Corruption({said['corruption']!r})"
            assert trial.values == (said["severity"],)
        else:
            assert said.get("stress") == trial.stress
            assert (
                tuple(said["floors"]) == trial.values if "floors" in said else said.get("strength", 0) in trial.values
            )
        assert said.get("vote") == trial.vote


def test_what_starts_and_what_is_proposed_have_other_names_where_they_are_other_gates(trials: list[Trial]) -> None:
    """So that a file may extend the other one."""
    kinds: dict[str, set[str]] = {}
    for trial in trials:
        kinds.setdefault(trial.name, set()).add(" ".join(trial.gate(["0.5"] * max(2, len(trial.strengths)))))
    assert all(len(gates) == 1 for gates in kinds.values())


def test_a_curve_has_floors_as_far_as_there_are_thresholds(trials: list[Trial]) -> None:
    fgsm = next(trial for trial in trials if trial.name == "fgsm")
    assert fgsm.gate(["0.5", "0.25"]) == ["assert: curve_above", "stress: FGSM", "floors: {1/255: 0.5, 2/255: 0.25}"]


def test_an_overlay_is_named_from_the_folder_of_the_file(trials: list[Trial], tmp_path: Path) -> None:
    draw_grey(tmp_path / "art" / "it's grey.png", 100)
    trial = all_trials(Path("art/it's grey.png"), seen_from=Path("gates"))[1]
    assert trial.gate(["0.5"])[1] == 'stress: {Blend: "../art/it\'s grey.png"}'
    assert repr(trial.stress) == 'Blend("art/it\'s grey.png")'
    absolute = all_trials(tmp_path / "grey.png", seen_from=Path("gates"))[1]
    assert absolute.gate(["0.5"])[1] == f"stress: {{Blend: {tmp_path / 'grey.png'}}}"


@pytest.mark.parametrize(
    "text", ["resnet18.pt2", "torchvision:resnet18@IMAGENET1K_V1", "../a-b/c+d.png", "pkg.mod:make"]
)
def test_a_plain_text_stays_as_it_is(text: str) -> None:
    assert yaml_text(text) == text


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("true", '"true"'), ("12", '"12"'), ("my photos", '"my photos"'), ("a: b", '"a: b"'), ('"', '"\\""'), ("", '""')],
)
def test_a_text_that_could_be_read_otherwise_is_quoted(text: str, quoted: str) -> None:
    assert yaml_text(text) == quoted
