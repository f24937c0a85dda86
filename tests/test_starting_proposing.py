"""Thresholds from counts: arithmetic first."""

import pytest
import torch
from torch import nn

from pytest_robustness import Blend, Engine, GaussianNoise, Robustness, SmoothingVote, image_folder
from pytest_robustness.starting import proposing
from pytest_robustness.starting.proposing import Guess, Judge
from pytest_robustness.starting.trials import Trial
from pytest_robustness.stats import lower_bound

from .conftest import MODEL

CLEAN = Trial("clean accuracy", "clean")


def judge(project: pytest.Pytester, *, places: int = 3, confidence: float = 0.95) -> Judge:
    """Of the model of brightness on six pictures."""
    names: dict[str, type[nn.Module]] = {}
    exec(MODEL.replace("import torch\n", ""), {"torch": torch, "__name__": "made"}, names)
    images = image_folder(project.path / "images", classes=["dark", "bright"])
    engine = Engine(names["Brightness"](), images, device="cpu")
    return Judge(Robustness(engine), confidence=confidence, places=places)


def test_a_guess_is_the_answer_that_is_right_most_often() -> None:
    assert Guess.of([("a",), ("b",), ("b", "a"), ("c",)]) == Guess("a", 0.5)
    assert str(Guess.of([("cat",), ("cat",), ("dog",)])) == "a model that always answers 'cat' has 0.667"


@pytest.mark.parametrize(("places", "threshold"), [(1, "0.6"), (2, "0.6"), (3, "0.606"), (5, "0.60696")])
def test_a_threshold_is_the_bound_rounded_down(project: pytest.Pytester, places: int, threshold: str) -> None:
    """Of 6 right ones of 6, .05 ** (1/6) = .606962."""
    proposal = judge(project, places=places).propose(CLEAN)
    (row,) = proposal.rows
    assert (row.k, row.n, row.bound) == (6, 6, lower_bound(6, 6, confidence=0.95))
    assert proposal.gate == ["assert: accuracy", f"at_least: {threshold}"]
    assert float(threshold) <= row.bound < float(threshold) + 10**-places


def test_thresholds_end_where_the_first_is_missing(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under white, one of the dark pictures turns bright above alpha 1/6, the next above .375, and the last above .5."""
    monkeypatch.chdir(project.path)
    trial = Trial("white", "white", Blend("white.png"), "{Blend: white.png}", ("0.1", "0.2", "0.4"))
    own = judge(project)
    proposal = own.propose(trial)
    assert [row.k for row in proposal.rows] == [6, 5, 4]
    assert proposal.gate[-1] == "floors: {0.1: 0.606}"
    assert list(own.notes([proposal])) == [
        "no threshold for white, alpha 0.2; white, alpha 0.4: so few images promise no more than guessing, as a model that always answers "
        "'bright' has 0.5; with the same accuracy 30 would be enough"
    ]


def test_a_vote_needs_both_of_its_thresholds(project: pytest.Pytester) -> None:
    vote = Trial("vote", "vote", GaussianNoise(), "GaussianNoise", ("0.05",), SmoothingVote())
    assert judge(project).propose(vote).thresholds == ("0.606", "0.606")
    # At this confidence .001 ** (1/6) = .316, which is less than guessing.
    sure = judge(project, confidence=0.999)
    assert sure.propose(vote).thresholds == ()
    assert [row.threshold for row in sure.propose(vote).rows] == ["", "0.316"]
    assert sure.propose(CLEAN).gate == []


def test_a_vote_that_accepts_nothing_is_left_out(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposing, "accepted", lambda outcomes: 0)
    own = judge(project)
    proposal = own.propose(Trial("vote", "vote", GaussianNoise(), "GaussianNoise", ("0.05",), SmoothingVote()))
    assert proposal.gate == []
    assert list(own.notes([proposal])) == ["vote is left out: the vote accepts none of the images"]
